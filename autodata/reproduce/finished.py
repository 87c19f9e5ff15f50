"""Finds the steps that are finished, from the manifests of their runs."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from autodata.config import semantic_values
from autodata.recipes.evaluation import TableRecipe
from autodata.reproduce.graph import VERIFY, Step
from autodata.run.folder import MANIFEST, read_manifest
from autodata.run.records import RunError


def find_finished(steps: Sequence[Step]) -> set[str]:
    """Return the names of the finished steps. Raises RunError for one that was made from another recipe."""
    finished = {step.name for step in steps if step.recipe and not _is_table(step) and _has_finished(step)}
    for step in steps:
        if step.module == VERIFY and _was_verified(step, steps, finished):
            finished.add(step.name)
    return finished | {step.name for step in steps if _is_table(step) and _is_written(step, steps, finished)}


def _is_table(step: Step) -> bool:
    return isinstance(step.recipe, TableRecipe)


def _has_finished(step: Step) -> bool:
    manifest = read_manifest(Path(step.target))
    if not manifest or not manifest.get("finished"):
        return False
    if changes := list(_find_changes(step.recipe, manifest.get("inputs", {}))):
        advice = "name another folder for all runs with runs=FOLDER, or remove this run to make it again"
        raise RunError("\n".join([f"{step.target} was made from another recipe:", *changes, advice]))
    return True


def _find_changes(recipe: Any, inputs: dict[str, Any]) -> Iterator[str]:
    """List the values that differ from those of the run. Revisions are not compared: commands fill them in."""
    now = json.loads(json.dumps(semantic_values(recipe), default=str))
    for key in sorted(now.keys() & inputs.keys()):
        if now[key] != inputs[key] and not key.endswith(".revision"):
            yield f"  {key}: {inputs[key]!r} → {now[key]!r}"


def _was_verified(step: Step, steps: Sequence[Step], finished: Collection[str]) -> bool:
    """True if a run that begins after the check is finished: the check leaves nothing behind itself."""
    return any(step.name in other.after and other.name in finished for other in steps)


def _is_written(step: Step, steps: Sequence[Step], finished: Collection[str]) -> bool:
    """True if the table is newer than its recipe and than all the runs that it is made of."""
    needed = [other for other in steps if other.name in step.after]
    read = [Path(step.arguments[0]), *(Path(other.target) / MANIFEST for other in needed)]
    output = Path(step.target)
    if not output.exists() or not all(path.exists() for path in read):
        return False
    runs = {other.name for other in needed if other.module != VERIFY}
    return finished.issuperset(runs) and output.stat().st_mtime >= max(path.stat().st_mtime for path in read)
