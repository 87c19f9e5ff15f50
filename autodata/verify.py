"""Verify a dataset: recompute every hash, score and verdict, and compare each row with its trajectory.

python -m autodata.verify runs/demo/dataset
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.data.examples import EXAMPLES, Arm, make_example, open_arm
from autodata.data.filters import list_unmeasured
from autodata.loop import acceptance, rubric
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import Gate
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import read_manifest, require_finished
from autodata.run.records import NoSuchRun, RunError, hash_path, read_json, read_records, write_file
from autodata.stats.writing import write_count
from autodata.types import EXAMPLE, Example, Failure, Outcome, Round, UserError, Verdict

VERIFIED = "verified.json"  # says which examples the check has passed
CHECKS = ("file", "candidate", "measured", "scores", "verdict", "trajectory")
_SHOWN = 20


@dataclass(frozen=True)
class Mismatch:
    """A stored value that differs from the recomputed one."""

    where: str  # an example's id
    check: str
    problem: str


def verify(folder: Path) -> tuple[int, list[Mismatch]]:
    """Check all examples of a dataset; return how many there are, and the mismatches. Raises RunError."""
    manifest = require_finished(str(folder), COMMANDS[DatasetRecipe])
    examples = read_records(folder / EXAMPLES, EXAMPLE)
    mismatches = []
    if hash_path(folder / EXAMPLES) != manifest["outputs"].get(EXAMPLES):
        mismatches.append(Mismatch(EXAMPLES, "file", "the file has changed since it was made"))
    open_once = cache(partial(open_arm, folder))
    missing = dict(_find_missing(folder, examples, open_once))
    mismatches += missing.values()
    for example in examples:
        open_one = None if _name_origin(example) in missing else open_once
        mismatches += [Mismatch(example.id, check, problem) for check, problem in check_example(example, open_one)]
    return len(examples), mismatches


def _find_missing(
    folder: Path, examples: Sequence[Example], open_arm: Callable[[str, str], Arm]
) -> Iterator[tuple[tuple[str, str], Mismatch]]:
    """Yield the origins of examples that cannot be read at all, each with one mismatch for all of its examples."""
    for (arm, run), count in Counter(map(_name_origin, examples)).items():
        try:
            open_arm(arm, run)
        except UserError as error:
            made = f"{write_count(count, 'example')} of the arm {arm} cannot be compared with this run"
            advice = f", or copy it to {folder / run}" if isinstance(error, NoSuchRun) else ""
            yield (arm, run), Mismatch(run, "trajectory", f"{made}: {error}{advice}")


def _name_origin(example: Example) -> tuple[str, str]:
    """Return the arm of an example and the run that it was made from."""
    return example.arm, example.provenance.run


def was_verified(folder: Path) -> bool:
    """True if the examples of a data set are those that it was made with and the command has checked.

    Raises RunError.
    """
    mark, manifest = read_json(folder / VERIFIED), read_manifest(folder) or {}
    made = manifest.get("outputs", {}).get(EXAMPLES)
    is_marked = isinstance(mark, dict) and made is not None and mark.get(EXAMPLES) == made
    return is_marked and (folder / EXAMPLES).exists() and hash_path(folder / EXAMPLES) == made


def _leave_mark(folder: Path) -> None:
    with suppress(RunError):  # a data set in a folder that may only be read can be verified as well
        write_file(folder / VERIFIED, json.dumps({EXAMPLES: hash_path(folder / EXAMPLES)}) + "\n")


def check_example(example: Example, open_arm: Callable[[str, str], Arm] | None) -> Iterator[tuple[str, str]]:
    """Yield each check that an example fails, with the reason; without `open_arm` its run cannot be read."""
    if not example.candidate.hash == example.candidate_hash == example.id.removeprefix(f"{example.arm}-"):
        yield "candidate", f"the hash is {example.candidate.hash}, but the row says {example.candidate_hash}"
    try:
        weak, strong = (tuple(map(float, exact)) for exact in _recompute(example))
    except ValueError as error:
        yield "scores", str(error)
    else:
        if (weak, strong) != (example.weak_scores, example.strong_scores):
            yield "scores", f"the stored booleans give the scores {weak} (weak) and {strong} (strong)"
        yield from _check_verdicts(example)
        yield from _check_measured(example)
    if open_arm:
        yield from _check_round(example, open_arm)


def _check_measured(example: Example) -> Iterator[tuple[str, str]]:
    """Check that every attempt of the row was measured."""
    for solver in ("weak", "strong"):
        outcomes, met = (getattr(example.evidence, f"{solver}_{part}") for part in ("outcomes", "met"))
        if outcomes and len(outcomes) != len(met):
            yield "measured", f"{len(outcomes)} outcomes for {len(met)} attempts of the {solver} solver"
        if missing := Counter(str(o) for o in outcomes if not (o.is_measured or o is Outcome.REFUSED)):
            listed = ", ".join(f"{name} {count}" for name, count in missing.items())
            yield "measured", f"{missing.total()} of {len(outcomes)} {solver} attempts were not measured: {listed}"


def _check_round(example: Example, open_arm: Callable[[str, str], Arm]) -> Iterator[tuple[str, str]]:
    """Check that the round a row was made from agrees with the row, and would be accepted today."""
    try:
        arm, round, remade = _remake(example, open_arm)
    except (UserError, ValueError) as error:
        yield "trajectory", str(error)
        return
    if not arm.domain.count_refusals and any(a.is_counted_refusal for a in (*round.weak, *round.strong)):
        yield "measured", "a refusal counts as an answer, which the recipe of the run does not allow"
    if missing := list_unmeasured(round):
        yield "measured", f"would not be accepted today, because attempts have no answer: {', '.join(missing)}"
        return
    # Older rows have no recorded outcomes: they are judged by the outcomes of their round and by today's rules.
    is_old = not example.evidence.weak_outcomes
    if is_old and example.accepted and (verdict := _decide_today(arm, round, remade)).accepted is not True:
        yield "verdict", f"would not be accepted today: {verdict.reason or verdict.failure}"
    if problem := _compare(example, remade, is_old):
        yield "trajectory", problem


def _decide_today(arm: Arm, round: Round, remade: Example) -> Verdict:
    """Return the verdict of the preset in force by today's rules, including the final check."""
    if round.final is not None and not round.final.passed:
        return Verdict(False, Failure.LOW_QUALITY, f"final check: {round.final.reason}")
    return decide(remade, arm.domain.presets[remade.evidence.preset])


def decide(example: Example, gate: Gate) -> Verdict:
    """Decide an example again from its booleans, a gate and, if the domain has one, the stored review."""
    evidence, review = example.evidence, example.evidence.review
    loop_judge = review.get("loop_judge")
    if isinstance(loop_judge, Mapping):
        # The loop-judge and the post-filter must accept, and the weak attempts must differ (paper Sec. 3.2).
        has_flags = review.get("post_filter_flags") or review.get("post_filter_overrides")
        if loop_judge.get("verdict") != "accept" or has_flags or acceptance.are_equal(_recompute(example)[0]):
            return Verdict(False, Failure.IMPROVE)
    planned = (evidence.weak_planned, evidence.strong_planned)
    cut_off = (evidence.weak_outcomes.count(Outcome.CUT_OFF), evidence.strong_outcomes.count(Outcome.CUT_OFF))
    return acceptance.decide_measured(*_recompute(example), planned, gate, cut_off)


def _recompute(example: Example) -> list[list[Fraction]]:
    """Recompute the exact scores of both solvers. Raises ValueError unless there is one boolean per criterion."""
    sides = (example.evidence.weak_met, example.evidence.strong_met)
    return [[rubric.score(example.candidate.rubric, met) for met in side] for side in sides]


def _check_verdicts(example: Example) -> Iterator[tuple[str, str]]:
    evidence = example.evidence
    if not evidence.weak_met or not evidence.strong_met:
        yield "verdict", "a solver has no attempt"
        return
    for name, gate in evidence.gates.items():
        # Older rows have no bound on the share of answers finished within their budget.
        verdict, stored = decide(example, Gate(**{"finished_at_least": 0.0, **gate})), evidence.presets.get(name)
        if stored is None or (stored.accepted, stored.failure) != (verdict.accepted, verdict.failure):
            yield "verdict", f"preset {name}: the row says {_describe(stored)}, recomputed is {_describe(verdict)}"
    in_force = evidence.presets.get(evidence.preset)
    if evidence.preset not in evidence.gates or in_force is None:
        yield "verdict", f"the preset in force, {evidence.preset}, is not stored"
    elif example.accepted != (in_force.accepted is True) or (example.arm == "agentic" and not example.accepted):
        yield "verdict", f"accepted is {example.accepted}, but preset {evidence.preset} says {_describe(in_force)}"
    elif not {*evidence.gates[evidence.preset]} - {"finished_at_least"} and not evidence.review:
        yield "verdict", "neither thresholds nor a review decided it"


def _describe(verdict: Verdict | None) -> str:
    if verdict is None:
        return "nothing"
    return "accepted" if verdict.accepted else str(verdict.failure or "not measured")


def _remake(example: Example, open_arm: Callable[[str, str], Arm]) -> tuple[Arm, Round, Example]:
    """Make an example again from its arm and round; return all three. Raises RunError, RecipeError, ValueError."""
    arm, origin = open_arm(example.arm, example.provenance.run), example.provenance
    for trajectory in arm.trajectories:
        for round in trajectory.rounds:
            if (trajectory.document_id, round.number) == (example.document_id, example.round):
                is_whole = not list_unmeasured(round)  # otherwise no example can be made from this round
                return arm, round, make_example(arm, trajectory, round, origin.licence) if is_whole else example
    raise ValueError(f"{origin.run} has no round {example.round} of document {example.document_id}")


def _compare(example: Example, remade: Example, is_old: bool) -> str:
    """Name the fields that differ from the remade example; fields that older rows lack do not count."""
    if is_old:
        added = {name: getattr(remade.evidence, name) for name in ("weak_outcomes", "strong_outcomes", "gates")}
        example = replace(example, evidence=replace(example.evidence, **added))
    stored, expected = vars(example), vars(replace(remade, split=example.split))
    return ", ".join(f"{name} differs" for name in stored if stored[name] != expected[name])


def show(count: int, mismatches: list[Mismatch]) -> None:
    """Print one line per check, then the first mismatches."""
    console, table = Console(), Table("check", "examples", "mismatches")
    for check in CHECKS:
        table.add_row(check, f"{count:,}", f"{sum(m.check == check for m in mismatches):,}")
    console.print(table)
    for mismatch in mismatches[:_SHOWN]:
        console.print(escape(f"{mismatch.where}: {mismatch.check}: {mismatch.problem}"), soft_wrap=True)
    if len(mismatches) > _SHOWN:
        console.print(f"… and {len(mismatches) - _SHOWN:,} more")


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run of autodata.dataset")
    folder = parser.parse_args().run
    count, mismatches = verify(folder)
    show(count, mismatches)
    if mismatches:
        raise SystemExit(write_count(len(mismatches), "mismatch", "mismatches"))
    _leave_mark(folder)


if __name__ == "__main__":
    main()
