"""Estimates a mean over seeds and documents that are crossed: every seed is measured on every document.

Seeds and documents are both random: another study would draw others. The variance of the mean is the variance over
seeds plus the variance over documents minus the variance of their interaction, which the first two both contain
(Cameron, Gelbach and Miller, Journal of Business & Economic Statistics 29, 2011). The interaction of a cell is what
remains after the means of its seed and of its document are subtracted, so that few seeds do not bias it. The interval
is Student's t with Satterthwaite's degrees of freedom; bench/study_intervals.py measures how often it is right.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy

from autodata.stats.intervals import NO_SPREAD, Bounds, Estimate, find_t

ONE_CELL = "no interval: one seed and one document"
_ROUNDING = 1e-24  # variances of shares below this are rounding errors


@dataclass(frozen=True)
class Cells:
    """The sum and the number of the values of each seed (row) and document (column)."""

    sums: numpy.ndarray
    counts: numpy.ndarray

    @property
    def mean(self) -> float:
        return float(self.sums.sum() / self.counts.sum())


@dataclass(frozen=True)
class Spread:
    """The variance of a mean, by its source, and the numbers of seeds and documents behind it."""

    seed: float
    document: float
    interaction: float
    seeds: int
    documents: int

    @property
    def variance(self) -> float:
        """The variance of the mean. It is at least the larger of the variances over seeds and over documents."""
        return max(self.seed + self.document - self.interaction, self.seed, self.document)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of the variance."""
        seeds, documents = self.seeds - 1, self.documents - 1
        if self.seed + self.document - self.interaction < max(self.seed, self.document):
            return float(seeds if self.seed > self.document else documents)
        parts = ((self.seed, seeds), (self.document, documents), (self.interaction, seeds * documents))
        return self.variance**2 / sum(part**2 / count for part, count in parts if count)

    def predict(self, seeds: int, documents: int) -> "Spread":
        """Predict the variance with other numbers of seeds and documents; documents stay as large as they are."""
        interaction = self.interaction * self.seeds * self.documents / (seeds * documents)
        seed = max(0.0, self.seed - self.interaction) * self.seeds / seeds
        document = max(0.0, self.document - self.interaction) * self.documents / documents
        return Spread(seed + interaction, document + interaction, interaction, seeds, documents)


@dataclass(frozen=True)
class CrossedEstimate:
    """A mean with its 95 % interval over seeds and documents; `p` is two-sided, for the hypothesis of zero."""

    estimate: Estimate
    spread: Spread
    p: float | None = None  # None without an interval


def tabulate(values: Iterable[tuple[str, str, float]]) -> Cells:
    """Add up (seed, document, value) triples by cell. Raises ValueError if there are none."""
    seeds, documents, numbers = zip(*values, strict=True)
    rows, columns = (numpy.unique(names, return_inverse=True)[1] for names in (seeds, documents))
    sums = numpy.zeros((rows.max() + 1, columns.max() + 1))
    counts = numpy.zeros_like(sums)
    numpy.add.at(sums, (rows, columns), numbers)
    numpy.add.at(counts, (rows, columns), 1.0)
    return Cells(sums, counts)


def split_variance(cells: Cells) -> Spread:
    """Compute the variance of the mean over seeds, over documents and of their interaction.

    With a single seed (or document), the variance over it cannot be known and is left at zero.
    """
    seeds, documents = cells.sums.shape
    total = cells.counts.sum()
    shares = cells.counts / total
    # The deviation of each cell from the mean, in the units of the mean: they add up to zero.
    deviations = cells.sums / total - shares * cells.mean
    by_seed, by_document = deviations.sum(axis=1), deviations.sum(axis=0)
    rest = deviations - numpy.outer(by_seed, shares.sum(axis=0)) - numpy.outer(shares.sum(axis=1), by_document)
    interaction = _correct(seeds) * _correct(documents) * float((rest**2).sum())
    return Spread(
        seed=_correct(seeds) * float((by_seed**2).sum()),
        document=_correct(documents) * float((by_document**2).sum()),
        interaction=interaction,
        seeds=seeds,
        documents=documents,
    )


def _correct(groups: int) -> float:
    """Return the correction for the mean that was estimated from the same groups; 0 if there is one group only."""
    return groups / (groups - 1) if groups > 1 else 0.0


def estimate_crossed(values: Iterable[tuple[str, str, float]], bounds: Bounds) -> CrossedEstimate:
    """Estimate the mean of (seed, document, value) triples. `bounds` are the least and the largest possible mean."""
    cells = tabulate(values)
    spread, mean = split_variance(cells), cells.mean
    if spread.seeds == spread.documents == 1:
        return CrossedEstimate(Estimate(mean, documents=1, reason=ONE_CELL), spread)
    if spread.variance < _ROUNDING:
        return CrossedEstimate(Estimate(mean, documents=spread.documents, reason=NO_SPREAD), spread)
    error = math.sqrt(spread.variance)
    reach = find_t(spread.freedom) * error
    low, high = max(mean - reach, bounds[0]), min(mean + reach, bounds[1])
    return CrossedEstimate(Estimate(mean, low, high, spread.documents), spread, _test(mean / error, spread.freedom))


def _test(t: float, freedom: float) -> float:
    """Return the two-sided p value of Student's t."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(t)))


def find_smallest_difference(spread: Spread, power: float) -> float:
    """Find the smallest true mean that the two-sided test at 5 % tells from zero with this power (noncentral t).

    The chance to find it with the wrong sign is left out: it is far below a thousandth at a power of 80 %.
    """
    from scipy.special import nctdtrinc

    distance = float(nctdtrinc(spread.freedom, 1 - power, find_t(spread.freedom)))  # in standard errors
    return distance * math.sqrt(spread.variance)
