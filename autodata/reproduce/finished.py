"""Finds the steps that are finished, from what they leave in their folders."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from omegaconf import OmegaConf

from autodata.config import semantic_values
from autodata.data.examples import EXAMPLES
from autodata.eval.tables.made import is_current
from autodata.reproduce.record import TABLES, VERIFY, Node
from autodata.reproduce.request import has_key
from autodata.run.folder import read_manifest
from autodata.run.records import RunError, hash_path
from autodata.verify import was_verified

_SHOWN = 8  # values that differ from those of a run


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
    return bool((read_manifest(run) or {}).get("finished")) and not has_changed_examples(run)


def has_changed_examples(run: Path) -> bool:
    """True if a run has made examples, and their file is gone or no longer what it was. Raises RunError."""
    made = (read_manifest(run) or {}).get("outputs", {}).get(EXAMPLES)
    return made is not None and (not (run / EXAMPLES).exists() or hash_path(run / EXAMPLES) != made)


def _is_written(node: Node, nodes: Sequence[Node], finished: Collection[str]) -> bool:
    """True if a table was made from its recipe, and from runs that are finished. A record of a step has no recipe."""
    needed = {other.name for other in nodes if other.name in node.after}
    return finished.issuperset(needed) and is_current(Path(node.target), getattr(node, "recipe", None))


def require_same(steps: Sequence[Planned]) -> None:
    """Raise RunError if a finished run was made from another recipe than its step's, or its examples have changed."""
    for step in steps:
        manifest = read_manifest(Path(step.target)) if step.module not in (TABLES, VERIFY) else None
        is_finished = manifest and manifest.get("finished")
        if is_finished and has_changed_examples(Path(step.target)):
            advice = "restore it, or remove this run, and the runs made from it, to make them again"
            raise RunError(f"{Path(step.target) / EXAMPLES}: gone, or changed since it was made; {advice}")
        if is_finished and (changes := list(_find_changes(step.recipe, manifest.get("inputs", {})))):
            advice = "name another folder for all runs with runs=FOLDER, or remove this run to make it again"
            more = [f"  and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
            head = f"{step.target} was made from another recipe:"
            raise RunError("\n".join([head, *changes[:_SHOWN], *more, advice]))


def _find_changes(recipe: Any, inputs: dict[str, Any]) -> Iterator[str]:
    """List the values that differ from those of the run, and those that only one of the two has."""
    now, defaults = json.loads(json.dumps(semantic_values(recipe), default=str)), OmegaConf.structured(type(recipe))
    before = {key: value for key, value in inputs.items() if _is_semantic(recipe, key)}
    for key in sorted(now.keys() | before.keys()):
        default = OmegaConf.select(defaults, key)  # for a key that came after the run was made
        old, new = before.get(key, default), now.get(key, default)
        if old != new and not _is_filled_in(key, new):
            yield f"  {key}: {old!r} → {new!r}"


def _is_semantic(recipe: Any, key: str) -> bool:
    """True if an input of a run is a value of its recipe. Others are hashes of files, or keys of earlier versions."""
    own = {f.name for f in fields(recipe) if not f.metadata.get("operational")}
    return key.partition(".")[0] in own and has_key(type(recipe), key)


def _is_filled_in(key: str, value: Any) -> bool:
    """True for the revision of an endpoint that the recipe leaves to the command, which hashes local weights."""
    return key.startswith("models.endpoints.") and key.endswith(".revision") and not value
