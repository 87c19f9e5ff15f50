"""Finds the steps that are finished, from what they leave in their folders."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from autodata.config import semantic_values
from autodata.reproduce.record import TABLES, VERIFY, Node
from autodata.run.folder import MANIFEST, read_manifest
from autodata.run.records import RunError
from autodata.verify import was_verified


class Planned(Node, Protocol):
    """A step whose recipe is known."""

    @property
    def recipe(self) -> Any: ...


def find_finished(nodes: Sequence[Node]) -> set[str]:
    """Return the names of the finished steps. Raises RunError for a damaged manifest."""
    finished = {n.name for n in nodes if n.module not in (TABLES, VERIFY) and _has_finished(Path(n.target))}
    finished |= {n.name for n in nodes if n.module == VERIFY and was_verified(Path(n.target))}
    return finished | {n.name for n in nodes if n.module == TABLES and _is_written(n, nodes, finished)}


def _has_finished(run: Path) -> bool:
    return bool((read_manifest(run) or {}).get("finished"))


def _is_written(node: Node, nodes: Sequence[Node], finished: Collection[str]) -> bool:
    """True if the table is newer than all the runs that it is made of."""
    needed = [other for other in nodes if other.name in node.after]
    manifests, output = [Path(other.target) / MANIFEST for other in needed], Path(node.target)
    if not finished.issuperset(n.name for n in needed if n.module != VERIFY) or not output.exists():
        return False
    return all(path.exists() and path.stat().st_mtime <= output.stat().st_mtime for path in manifests)


def require_same(steps: Sequence[Planned]) -> None:
    """Raise RunError if a finished run was made from another recipe than that of its step."""
    for step in steps:
        manifest = read_manifest(Path(step.target)) if step.module not in (TABLES, VERIFY) else None
        is_finished = manifest and manifest.get("finished")
        if is_finished and (changes := list(_find_changes(step.recipe, manifest.get("inputs", {})))):
            advice = "name another folder for all runs with runs=FOLDER, or remove this run to make it again"
            raise RunError("\n".join([f"{step.target} was made from another recipe:", *changes, advice]))


def _find_changes(recipe: Any, inputs: dict[str, Any]) -> Iterator[str]:
    """List the values that differ from those of the run. Revisions are not compared: commands fill them in."""
    now = json.loads(json.dumps(semantic_values(recipe), default=str))
    for key in sorted(now.keys() & inputs.keys()):
        if now[key] != inputs[key] and not key.endswith(".revision"):
            yield f"  {key}: {inputs[key]!r} → {now[key]!r}"
