"""Recompute what a dataset claims: every hash, score and verdict, and that its trajectories say the same.

python -m autodata.verify runs/demo/dataset
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import acceptance, rubric, store
from autodata.acceptance import Gate
from autodata.arms import Arm, make_example, read_arm
from autodata.config import RecipeError
from autodata.dataset import EXAMPLES
from autodata.store import RunError
from autodata.types import EXAMPLE, Evidence, Example, Failure, Verdict

CHECKS = ("file", "candidate", "scores", "verdict", "trajectory")
_SHOWN = 20


@dataclass(frozen=True)
class Mismatch:
    """Something that is not as the dataset says."""

    where: str  # an example's id
    check: str
    problem: str


def verify(folder: Path) -> tuple[int, list[Mismatch]]:
    """How many examples a dataset has, and what is wrong with them. Raises RunError."""
    manifest = store.require_finished(str(folder), "python -m autodata.dataset")
    examples = store.read_records(folder / EXAMPLES, EXAMPLE)
    found = []
    if store.hash_path(folder / EXAMPLES) != manifest["outputs"].get(EXAMPLES):
        found.append(Mismatch(EXAMPLES, "file", "changed since it was made"))
    open_arm = cache(lambda name, run: _open_arm(folder, name, run))
    found += [Mismatch(e.id, check, problem) for e in examples for check, problem in check_example(e, open_arm)]
    return len(examples), found


def _open_arm(folder: Path, name: str, run: str) -> Arm:
    """The run that a row names; a published dataset has it beside the rows."""
    inside = folder / run
    return replace(read_arm(name, str(inside)), folder=run) if inside.is_dir() else read_arm(name, run)


def check_example(example: Example, open_arm: Callable[[str, str], Arm] = read_arm) -> Iterator[tuple[str, str]]:
    """Each check that an example fails, with the reason."""
    if not example.candidate.hash == example.candidate_hash == example.id.removeprefix(f"{example.arm}-"):
        yield "candidate", f"its hash is {example.candidate.hash}, the row says {example.candidate_hash}"
    try:
        weak, strong = (tuple(map(float, exact)) for exact in _recompute(example))
    except ValueError as error:
        yield "scores", str(error)
    else:
        if (weak, strong) != (example.weak_scores, example.strong_scores):
            yield "scores", f"the booleans give {weak} and {strong}"
        yield from _check_verdicts(example)
    problem = _compare(example, open_arm)
    if problem:
        yield "trajectory", problem


def decide(example: Example, gate: Gate) -> Verdict:
    """The verdict that follows from booleans and a gate and, where the domain has one, the stored review."""
    planned = (example.evidence.weak_planned, example.evidence.strong_planned)
    numeric = acceptance.decide_measured(*_recompute(example), planned, gate)
    said = example.evidence.review.get("loop_judge")
    if not isinstance(said, Mapping):
        return numeric
    flags = [name for name in ("post_filter_flags", "post_filter_overrides") if example.evidence.review.get(name)]
    is_allowed = said.get("verdict") == "accept" and not flags  # both layers (paper Sec. 3.2)
    return numeric if is_allowed else Verdict(False, Failure.IMPROVE)


def _recompute(example: Example) -> tuple[list[Fraction], list[Fraction]]:
    """Exact scores of both solvers. Raises ValueError where there is not one boolean per criterion."""
    lines, evidence = example.candidate.rubric, example.evidence
    weak, strong = ([rubric.score(lines, met) for met in all_met]
                    for all_met in (evidence.weak_met, evidence.strong_met))  # fmt: skip
    return weak, strong


def _check_verdicts(example: Example) -> Iterator[tuple[str, str]]:
    evidence = example.evidence
    if not evidence.weak_met or not evidence.strong_met:
        yield "verdict", "a solver has no attempt"
        return
    for name, gate in evidence.gates.items():
        due, stored = decide(example, Gate(**gate)), evidence.presets.get(name)
        if stored is None or (stored.accepted, stored.failure) != (due.accepted, due.failure):
            yield "verdict", f"preset {name}: {_describe(stored)} is stored, {_describe(due)} follows"
    in_force = evidence.presets.get(evidence.preset)
    if evidence.preset not in evidence.gates or in_force is None:
        yield "verdict", f"the preset in force, {evidence.preset}, is not stored"
    elif example.accepted != (in_force.accepted is True) or (example.arm == "agentic" and not example.accepted):
        yield "verdict", f"accepted is {example.accepted}, preset {evidence.preset}: {_describe(in_force)}"
    elif _is_undecided(evidence):
        yield "verdict", "neither thresholds nor a review decided it"


def _is_undecided(evidence: Evidence) -> bool:
    return not evidence.gates[evidence.preset] and not evidence.review


def _describe(verdict: Verdict | None) -> str:
    if verdict is None:
        return "nothing"
    return "accepted" if verdict.accepted else str(verdict.failure or "not measured")


def _compare(example: Example, open_arm: Callable[[str, str], Arm]) -> str:
    """Where the example differs from the round that it says it was made from."""
    try:
        arm = open_arm(example.arm, example.provenance.run)
        trajectory = next(t for t in arm.trajectories if t.document_id == example.document_id)
        tried = next(r for r in trajectory.rounds if r.number == example.round)
        made = make_example(arm, trajectory, tried, example.provenance.licence)
    except StopIteration:
        return f"{example.provenance.run} has no round {example.round} of document {example.document_id}"
    except (RunError, RecipeError, ValueError) as error:
        return str(error)
    due = replace(made, split=example.split)
    return ", ".join(f"{f.name} differs" for f in fields(Example) if _value(due, f.name) != _value(example, f.name))


def _value(example: Example, name: str) -> object:
    return vars(example)[name]


def show(count: int, found: list[Mismatch]) -> None:
    """One line per check, then the first mismatches."""
    console, table = Console(), Table("check", "examples", "mismatches")
    for check in CHECKS:
        table.add_row(check, str(count), str(sum(m.check == check for m in found)))
    console.print(table)
    for mismatch in found[:_SHOWN]:
        console.print(escape(f"{mismatch.where}: {mismatch.check}: {mismatch.problem}"), soft_wrap=True)
    if len(found) > _SHOWN:
        console.print(f"… and {len(found) - _SHOWN} more")


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        count, found = verify(Path(sys.argv[1]))
    except RunError as error:
        raise SystemExit(f"error: {error}") from None
    show(count, found)
    if found:
        raise SystemExit(f"{len(found)} mismatches")


if __name__ == "__main__":
    main()
