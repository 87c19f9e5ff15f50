"""Measures how far verdicts agree, of one judge's repeats or of two judges, with intervals clustered by document."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy

from autodata.stats.intervals import DIFFERENCE, SHARE, Bounds, Estimate, attach_interval, estimate_mean

NOTHING = "nothing to compare"
NO_VARIATION = "no variation: all verdicts are the same"
ONE_DOCUMENT_VARIES = "no interval: only one document varies"


@dataclass(frozen=True)
class Ratings:
    """The verdicts on one criterion of one attempt, in the order of the raters; a lost verdict is None."""

    document_id: str
    met: tuple[bool | None, ...]


@dataclass(frozen=True)
class Agreement:
    """The agreement over `compared` criteria. Criteria with fewer than two verdicts are counted in `left_out` only."""

    compared: int
    left_out: int
    share: Estimate  # the share of pairs of verdicts that are the same
    alpha: Estimate  # Krippendorff's alpha for nominal data
    kappa: Estimate | None = None  # Cohen's kappa, only between two judges


def compare_repeats(ratings: Sequence[Ratings]) -> Agreement:
    """Measure the self-agreement of a judge that was asked the same thing several times; lost verdicts are skipped."""
    usable = [r for r in ratings if len(r.met) - r.met.count(None) > 1]
    counts = numpy.array([[r.met.count(False), r.met.count(True)] for r in usable], dtype=int).reshape(-1, 2)
    return _measure(counts, [r.document_id for r in usable], len(ratings))


def compare_judges(pairs: Sequence[Ratings]) -> Agreement:
    """Measure the agreement of two judges; each element of `pairs` holds one verdict of each judge."""
    usable = [p for p in pairs if None not in p.met]
    # One row per pair, with a 1 in the column of: neither, second only, first only, both.
    cells = numpy.eye(4, dtype=int)[[2 * bool(p.met[0]) + bool(p.met[1]) for p in usable]]
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
    """Estimate the mean of (document, difference of scores) pairs."""
    return estimate_mean(differences, DIFFERENCE) or Estimate(None, reason=NOTHING)


def cohen_kappa(table: Sequence[Sequence[int]]) -> float | None:
    """Compute Cohen's kappa of a square table of counts; None if both judges always gave the same single verdict."""
    total = sum(map(sum, table))  # all are integers up to the one division
    same = sum(table[i][i] for i in range(len(table)))
    by_chance = sum(sum(row) * sum(column) for row, column in zip(table, zip(*table, strict=True), strict=True))
    return (total * same - by_chance) / (total**2 - by_chance) if total**2 != by_chance else None


def share_of_pairs(counts: numpy.ndarray) -> float:
    """Compute the share of pairs of verdicts on a criterion that are the same, averaged over the criteria."""
    verdicts = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (verdicts * (verdicts - 1))).mean())


def nominal_alpha(counts: numpy.ndarray) -> float | None:
    """Compute Krippendorff's alpha from the counts of (not met, met) per criterion; None if nothing varies."""
    # The `krippendorff` library is GPL, so it is not a dependency; the tests compare this function with it.
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
    """Estimate a statistic of `rows` within `bounds`, with its interval over `documents`, which has one per row."""
    if not len(rows):
        return Estimate(None, reason=NOTHING)
    value = statistic(rows)
    if value is None:
        return Estimate(None, reason=NO_VARIATION)
    names, owners, counts = numpy.unique(documents, return_inverse=True, return_counts=True)
    # The jackknife replicates: the statistic without each of the documents.
    replicates = [statistic(rows[owners != number]) if len(names) > 1 else value for number in range(len(names))]
    if None in replicates:
        return Estimate(value, documents=len(names), reason=ONE_DOCUMENT_VARIES)
    return attach_interval(value, numpy.array(replicates, dtype=float), counts, bounds)
