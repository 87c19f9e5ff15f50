"""When a candidate is accepted: thresholds on exact scores, recomputed from booleans."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import lcm

from autodata import rubric
from autodata.types import Attempt, Candidate, Failure, Verdict


@dataclass
class Gate:
    """The thresholds of one preset, in scores from 0 to 1; None = no such bound.

    `…_above` and `…_below` are strict, the others include their bound.
    """

    weak_mean_at_least: float | None = None
    weak_mean_above: float | None = None
    weak_mean_at_most: float | None = None
    weak_mean_below: float | None = None
    weak_max_at_most: float | None = None
    weak_min_above: float | None = None  # 0: no weak attempt at zero (one reading of paper Sec. 4)
    strong_mean_at_least: float | None = None
    strong_mean_below: float | None = None
    strong_min_above: float | None = None  # 0: no strong attempt at zero
    gap_at_least: float | None = None


def scores(candidate: Candidate, attempts: Sequence[Attempt]) -> list[Fraction]:
    """Exact scores, from each attempt's booleans. Raises ValueError on an unjudged attempt."""
    exact = []
    for attempt in attempts:
        if attempt.judgement.met is None:
            raise ValueError(f"attempt {attempt.index} has no judgement; a failed judge is not 0")
        exact.append(rubric.score(candidate.rubric, attempt.judgement.met))
    return exact


def mean(values: Sequence[Fraction]) -> Fraction:
    """Exact; over one denominator, because adding fractions reduces each sum, and a report adds up millions."""
    whole = lcm(*(value.denominator for value in values))
    return Fraction(sum(value.numerator * (whole // value.denominator) for value in values), whole * len(values))


def decide_weak(weak: Sequence[Fraction], gate: Gate) -> Verdict | None:
    """The rejection that the weak attempts alone decide, or None when they pass."""
    average = mean(weak)
    too_easy = (
        _over(average, gate.weak_mean_at_most)
        or _reaches(average, gate.weak_mean_below)
        or _over(max(weak), gate.weak_max_at_most)
    )
    if too_easy:
        detail = f"weak mean {float(average):.3f}, best {float(max(weak)):.3f}"
        return Verdict(False, Failure.TOO_EASY, detail)
    too_low = (
        _under(average, gate.weak_mean_at_least)
        or _within(average, gate.weak_mean_above)
        or _within(min(weak), gate.weak_min_above)
    )
    if too_low:
        return Verdict(False, Failure.NO_SIGNAL, f"weak mean {float(average):.3f}, worst {float(min(weak)):.3f}")
    return None


def decide(weak: Sequence[Fraction], strong: Sequence[Fraction], gate: Gate) -> Verdict:
    """The verdict of one preset. Strong scores may be empty when the weak stage was not passed."""
    rejected = decide_weak(weak, gate)
    if rejected:
        return rejected
    if not strong:
        return Verdict(None, None, "strong solver not measured")
    average, gap = mean(strong), mean(strong) - mean(weak)
    detail = f"weak {float(mean(weak)):.3f}, strong {float(average):.3f}, gap {float(gap):.3f}"
    if _under(average, gate.strong_mean_at_least) or _within(min(strong), gate.strong_min_above):
        return Verdict(False, Failure.TOO_HARD, detail)
    if _reaches(average, gate.strong_mean_below):
        return Verdict(False, Failure.TOO_EASY, detail)
    if _under(gap, gate.gap_at_least):
        return Verdict(False, Failure.SMALL_GAP, detail)
    return Verdict(True, None, detail)


def settle_weak(weak: Sequence[Fraction], planned: int, gate: Gate) -> Verdict | None:
    """The rejection that no outcome of the missing weak attempts can change, or None.

    Each rule is monotone in every score, so all-zeros and all-ones bound what can still happen.
    """
    if len(weak) == planned:
        return decide_weak(weak, gate)
    low, high = (decide_weak(_fill(weak, planned, value), gate) for value in (0, 1))
    return _settled(low, high, f"settled after {len(weak)} of {planned} weak attempts")


def settle(weak: Sequence[Fraction], strong: Sequence[Fraction], planned: int, gate: Gate) -> Verdict | None:
    """The verdict that no outcome of the missing strong attempts can change, or None."""
    if len(strong) == planned:
        return decide(weak, strong, gate)
    low, high = (decide(weak, _fill(strong, planned, value), gate) for value in (0, 1))
    return _settled(low, high, f"settled after {len(strong)} of {planned} strong attempts")


def decide_measured(
    weak: Sequence[Fraction], strong: Sequence[Fraction], planned: tuple[int, int], gate: Gate
) -> Verdict:
    """The verdict of the attempts that were made, of those `planned` for weak and strong solver.

    Not measured (`accepted` None) where attempts are missing that could still change it.
    """
    weak_planned, strong_planned = planned
    rejected = settle_weak(weak, weak_planned, gate)
    if rejected:
        return rejected
    settled = settle(weak, strong, strong_planned, gate) if strong and len(weak) == weak_planned else None
    return settled or Verdict(None, None, "not measured: attempts are missing")


def _fill(scores: Sequence[Fraction], planned: int, value: int) -> list[Fraction]:
    return [*scores, *[Fraction(value)] * (planned - len(scores))]


def _settled(low: Verdict | None, high: Verdict | None, how: str) -> Verdict | None:
    if low is None or high is None or (low.accepted, low.failure) != (high.accepted, high.failure):
        return None
    return low if low == high else Verdict(low.accepted, low.failure, f"{how}: {low.reason} to {high.reason}")


@cache
def _exact(bound: float) -> Fraction:
    return Fraction(str(bound))  # 0.65 means 13/20, not its nearest binary number


def _over(value: Fraction, bound: float | None) -> bool:
    return bound is not None and value > _exact(bound)


def _reaches(value: Fraction, bound: float | None) -> bool:
    return bound is not None and value >= _exact(bound)


def _under(value: Fraction, bound: float | None) -> bool:
    return bound is not None and value < _exact(bound)


def _within(value: Fraction, bound: float | None) -> bool:
    return bound is not None and value <= _exact(bound)
