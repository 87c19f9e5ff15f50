"""Measures how often intervals over crossed seeds and documents contain the true difference of two arms.

python -m bench.study_intervals [--trials 2000]

The worlds resemble the study: right-or-wrong answers of two arms to the same questions of 40 documents, 10 to 40
questions a document, one to three answers a question, and 3 to 10 seeds. The true difference is known. *crossed t* is
the method of autodata.stats.crossed; *pigeonhole* resamples seeds and documents independently (Owen, Annals of Applied
Statistics 1, 2007) and takes percentiles. Two other intervals over one of both alone show what crossing is for. Seeds
are fixed.
"""

import argparse
from dataclasses import dataclass

import numpy

from autodata.stats.crossed import Cells, split_variance
from autodata.stats.intervals import find_t
from autodata.stats.writing import write_table

SEEDS = (3, 5, 10)
DOCUMENTS = 40
RESAMPLES = 1_000
LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class World:
    """How the difference of two arms varies, in standard deviations of the chance of a right answer."""

    name: str
    seed: float  # over trainings, for all questions alike
    document: float  # over documents, for all trainings alike
    cell: float  # of one training on one document
    samples: int = 1  # answers to each question
    effect: float = 0.05
    is_learnt_or_not: bool = False  # the seed's deviation is then up or down by its standard deviation


WORLDS = (
    World("no seed effect", 0.0, 0.02, 0.0),
    World("small seed effect", 0.005, 0.02, 0.02),
    World("moderate seed effect", 0.01, 0.02, 0.02),
    World("large seed effect", 0.03, 0.02, 0.02),
    World("documents dominate", 0.005, 0.10, 0.02, samples=3),
    World("all are large", 0.03, 0.10, 0.05, samples=3),
    World("a skill is learnt or not", 0.03, 0.02, 0.02, is_learnt_or_not=True),
)


def draw(world: World, seeds: int, chance: numpy.random.Generator) -> Cells:
    """Draw the paired differences of two arms on the same questions, added up by seed and document."""
    sizes = chance.integers(10, 41, DOCUMENTS)
    owner = numpy.repeat(numpy.arange(DOCUMENTS), sizes)
    by_seed = chance.standard_normal((seeds, 1))
    spread = [
        world.seed * (numpy.sign(by_seed) if world.is_learnt_or_not else by_seed),
        world.document * chance.standard_normal((1, DOCUMENTS)),
        world.cell * chance.standard_normal((seeds, DOCUMENTS)),
    ]
    # The bounds lie symmetrically about the effect, so it stays the mean; every chance stays between 0 and 1.
    gain = world.effect + numpy.clip(sum(spread), -0.2, 0.2)
    before = numpy.tile(chance.uniform(0.2, 0.4, len(owner)), (seeds, 1))  # each question has a chance of its own
    changes = [chance.binomial(world.samples, p) / world.samples for p in (before, before + gain[:, owner])]
    sums = numpy.array([numpy.bincount(owner, row, DOCUMENTS) for row in changes[1] - changes[0]])
    return Cells(sums, numpy.tile(sizes.astype(float), (seeds, 1)))


def use_t(cells: Cells, variance: float, freedom: float) -> tuple[float, float]:
    reach = find_t(freedom) * variance**0.5
    return cells.mean - reach, cells.mean + reach


def resample(cells: Cells, chance: numpy.random.Generator) -> tuple[float, float]:
    """Compute the pigeonhole bootstrap: percentiles of the means of resampled seeds on resampled documents."""
    weights = [chance.multinomial(n, [1 / n] * n, RESAMPLES).astype(float) for n in cells.sums.shape]
    sums, counts = (((weights[0] @ table) * weights[1]).sum(axis=1) for table in (cells.sums, cells.counts))
    low, high = numpy.quantile(sums / counts, LEVELS)
    return float(low), float(high)


def list_intervals(cells: Cells, chance: numpy.random.Generator) -> list[tuple[float, float]]:
    """Compute the interval of every method, in the order of METHODS."""
    spread = split_variance(cells)
    return [
        use_t(cells, spread.variance, spread.freedom),
        resample(cells, chance),
        use_t(cells, spread.seed, spread.seeds - 1),
        use_t(cells, spread.document, spread.documents - 1),
    ]


METHODS = ("crossed t", "pigeonhole", "seeds only", "documents only")


def measure(world: World, seeds: int, trials: int) -> list[tuple[float, float]]:
    """Measure coverage and mean width of every method."""
    chance = numpy.random.default_rng([seeds, WORLDS.index(world)])
    ends = numpy.array([list_intervals(draw(world, seeds, chance), chance) for _ in range(trials)])
    covered = (ends[..., 0] <= world.effect) & (world.effect <= ends[..., 1])
    widths = ends[..., 1] - ends[..., 0]
    return list(zip(covered.mean(axis=0).tolist(), widths.mean(axis=0).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000, help="trials per world and number of seeds")
    trials = parser.parse_args().trials
    results = {world.name: [measure(world, seeds, trials) for seeds in SEEDS] for world in WORLDS}
    for title, position, digits in (("covered, %", 0, 1), ("mean width, in hundredths", 1, 1)):
        rows = [[f"{title}, at {', '.join(map(str, SEEDS))} seeds", *METHODS]]
        for name, by_size in results.items():
            cells = [[f"{100 * one[at][position]:.{digits}f}" for one in by_size] for at in range(len(METHODS))]
            rows.append([name, *map(" ".join, cells)])
        print(write_table(rows) + "\n", flush=True)


if __name__ == "__main__":
    main()
