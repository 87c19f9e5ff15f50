"""Estimates with intervals: a bootstrap over whole documents, whose examples are not independent of each other."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy

RESAMPLES = 2_000


@dataclass(frozen=True)
class Estimate:
    """A mean over examples with its 95 % interval (None below two documents)."""

    value: float
    low: float | None
    high: float | None


def estimate_mean(values: Iterable[tuple[str, float]]) -> Estimate | None:
    """The mean of (document, value) pairs; None where there are none."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for document, value in values:
        clusters[document].append(value)
    if not clusters:
        return None
    sums, counts = (numpy.array([measure(of) for of in clusters.values()]) for measure in (sum, len))
    return estimate_ratio(sums, counts)


def estimate_ratio(sums: numpy.ndarray, counts: numpy.ndarray) -> Estimate:
    """Sum over sum, of clusters, with the interval of a bootstrap over whole clusters."""
    value = float(sums.sum() / counts.sum())
    return Estimate(value, *_interval(sums, counts, value))


def _interval(sums: numpy.ndarray, counts: numpy.ndarray, value: float) -> tuple[float | None, float | None]:
    """Percentile bootstrap over whole documents."""
    if len(sums) < 2:
        return None, None
    if numpy.allclose(sums / counts, value):
        return value, value  # nothing varies; scipy would warn and return NaN
    from scipy import stats  # slow to import, needed here only

    found = stats.bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=numpy.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return float(low), float(high)
