"""Scores an answer by a rubric; generation, reward and evaluation all use this one scorer."""

from collections.abc import Sequence
from fractions import Fraction

from autodata.recipes.domain import Shape
from autodata.types import Criterion, Judgement


def find_faults(rubric: Sequence[Criterion], shape: Shape) -> list[str]:
    """List where a rubric leaves its shape. Code counts, whatever a model says it has counted."""
    bounds = shape.tolerated
    counts = {
        "criteria": (len(rubric), bounds.items),
        "positive criteria": (sum(c.weight > 0 for c in rubric), bounds.positive),
        "negative criteria": (sum(c.weight < 0 for c in rubric), bounds.negative),
    }
    faults = [
        f"{count} {name} instead of {low} to {high}"
        for name, (count, (low, high)) in counts.items()
        if not low <= count <= high
    ]
    heavy = [c.weight for c in rubric if abs(c.weight) > shape.weight_at_most]
    return faults + [f"weight {weight} beyond {shape.weight_at_most}" for weight in heavy[:1]]


def score(rubric: Sequence[Criterion], met: Sequence[bool]) -> Fraction:
    """Divide the points earned by all positive points, clipped to [0, 1] (our reading of paper Sec. 3.1).

    Meeting a criterion of negative weight costs its points. The score is an exact fraction, so thresholds are exact.
    Raises ValueError if there is not one boolean per criterion, or if nothing can be earned.
    """
    if len(met) != len(rubric):
        raise ValueError(f"{len(met)} verdicts for {len(rubric)} criteria")
    attainable = sum(c.weight for c in rubric if c.weight > 0)
    if attainable == 0:
        raise ValueError("the rubric has no criterion of positive weight")
    earned = sum(c.weight for c, is_met in zip(rubric, met, strict=True) if is_met)
    return min(max(Fraction(earned, attainable), Fraction(0)), Fraction(1))


def judge(rubric: Sequence[Criterion], met: Sequence[bool], reason: str = "") -> Judgement:
    """Make the judgement that follows from one boolean per criterion."""
    return Judgement(tuple(met), float(score(rubric, met)), reason)
