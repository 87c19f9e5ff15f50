"""Decides whether a candidate is accepted: thresholds on exact scores, computed from the judge's booleans."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from math import lcm
from operator import ge, gt, le, lt

from autodata.loop import rubric
from autodata.recipes.domain import Gate
from autodata.serving.measured import advise
from autodata.types import Attempt, Candidate, Failure, Outcome, Role, Verdict

Scores = Sequence[Fraction]
Counts = tuple[int, int]  # how many weak and how many strong attempts
_BOUNDS_IN_WORDS = {
    "weak_mean_at_least": "a weak mean of at least",
    "weak_mean_above": "a weak mean above",
    "weak_mean_at_most": "a weak mean of at most",
    "weak_mean_below": "a weak mean below",
    "weak_max_at_most": "no weak answer above",
    "weak_min_above": "every weak answer above",
    "strong_mean_at_least": "a strong mean of at least",
    "strong_mean_below": "a strong mean below",
    "strong_min_above": "every strong answer above",
    "gap_at_least": "a gap between the two means of at least",
}


def scores(candidate: Candidate, attempts: Sequence[Attempt]) -> list[Fraction]:
    """Compute the exact score of each attempt from its booleans. Raises ValueError for one that was not measured."""
    exact = []
    for attempt in attempts:
        if not attempt.is_measured or attempt.judgement.met is None:
            reason = f"{attempt.outcome}, {attempt.judgement.reason}"
            raise ValueError(f"attempt {attempt.index} was not measured, which is not a score of 0: {reason}")
        exact.append(rubric.score(candidate.rubric, attempt.judgement.met))
    return exact


def mean(values: Scores) -> Fraction:
    """Compute the exact mean. A common denominator comes first: adding millions of fractions one by one is slow."""
    whole = lcm(*(value.denominator for value in values))
    return Fraction(sum(value.numerator * (whole // value.denominator) for value in values), whole * len(values))


def are_equal(values: Scores) -> bool:
    """Return True if several attempts all have the same score: GRPO learns from differences only (paper Sec. 3.2)."""
    return len(values) > 1 and len(set(values)) == 1


def count_cut_off(attempts: Sequence[Attempt]) -> int:
    return sum(a.outcome is Outcome.CUT_OFF for a in attempts)


def decide_weak(weak: Scores, gate: Gate, cut_off: int = 0) -> Verdict | None:
    """Reject a candidate by its weak attempts alone; None if they pass. `cut_off` counts those that were cut off.

    A cut-off attempt scores 0 at worst, so "too easy" holds whatever the budget is; a low score does not.
    """
    average, worst, best = mean(weak), min(weak), max(weak)
    too_easy = ((average, gt, gate.weak_mean_at_most), (average, ge, gate.weak_mean_below))
    if _any_holds(*too_easy, (best, gt, gate.weak_max_at_most)):
        return Verdict(False, Failure.TOO_EASY, f"weak mean {float(average):.3f}, best {float(best):.3f}")
    if _is_unfinished(len(weak), cut_off, gate):
        return Verdict(False, Failure.CUT_OFF, _describe_cut_off(Role.WEAK_SOLVER, len(weak), cut_off))
    too_low = ((average, lt, gate.weak_mean_at_least), (average, le, gate.weak_mean_above))
    if _any_holds(*too_low, (worst, le, gate.weak_min_above)):
        return Verdict(False, Failure.NO_SIGNAL, f"weak mean {float(average):.3f}, worst {float(worst):.3f}")
    return None


def decide(weak: Scores, strong: Scores, gate: Gate, cut_off: Counts = (0, 0)) -> Verdict:
    """Return the verdict of one preset. `strong` may be empty if the weak attempts did not pass."""
    rejected = decide_weak(weak, gate, cut_off[0])
    if rejected or not strong:
        return rejected or Verdict(None, None, "strong solver not measured")
    average, gap = mean(strong), mean(strong) - mean(weak)
    detail = f"weak {float(mean(weak)):.3f}, strong {float(average):.3f}, gap {float(gap):.3f}"
    too_low = _any_holds((average, lt, gate.strong_mean_at_least), (min(strong), le, gate.strong_min_above))
    is_small = _any_holds((gap, lt, gate.gap_at_least))
    if (too_low or is_small) and _is_unfinished(len(strong), cut_off[1], gate):
        return Verdict(False, Failure.CUT_OFF, _describe_cut_off(Role.STRONG_SOLVER, len(strong), cut_off[1]))
    if too_low:
        return Verdict(False, Failure.TOO_HARD, detail)
    if _any_holds((average, ge, gate.strong_mean_below)):
        return Verdict(False, Failure.TOO_EASY, detail)
    return Verdict(False, Failure.SMALL_GAP, detail) if is_small else Verdict(True, None, detail)


def settle_weak(weak: Scores, planned: int, gate: Gate, cut_off: int = 0) -> Verdict | None:
    """Reject a candidate as soon as no outcome of the missing weak attempts can change that; else None.

    Every rule is monotone in each score and in the number of cut-off attempts, so testing the extremes is enough.
    """
    possible = [decide_weak(filled, gate, cut_off + more) for filled, more in _list_extremes(weak, planned)]
    return _settled(possible, f"settled after {len(weak)} of {planned} weak attempts")


def settle(weak: Scores, strong: Scores, planned: int, gate: Gate, cut_off: Counts = (0, 0)) -> Verdict | None:
    """Return the verdict as soon as no outcome of the missing strong attempts can change it; else None."""
    possible = [
        decide(weak, filled, gate, (cut_off[0], cut_off[1] + more)) for filled, more in _list_extremes(strong, planned)
    ]
    return _settled(possible, f"settled after {len(strong)} of {planned} strong attempts")


def decide_measured(weak: Scores, strong: Scores, planned: Counts, gate: Gate, cut_off: Counts = (0, 0)) -> Verdict:
    """Return the verdict from the attempts measured so far. `planned` is how many the recipe asks for.

    The verdict is "not measured" (`accepted` None) while missing attempts could still change it. `cut_off` counts the
    attempts that ran into their budget.
    """
    settled = settle_weak(weak, planned[0], gate, cut_off[0])
    if not settled and strong and len(weak) == planned[0]:
        settled = settle(weak, strong, planned[1], gate, cut_off)
    return settled or Verdict(None, None, "not measured: attempts are missing")


def describe_gate(gate: Gate) -> str:
    """Say in words which scores a gate accepts, for the models that write and direct."""
    bounds = [(words, getattr(gate, name)) for name, words in _BOUNDS_IN_WORDS.items()]
    *others, last = [f"{words} {bound:g}" for words, bound in bounds if bound is not None] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def _is_unfinished(attempts: int, cut_off: int, gate: Gate) -> bool:
    bound = gate.finished_at_least
    return bound is not None and attempts - cut_off < _exact(bound) * attempts


def _describe_cut_off(role: Role, attempts: int, cut_off: int) -> str:
    cut = f"{cut_off} of {attempts} attempts of {role} were cut off by their budget"
    return f"{cut}, which says nothing of difficulty: {advise(role, Outcome.CUT_OFF)}"


def _list_extremes(scores: Scores, planned: int) -> list[tuple[list[Fraction], int]]:
    """List the extreme cases of the missing attempts: (all scores then, how many more are cut off)."""
    missing = planned - len(scores)
    cases = [(0, 0), (0, missing), (1, 0), (1, missing)] if missing else [(0, 0)]
    return [([*scores, *[Fraction(value)] * missing], more) for value, more in cases]


def _settled(possible: Sequence[Verdict | None], how: str) -> Verdict | None:
    """Return the verdict that all possible outcomes agree on; else None."""
    first, last = possible[0], possible[-1]
    if first is None or last is None or len({v and (v.accepted, v.failure) for v in possible}) > 1:
        return None
    if first == last:
        return first
    return Verdict(first.accepted, first.failure, f"{how}: {first.reason} to {last.reason}")


@cache
def _exact(bound: float) -> Fraction:
    return Fraction(str(bound))  # 0.65 means 13/20, not its nearest binary number


def _any_holds(*rules: tuple[Fraction, Callable[[Fraction, Fraction], bool], float | None]) -> bool:
    """Return True if a comparison of a value with its bound holds. A rule without a bound is skipped."""
    return any(bound is not None and compare(value, _exact(bound)) for value, compare, bound in rules)
