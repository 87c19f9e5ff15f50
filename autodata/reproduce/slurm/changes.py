"""Finds the jobs in the queue that were submitted with other settings than those of this call.

A job is found by the run that it makes. So it would be kept whatever it was submitted with, and the run would not be
the one that this call asks for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

from autodata.config import RecipeError, load
from autodata.reproduce.graph import Step, list_values
from autodata.reproduce.record import Record, read_others

_SHOWN = 8  # settings of one step
Arguments = Mapping[str, Mapping[str, tuple[str, ...]]]  # number of a job → name of a step → its arguments


def find_arguments(record: Record) -> Arguments:
    """Find with which arguments jobs were submitted, by this table or by others. Raises RunError."""
    known: dict[str, dict[str, tuple[str, ...]]] = {}
    for other in (*read_others(record.folder), record):
        for entry in other.steps.values():
            if entry.job and entry.arguments:
                known.setdefault(entry.job, {})[entry.name] = entry.arguments
    return known


def describe_changes(steps: Sequence[Step], kept: Mapping[str, str], known: Arguments) -> str:
    """Say which jobs that would be kept were submitted with other settings, and what to do; nothing if none was."""
    lines: list[str] = []
    ids: dict[str, None] = {}
    for step in steps:
        id = kept.get(step.name, "")
        if changes := [*list_changes(step, known.get(id, {}).get(step.name, ()))]:
            lines += [f"job {id} was submitted with other settings of {step.name}:", *_shorten(changes)]
            ids[id] = None
    ends = f"`scancel {' '.join(ids)}`, which also ends the jobs after them"
    advice = f"give the earlier settings; or end these jobs by {ends}, and give this command again"
    return "\n".join([*lines, advice]) if lines else ""


def _shorten(changes: Sequence[str]) -> list[str]:
    more = [f"  and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
    return [*(f"  {change}" for change in changes[:_SHOWN]), *more]


def list_changes(step: Step, arguments: tuple[str, ...]) -> Iterator[str]:
    """List the settings of a step that differ from those of its job; none if nobody knows how it was submitted."""
    if not arguments or arguments == step.arguments:
        return
    earlier = _read_values(step, arguments)
    if earlier is None:
        yield f"its arguments were {' '.join(arguments)}"
        return
    now = dict(list_values(asdict(step.recipe)))
    for key in sorted(earlier.keys() | now.keys()):
        if earlier.get(key) != now.get(key):
            yield f"{key}: {_write(earlier.get(key))} → {_write(now.get(key))}"


def _write(value: object) -> str:
    """Write a value as it stands in a recipe."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _read_values(step: Step, arguments: tuple[str, ...]) -> dict[str, object] | None:
    """Read the settings of a job as it will itself; None if its files are gone or are no recipe any more."""
    if step.recipe is None:
        return None
    try:
        return dict(list_values(asdict(load(type(step.recipe), [*arguments]))))
    except RecipeError:
        return None
