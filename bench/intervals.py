"""Measures how often 95 % intervals over few documents cover the truth: five methods, worlds with a known truth.

python -m bench.intervals [--trials 2000]

A world draws documents, and their answers, from a distribution with a known mean. A cell has the share of trials whose
interval holds that mean, or the interval's mean width, at 5, 6, 10, 20, 30 and 60 documents. Each method but the last
gives a width of zero if no document differs from another; *ours* is the method of autodata.stats.intervals, with its
bounds. The last tables are for Cohen's kappa, which compares two judges. Seeds are fixed.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import scipy  # its parts are loaded when they are used

from autodata.stats.agreement import Ratings, cohen_kappa, compare_judges
from autodata.stats.intervals import DIFFERENCE, SHARE, estimate_ratio, join_signs
from autodata.stats.writing import write_table

SIZES = (5, 6, 10, 20, 30, 60)
RESAMPLES = 1_000
Draws = tuple[numpy.ndarray, numpy.ndarray]  # sums and counts, a row for each trial and a column for each document
Gains = numpy.ndarray  # of the same shape: the sums of what is positive
Coverage = tuple[float, float]  # coverage and mean width


@dataclass(frozen=True)
class World:
    """A distribution of documents whose mean is known."""

    name: str
    draw: Callable[[numpy.random.Generator, tuple[int, int]], tuple[numpy.ndarray, ...]]  # Draws, or Draws and Gains
    truth: float
    bounds: tuple[float, float] = SHARE


def draw_answers(alpha: float, beta: float, k: int, always_zero: float = 0.0) -> Callable:
    """Draw k right or wrong answers per document; its difficulty is Beta, and some are never answered right."""

    def draw(chance: numpy.random.Generator, shape: tuple[int, int]) -> Draws:
        rate = chance.beta(alpha, beta, shape) * (chance.random(shape) >= always_zero)
        return chance.binomial(k, rate) / k, numpy.ones(shape)

    return draw


def draw_scores(chance: numpy.random.Generator, shape: tuple[int, int]) -> Draws:
    """Draw three rubric scores per document, of 20 points each."""
    rate = chance.beta(3, 4, shape)
    return chance.binomial(60, rate) / 60, numpy.ones(shape)


def draw_gains(changed: float, up: float) -> Callable:
    """Draw gains: a share `changed` of documents changes, of these `up` for the better, by a uniform amount."""

    def draw(chance: numpy.random.Generator, shape: tuple[int, int]) -> Draws:
        sign = numpy.where(chance.random(shape) < up, 1, -1)
        return sign * chance.random(shape) * (chance.random(shape) < changed), numpy.ones(shape)

    return draw


def draw_changes(chance: numpy.random.Generator, shape: tuple[int, int]) -> tuple[numpy.ndarray, ...]:
    """Draw 16 questions per document; some are answered better, fewer worse, by any number of quarters."""
    gains = chance.binomial(16, chance.beta(2, 10, shape)) * chance.integers(1, 5, shape) / 4
    losses = chance.binomial(16, chance.beta(1, 19, shape)) / 4
    return gains - losses, numpy.full(shape, 16.0), gains


def draw_unequal(chance: numpy.random.Generator, shape: tuple[int, int]) -> Draws:
    """Draw one to many examples per document, with one answer per example."""
    counts = chance.geometric(0.4, shape)
    return chance.binomial(counts, chance.beta(1, 2, shape)), counts.astype(float)


WORLDS = (
    World("one answer, half right", draw_answers(5e5, 5e5, 1), 0.5),
    World("one answer, 5 % right", draw_answers(5e4, 95e4, 1), 0.05),
    World("one answer, 15 % right", draw_answers(15e4, 85e4, 1), 0.15),
    World("8 answers, Beta(2, 2)", draw_answers(2, 2, 8), 0.5),
    World("8 answers, Beta(0.3, 2.7)", draw_answers(0.3, 2.7, 8), 0.1),
    World("8 answers, 4 of 5 documents never", draw_answers(1, 1, 8, 0.8), 0.1),
    World("3 rubric scores, Beta(3, 4)", draw_scores, 3 / 7),
    World("differences, all change", draw_gains(1.0, 0.7), 0.2, DIFFERENCE),
    World("differences, 1 in 5 changes", draw_gains(0.2, 0.9), 0.08, DIFFERENCE),
    World("unequal documents", draw_unequal, 1 / 3),
    World("differences, 16 questions a document", draw_changes, 2 / 12 * 2.5 / 4 - 1 / 20 / 4, DIFFERENCE),
)


def use_percentile(sums: numpy.ndarray, counts: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    return numpy.quantile(_resample(sums, counts, weights), (0.025, 0.975), axis=1)


def use_bca(sums: numpy.ndarray, counts: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    """Compute the bias-corrected and accelerated bootstrap, with the jackknife's acceleration."""
    drawn, value = _resample(sums, counts, weights), sums.sum(1) / counts.sum(1)
    below = (drawn < value[:, None]).mean(1) + (drawn == value[:, None]).mean(1) / 2
    bias = scipy.stats.norm.ppf(below)
    without = _leave_one_out(sums, counts)
    off = without.mean(1, keepdims=True) - without
    with numpy.errstate(all="ignore"):
        acceleration = numpy.nan_to_num((off**3).sum(1) / (6 * (off**2).sum(1) ** 1.5))
    ends = []
    for z in scipy.stats.norm.ppf((0.025, 0.975)):
        level = scipy.stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
        ends.append([numpy.quantile(row, q) for row, q in zip(drawn, numpy.nan_to_num(level, nan=0.5), strict=True)])
    return numpy.array(ends)


def use_t(sums: numpy.ndarray, counts: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    """Compute Student's t interval, with the jackknife's standard error."""
    documents, value = sums.shape[1], sums.sum(1) / counts.sum(1)
    reach = scipy.stats.t.ppf(0.975, documents - 1) * _find_error(sums, counts)
    return numpy.array([value - reach, value + reach])


def use_studentised(sums: numpy.ndarray, counts: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    """Bootstrap the t statistic. Resamples in which nothing varies have none and are left out."""
    value, error = sums.sum(1) / counts.sum(1), _find_error(sums, counts)
    drawn, total = _resample(sums, counts, weights), counts @ weights.T
    squares = sums**2 @ weights.T - 2 * drawn * ((sums * counts) @ weights.T) + drawn**2 * (counts**2 @ weights.T)
    n = sums.shape[1]
    with numpy.errstate(all="ignore"):
        errors = numpy.sqrt(numpy.maximum(squares, 0) * n / (n - 1)) / total
        t = numpy.where(errors > 1e-9, (drawn - value[:, None]) / errors, numpy.nan)
    t = numpy.where(numpy.isnan(t).all(1, keepdims=True), 0.0, t)
    low, high = numpy.nanquantile(t, (0.025, 0.975), axis=1)
    return numpy.nan_to_num(numpy.array([value - high * error, value - low * error]), nan=0.0)


METHODS = {"percentile": use_percentile, "BCa": use_bca, "t": use_t, "studentised": use_studentised}


def _resample(sums: numpy.ndarray, counts: numpy.ndarray, weights: numpy.ndarray) -> numpy.ndarray:
    return (sums @ weights.T) / (counts @ weights.T)


def _leave_one_out(sums: numpy.ndarray, counts: numpy.ndarray) -> numpy.ndarray:
    return (sums.sum(1, keepdims=True) - sums) / (counts.sum(1, keepdims=True) - counts)


def _find_error(sums: numpy.ndarray, counts: numpy.ndarray) -> numpy.ndarray:
    without = _leave_one_out(sums, counts)
    n = sums.shape[1]
    return numpy.sqrt((n - 1) / n * ((without - without.mean(1, keepdims=True)) ** 2).sum(1))


def use_ours(
    sums: numpy.ndarray, counts: numpy.ndarray, bounds: tuple[float, float], gains: Gains | None = None
) -> numpy.ndarray:
    if gains is None:
        estimates = [estimate_ratio(s, c, bounds) for s, c in zip(sums, counts, strict=True)]
    else:
        estimates = [join_signs(g, g - s, c, bounds) for s, c, g in zip(sums, counts, gains, strict=True)]
    return numpy.array([[e.low for e in estimates], [e.high for e in estimates]], dtype=float)


def measure(world: World, documents: int, trials: int) -> list[Coverage]:
    """Measure coverage and mean width of every method."""
    chance = numpy.random.default_rng([documents, WORLDS.index(world)])
    sums, counts, *gains = world.draw(chance, (trials, documents))
    weights = chance.multinomial(documents, [1 / documents] * documents, RESAMPLES).astype(float)
    ends = [method(sums, counts, weights) for method in METHODS.values()]
    ends = [numpy.clip(pair, *world.bounds) for pair in ends] + [use_ours(sums, counts, world.bounds, *gains)]
    return [judge(low, high, world.truth) for low, high in ends]


def judge(low: numpy.ndarray, high: numpy.ndarray, truth: float) -> Coverage:
    covered = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
    return float(covered.mean()), float((high - low).mean())


def draw_judges(chance: numpy.random.Generator, documents: int) -> list[Ratings]:
    """Draw ten criteria per document and two judges who each err on one in ten; documents meet more or fewer."""
    is_met = chance.random((documents, 10)) < chance.beta(4, 4, (documents, 1))
    first, second = (is_met ^ (chance.random((documents, 10)) < 0.1) for _ in range(2))
    return [
        Ratings(str(document), (bool(first[document, criterion]), bool(second[document, criterion])))
        for document in range(documents)
        for criterion in range(10)
    ]


def resample_kappa(ratings: list[Ratings], chance: numpy.random.Generator) -> list[float]:
    """Compute the percentile bootstrap over documents."""
    documents = len(ratings) // 10
    cells = numpy.zeros((documents, 4))
    for rating in ratings:
        cells[int(rating.document_id), 2 * rating.met[0] + rating.met[1]] += 1
    drawn = chance.multinomial(documents, [1 / documents] * documents, 400) @ cells
    kappas = [cohen_kappa(row.reshape(2, 2).tolist()) for row in drawn]
    return list(numpy.quantile([kappa for kappa in kappas if kappa is not None], (0.025, 0.975)))


def measure_kappa(documents: int, trials: int) -> list[Coverage]:
    """Measure coverage and mean width of the bootstrap and of ours. Half are met, so half agree by chance."""
    chance, truth = numpy.random.default_rng(documents), 2 * (0.9**2 + 0.1**2) - 1
    drawn = [draw_judges(chance, documents) for _ in range(trials)]
    bootstrap = numpy.array([resample_kappa(ratings, chance) for ratings in drawn])
    kappas = [compare_judges(ratings).kappa for ratings in drawn]
    ours = numpy.array([(kappa.low, kappa.high) for kappa in kappas if kappa], dtype=float)
    return [judge(ends[:, 0], ends[:, 1], truth) for ends in (bootstrap, ours)]


def write(title: str, names: Sequence[str], results: Mapping[str, Sequence[Sequence[Coverage]]]) -> str:
    """Write two Markdown tables with one row per world; a cell has one number per size."""
    parts = []
    for measured, position, scale in (("covered, %", 0, 100), ("mean width, in hundredths", 1, 100)):
        rows = [[f"{title}: {measured}", *names]]
        for name, by_size in results.items():
            cells = [
                " ".join(f"{scale * methods[method][position]:.0f}" for methods in by_size)
                for method in range(len(names))
            ]
            rows.append([name, *cells])
        parts.append(write_table(rows))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="trials per world and size")
    trials = parser.parse_args().trials
    results = {world.name: [measure(world, documents, trials) for documents in SIZES] for world in WORLDS}
    print(write("mean", [*METHODS, "ours"], results), flush=True)
    kappas = {"two judges who err on 1 in 10": [measure_kappa(documents, trials // 4) for documents in SIZES]}
    print("\n" + write("kappa", ["percentile", "ours"], kappas))


if __name__ == "__main__":
    main()
