"""Recompute what a dataset claims: every hash, score and verdict, and that its trajectories say the same.

python -m autodata.verify runs/demo/dataset
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.data.examples import EXAMPLES, Arm, make_example, read_arm
from autodata.data.filters import list_unmeasured
from autodata.loop import acceptance, rubric
from autodata.recipes.domain import Gate
from autodata.run.folder import require_finished
from autodata.run.records import hash_path, read_records
from autodata.types import EXAMPLE, Evidence, Example, Failure, Outcome, Round, UserError, Verdict

CHECKS = ("file", "candidate", "measured", "scores", "verdict", "trajectory")
_SHOWN = 20


@dataclass(frozen=True)
class Mismatch:
    """Something that is not as the dataset says."""

    where: str  # an example's id
    check: str
    problem: str


def verify(folder: Path) -> tuple[int, list[Mismatch]]:
    """How many examples a dataset has, and what is wrong with them. Raises RunError."""
    manifest = require_finished(str(folder), "python -m autodata.dataset")
    examples = read_records(folder / EXAMPLES, EXAMPLE)
    found = []
    if hash_path(folder / EXAMPLES) != manifest["outputs"].get(EXAMPLES):
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
        yield from _check_measured(example)
    yield from _check_round(example, open_arm)


def _check_measured(example: Example) -> Iterator[tuple[str, str]]:
    """Whether every attempt of the row was measured."""
    evidence = example.evidence
    for solver, outcomes, met in (("weak", evidence.weak_outcomes, evidence.weak_met),
                                  ("strong", evidence.strong_outcomes, evidence.strong_met)):  # fmt: skip
        if outcomes and len(outcomes) != len(met):
            yield "measured", f"{len(outcomes)} outcomes for {len(met)} attempts of the {solver} solver"
        if missing := Counter(str(o) for o in outcomes if not (o.is_measured or o is Outcome.REFUSED)):
            listed = ", ".join(f"{name} {count}" for name, count in missing.items())
            yield "measured", f"{missing.total()} of {len(outcomes)} {solver} attempts were not measured: {listed}"


def _check_round(example: Example, open_arm: Callable[[str, str], Arm]) -> Iterator[tuple[str, str]]:
    """Whether the round that a row was made from says the same, and would be accepted today.

    Rows made before outcomes were recorded are judged by those of their round and by today's rules.
    """
    try:
        arm, tried, due = _remake(example, open_arm)
    except (UserError, ValueError) as error:
        yield "trajectory", str(error)
        return
    if not arm.domain.count_refusals and any(a.is_counted_refusal for a in (*tried.weak, *tried.strong)):
        yield "measured", "a refusal is counted, which the recipe of its run does not allow"
    if missing := list_unmeasured(tried):
        yield "measured", f"would not be accepted today, attempts without an answer: {', '.join(missing)}"
        return
    is_old = not example.evidence.weak_outcomes
    if is_old and example.accepted and (verdict := _decide_today(arm, tried, due)).accepted is not True:
        yield "verdict", f"would not be accepted today: {verdict.reason or verdict.failure}"
    if problem := _compare(example, due, is_old):
        yield "trajectory", problem


def _decide_today(arm: Arm, tried: Round, due: Example) -> Verdict:
    """The verdict of the preset in force by the rules of this code, the final check included."""
    if tried.final is not None and not tried.final.passed:
        return Verdict(False, Failure.LOW_QUALITY, f"final check: {tried.final.reason}")
    return decide(due, arm.domain.presets[due.evidence.preset])


def decide(example: Example, gate: Gate) -> Verdict:
    """The verdict that follows from booleans and a gate and, where the domain has one, the stored review."""
    planned = (example.evidence.weak_planned, example.evidence.strong_planned)
    cut_off = tuple(sum(o is Outcome.CUT_OFF for o in outcomes)
                    for outcomes in (example.evidence.weak_outcomes, example.evidence.strong_outcomes))  # fmt: skip
    weak, strong = _recompute(example)
    numeric = acceptance.decide_measured(weak, strong, planned, gate, (cut_off[0], cut_off[1]))
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
        due, stored = decide(example, _read_gate(gate)), evidence.presets.get(name)
        if stored is None or (stored.accepted, stored.failure) != (due.accepted, due.failure):
            yield "verdict", f"preset {name}: {_describe(stored)} is stored, {_describe(due)} follows"
    in_force = evidence.presets.get(evidence.preset)
    if evidence.preset not in evidence.gates or in_force is None:
        yield "verdict", f"the preset in force, {evidence.preset}, is not stored"
    elif example.accepted != (in_force.accepted is True) or (example.arm == "agentic" and not example.accepted):
        yield "verdict", f"accepted is {example.accepted}, preset {evidence.preset}: {_describe(in_force)}"
    elif _is_undecided(evidence):
        yield "verdict", "neither thresholds nor a review decided it"


def _read_gate(bounds: Mapping[str, float]) -> Gate:
    """A gate as a row states it; rows made before budgets were judged knew no such bound."""
    return Gate(**{"finished_at_least": 0.0, **bounds})


def _is_undecided(evidence: Evidence) -> bool:
    return not {*evidence.gates[evidence.preset]} - {"finished_at_least"} and not evidence.review


def _describe(verdict: Verdict | None) -> str:
    if verdict is None:
        return "nothing"
    return "accepted" if verdict.accepted else str(verdict.failure or "not measured")


def _remake(example: Example, open_arm: Callable[[str, str], Arm]) -> tuple[Arm, Round, Example]:
    """The round that an example says it was made from, and the example made of it again.

    Raises RunError, RecipeError, ValueError.
    """
    arm = open_arm(example.arm, example.provenance.run)
    rounds = [(t, r) for t in arm.trajectories if t.document_id == example.document_id
              for r in t.rounds if r.number == example.round]  # fmt: skip
    if not rounds:
        raise ValueError(f"{example.provenance.run} has no round {example.round} of document {example.document_id}")
    trajectory, tried = rounds[0]
    if list_unmeasured(tried):
        return arm, tried, example  # nothing can be made of it
    return arm, tried, make_example(arm, trajectory, tried, example.provenance.licence)


def _compare(example: Example, due: Example, is_old: bool) -> str:
    """Where the example differs from the one that its round gives; what older rows lack is no difference."""
    due = replace(due, split=example.split)
    if is_old:
        known = replace(example.evidence, weak_outcomes=due.evidence.weak_outcomes,
                        strong_outcomes=due.evidence.strong_outcomes, gates=due.evidence.gates)  # fmt: skip
        example = replace(example, evidence=known)
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


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run of autodata.dataset")
    count, found = verify(parser.parse_args().run)
    show(count, found)
    if found:
        raise SystemExit(f"{len(found)} mismatches")


if __name__ == "__main__":
    main()
