"""How far verdicts agree: repeats of one judge, or two judges, with intervals clustered by document."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy

from autodata.stats.intervals import DIFFERENCE, SHARE, Bounds, Estimate, attach_interval, estimate_mean

NOTHING = "nothing to compare"
NO_VARIATION = "no variation: all verdicts are the same"
ONE_DOCUMENT_VARIES = "no interval: without one of the documents nothing varies"


@dataclass(frozen=True)
class Ratings:
    """The verdicts on one criterion of one attempt, in the order of the raters; None where one was lost."""

    document_id: str
    met: tuple[bool | None, ...]


@dataclass(frozen=True)
class Agreement:
    """Agreement over `compared` criteria; `left_out` ones have fewer than two verdicts and count nowhere."""

    compared: int
    left_out: int
    share: Estimate  # of pairs of verdicts that are the same
    alpha: Estimate  # Krippendorff's, nominal
    kappa: Estimate | None = None  # Cohen's, between two judges


def compare_repeats(ratings: Sequence[Ratings]) -> Agreement:
    """Agreement of verdicts that nothing tells apart, as many per criterion as were not lost."""
    usable = [r for r in ratings if len(r.met) - r.met.count(None) > 1]
    counts = numpy.array([[r.met.count(False), r.met.count(True)] for r in usable], dtype=int).reshape(-1, 2)
    documents = [r.document_id for r in usable]
    return _measure(counts, documents, len(ratings))


def compare_judges(pairs: Sequence[Ratings]) -> Agreement:
    """Agreement of a first and a second judge; each element holds one verdict of either."""
    usable = [p for p in pairs if None not in p.met]
    cells = numpy.zeros((len(usable), 4), dtype=int)  # neither, second only, first only, both
    for row, pair in enumerate(usable):
        first, second = pair.met
        cells[row, 2 * bool(first) + bool(second)] = 1
    counts = cells @ numpy.array([[2, 0], [1, 1], [1, 1], [0, 2]])
    documents = [p.document_id for p in usable]
    kappa = estimate(cells, documents, lambda rows: cohen_kappa(rows.sum(axis=0).reshape(2, 2).tolist()))
    return _measure(counts, documents, len(pairs), kappa)


def _measure(
    counts: numpy.ndarray, documents: Sequence[str], criteria: int, kappa: Estimate | None = None
) -> Agreement:
    share, alpha = estimate(counts, documents, share_of_pairs, SHARE), estimate(counts, documents, nominal_alpha)
    return Agreement(len(counts), criteria - len(counts), share, alpha, kappa)


def mean_difference(differences: Iterable[tuple[str, float]]) -> Estimate:
    """Mean of differences of scores, each with its document."""
    return estimate_mean(differences, DIFFERENCE) or Estimate(None, reason=NOTHING)


def cohen_kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Cohen's kappa of a square table of counts, in whole numbers up to the one division.

    None where both judges give one and the same verdict throughout: chance then explains everything.
    """
    total = sum(map(sum, table))
    same = sum(table[i][i] for i in range(len(table)))
    by_chance = sum(sum(row) * sum(column) for row, column in zip(table, zip(*table, strict=True), strict=True))
    return (total * same - by_chance) / (total**2 - by_chance) if total**2 != by_chance else None


def share_of_pairs(counts: numpy.ndarray) -> float:
    """Share of the pairs of verdicts on a criterion that are the same, averaged over criteria."""
    verdicts = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (verdicts * (verdicts - 1))).mean())


def nominal_alpha(counts: numpy.ndarray) -> float | None:
    """Krippendorff's alpha from verdicts per criterion: not met, met. None where nothing varies.

    In whole numbers but for one weight per criterion. The library of that name is GPL: it checks this in the tests.
    """
    verdicts, totals = counts.sum(axis=1), counts.sum(axis=0)
    if not totals.all():
        return None
    differing = ((verdicts**2 - (counts**2).sum(axis=1)) / (verdicts - 1)).sum()
    by_chance = (totals.sum() ** 2 - (totals**2).sum()) / (totals.sum() - 1)
    return float(1 - differing / by_chance)


def estimate(
    rows: numpy.ndarray,
    documents: Sequence[str],
    statistic: Callable[[numpy.ndarray], float | None],
    bounds: Bounds = DIFFERENCE,
) -> Estimate:
    """A statistic of `rows` within `bounds`, and its interval over the documents, `documents` naming each row's."""
    if not len(rows):
        return Estimate(None, reason=NOTHING)
    value = statistic(rows)
    if value is None:
        return Estimate(None, reason=NO_VARIATION)
    names, owners, counts = numpy.unique(documents, return_inverse=True, return_counts=True)
    without = [statistic(rows[owners != number]) if len(names) > 1 else value for number in range(len(names))]
    if None in without:
        return Estimate(value, documents=len(names), reason=ONE_DOCUMENT_VARIES)
    return attach_interval(value, numpy.array(without, dtype=float), counts, bounds)
