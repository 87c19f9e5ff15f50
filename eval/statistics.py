"""mean@k and best@k with intervals clustered by document."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from scipy import stats

RESAMPLES = 2_000


@dataclass(frozen=True)
class Answers:
    """The k scores of one example; None where judging failed."""

    document_id: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Estimate:
    """A mean over examples, in [0, 1], with its 95 % interval (None below two documents)."""

    value: float
    low: float | None
    high: float | None


def mean_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Mean score, first over the samples of an example, then over examples."""
    return _estimate(answers, lambda scores: sum(scores) / len(scores))


def best_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Mean over examples of the best of its samples."""
    return _estimate(answers, max)


def unscored_bounds(answers: Sequence[Answers]) -> tuple[float, float] | None:
    """Mean score if every unscored sample were 0, and if it were 1."""
    scores = [s for a in answers for s in a.scores]
    if not scores:
        return None
    known, missing = sum(s for s in scores if s is not None), scores.count(None)
    return known / len(scores), (known + missing) / len(scores)


def _estimate(answers: Sequence[Answers], reduce: Callable[[list[float]], float]) -> Estimate | None:
    clusters: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        scores = [s for s in answer.scores if s is not None]
        if scores:
            clusters[answer.document_id].append(reduce(scores))
    if not clusters:
        return None
    sums = numpy.array([sum(values) for values in clusters.values()])
    counts = numpy.array([len(values) for values in clusters.values()])
    value = float(sums.sum() / counts.sum())
    return Estimate(value, *_interval(sums, counts, value))


def _interval(sums: numpy.ndarray, counts: numpy.ndarray, value: float) -> tuple[float | None, float | None]:
    """Percentile bootstrap over whole documents: their questions are not independent."""
    if len(sums) < 2:
        return None, None
    if numpy.allclose(sums / counts, value):
        return value, value  # nothing varies; scipy would warn and return NaN
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
