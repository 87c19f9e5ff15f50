"""Estimates means, ratios and shares with 95 % intervals over documents.

Intervals are over documents because the examples of one document are not independent of each other. With few
documents a bootstrap covers far less than it claims (bench/intervals.py compares five methods). The interval of a
share is therefore Korn and Graubard's (Survey Methodology 24, 1998): the jackknife over documents gives the variance,
the variance gives the number of independent right-or-wrong answers that would be as uncertain, and Clopper and
Pearson's exact interval for that many answers is the result.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy

Bounds = tuple[float, float]  # the least and largest possible value; an interval never leaves them
SHARE: Bounds = (0.0, 1.0)  # scores, rates and shares
DIFFERENCE: Bounds = (-1.0, 1.0)  # the difference of two scores, rates or shares
ONE_DOCUMENT = "no interval: fewer than two documents"
NO_SPREAD = "no interval: nothing varies"
_TAIL = 0.025
_NORMAL = 1.959963984540054  # the upper 2.5 % point


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval over documents; `reason` says why the number or the interval is None."""

    value: float | None
    low: float | None = None
    high: float | None = None
    documents: int | None = None  # None in older files, which did not record it
    reason: str = ""


def read_estimate(stored: Mapping[str, Any] | None) -> Estimate | None:
    """Read an estimate as it is stored in a file."""
    return None if stored is None else Estimate(**stored)


def estimate_mean(values: Iterable[tuple[str, float | None]], bounds: Bounds | None) -> Estimate | None:
    """Estimate the mean of (document, value) pairs; None if no value is known. `bounds` is None if there are none."""
    known = [(document, value) for document, value in values if value is not None]
    sums, counts = add_up(known)
    if not len(counts):
        return None
    if not _is_signed(bounds):
        return estimate_ratio(sums, counts, bounds)
    gains, _ = add_up((document, max(value, 0.0)) for document, value in known)
    return join_signs(gains, gains - sums, counts, bounds)


def add_up(values: Iterable[tuple[str, float | None]]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the sum and the number of each document's values; a value of None was not measured and is left out."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for document, value in values:
        if value is not None:
            clusters[document].append(value)
    groups = clusters.values()
    return numpy.array([sum(group) for group in groups]), numpy.array([len(group) for group in groups])


def estimate_ratio(sums: numpy.ndarray, counts: numpy.ndarray, bounds: Bounds | None) -> Estimate:
    """Estimate the ratio of two totals over documents, with its interval."""
    if _is_signed(bounds):
        return join_signs(numpy.maximum(sums, 0.0), numpy.maximum(-sums, 0.0), counts, bounds)
    return attach_interval(float(sums.sum() / counts.sum()), leave_one_out(sums, counts), counts, bounds)


def _is_signed(bounds: Bounds | None) -> bool:
    return bounds is not None and bounds[0] < 0 < bounds[1]


def join_signs(up: numpy.ndarray, down: numpy.ndarray, counts: numpy.ndarray, bounds: Bounds) -> Estimate:
    """Estimate a mean change from the sums of gains and of losses, both of each document and not negative.

    Both are estimated by themselves, because the variance of few changes says too little. A document may have gains
    and losses: then the losses vary although all documents gain in sum.
    """
    value = float((up - down).sum() / counts.sum())
    replicates = leave_one_out(up - down, counts)
    if not varies(replicates, bounds):
        return attach_interval(value, replicates, counts, bounds)
    gains, losses = estimate_ratio(up, counts, (0.0, bounds[1])), estimate_ratio(down, counts, (0.0, -bounds[0]))
    low, high = subtract(gains, losses, correlate(leave_one_out(up, counts), leave_one_out(down, counts)))
    return Estimate(value, max(low, bounds[0]), min(high, bounds[1]), len(counts))


def leave_one_out(sums: numpy.ndarray, counts: numpy.ndarray) -> numpy.ndarray:
    """Compute the ratio without each of the documents; NaN if nothing remains."""
    rest = counts.sum() - counts
    return numpy.divide(sums.sum() - sums, rest, out=numpy.full(len(sums), numpy.nan), where=rest > 0)


def attach_interval(value: float, replicates: numpy.ndarray, counts: numpy.ndarray, bounds: Bounds | None) -> Estimate:
    """Add the interval to a number. `replicates` holds it without each document, `counts` the documents' sizes."""
    documents = len(counts)
    if documents < 2 or (bounds is None and not varies(replicates, bounds)):
        return Estimate(value, documents=documents, reason=ONE_DOCUMENT if documents < 2 else NO_SPREAD)
    if bounds is None:  # Student's t
        reach = find_t(documents - 1) * math.sqrt(find_variance(replicates))
        return Estimate(value, value - reach, value + reach, documents)
    span = bounds[1] - bounds[0]
    alike = float(counts.sum() ** 2 / (counts**2).sum())  # the effective number of documents if all were of one size
    share = min(1.0, max(0.0, (value - bounds[0]) / span))
    ends = _use_exact(share, replicates / span, alike) if varies(replicates, bounds) else _bound_unseen(share, alike)
    low, high = (bounds[0] + span * end for end in ends)
    return Estimate(value, min(low, value), max(high, value), documents)


def varies(replicates: numpy.ndarray, bounds: Bounds | None) -> bool:
    """Return False if leaving out a document never changes the number, up to rounding."""
    scale = bounds[1] - bounds[0] if bounds else max(1.0, float(numpy.abs(replicates).max()))
    return len(replicates) > 1 and float(numpy.ptp(replicates)) > 1e-12 * scale


def find_variance(replicates: numpy.ndarray) -> float:
    """Compute the jackknife variance of a number; `replicates` holds the number without each document."""
    return float((len(replicates) - 1) * replicates.var())


def _use_exact(share: float, replicates: numpy.ndarray, documents: float) -> tuple[float, float]:
    """Compute Clopper and Pearson's interval for the number of independent answers that would be as uncertain."""
    from scipy.special import betaincinv  # slow to import, needed here only

    answers = share * (1 - share) / find_variance(replicates) * (_NORMAL / find_t(len(replicates) - 1)) ** 2
    answers = max(answers, documents)  # values within bounds never vary more than right-or-wrong answers do
    right, wrong = share * answers, (1 - share) * answers
    low = betaincinv(right, wrong + 1, _TAIL) if right > 0 else 0.0
    high = betaincinv(right + 1, wrong, 1 - _TAIL) if wrong > 0 else 1.0
    return float(low), float(high)


def _bound_unseen(share: float, documents: float) -> tuple[float, float]:
    """If no document differs, bound the share of unseen documents that would (Clopper and Pearson), at any value."""
    unseen = 1 - _TAIL ** (1 / documents)
    return share - unseen * share, share + unseen * (1 - share)


def find_t(freedom: float) -> float:
    """Return the upper 2.5 % point of Student's t."""
    from scipy.special import stdtrit  # slow to import

    return float(stdtrit(freedom, 1 - _TAIL))


def correlate(first: numpy.ndarray, second: numpy.ndarray) -> float:
    """Correlate two leave-one-out series over the documents; 0 if one of them never varies."""
    spread = first.std() * second.std()
    return float(((first - first.mean()) * (second - second.mean())).mean() / spread) if spread > 1e-15 else 0.0


def subtract(first: Estimate, second: Estimate, correlation: float) -> tuple[float, float]:
    """Compute the interval of first − second from both intervals (Zou and Donner, Statistics in Medicine 27, 2008)."""

    def join(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 + other**2 - 2 * correlation * one * other))

    value = first.value - second.value
    down = join(first.value - first.low, second.high - second.value)
    up = join(first.high - first.value, second.value - second.low)
    return value - down, value + up
