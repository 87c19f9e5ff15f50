"""Tests the mean over crossed seeds and documents: its variance, its interval, its p value and its power."""

import math

import numpy
import pytest
import scipy

from autodata.stats.crossed import (
    ONE_CELL,
    Cells,
    Spread,
    estimate_crossed,
    find_smallest_difference,
    split_variance,
    tabulate,
)
from autodata.stats.intervals import DIFFERENCE, NO_SPREAD, SHARE
from bench.study_intervals import METHODS, WORLDS, measure

pytestmark = pytest.mark.slow


def test_the_variance_of_a_small_table_is_that_computed_by_hand():
    # Two seeds, two documents, one value each; the mean is 3. Seed means 2 and 4, document means 2.5 and 3.5.
    values = [("0", "a", 1.0), ("0", "b", 3.0), ("1", "a", 4.0), ("1", "b", 4.0)]
    spread = split_variance(tabulate(values))
    # Over seeds: ((2 - 3)² + (4 - 3)²) / (2 · 1) = 1; over documents (0.25 + 0.25) / 2 = 0.25. What remains of each
    # cell is ±0.5, so the interaction is 4 · 0.25 / (2 − 1)(2 − 1) / (2 · 2) = 0.25.
    assert (spread.seed, spread.document, spread.interaction) == pytest.approx((1.0, 0.25, 0.25))
    assert spread.variance == pytest.approx(1.0)
    # Satterthwaite: 1² / (1² / 1 + 0.25² / 1 + 0.25² / 1).
    assert spread.freedom == pytest.approx(1 / 1.125)


def test_cells_of_unequal_size_count_by_their_values():
    values = [("0", "a", 1.0), ("0", "a", 0.0), ("0", "b", 1.0), ("1", "b", 0.0)]
    cells = tabulate(values)
    assert cells.sums.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert cells.counts.tolist() == [[2.0, 1.0], [0.0, 1.0]]
    assert cells.mean == 0.5


def test_the_variance_is_never_less_than_that_over_seeds_or_documents():
    assert Spread(0.1, 0.3, 0.2, 5, 40).variance == 0.3, "0.1 + 0.3 − 0.2 is less than 0.3"
    assert Spread(0.1, 0.3, 0.2, 5, 40).freedom == 39
    assert Spread(0.3, 0.1, 0.2, 5, 40).freedom == 4
    assert Spread(0.2, 0.3, 0.1, 5, 40).variance == pytest.approx(0.4)
    assert Spread(0.1, 0.1, 0.9, 5, 40).variance == 0.1, "never negative"


def test_one_seed_leaves_the_variance_over_documents():
    values = [("0", str(d), d / 10) for d in range(5)]
    result = estimate_crossed(values, SHARE)
    by_t = scipy.stats.t.interval(0.95, 4, 0.2, numpy.std([0.0, 0.1, 0.2, 0.3, 0.4], ddof=1) / math.sqrt(5))
    assert (result.estimate.low, result.estimate.high) == pytest.approx(by_t)
    assert result.p == pytest.approx(scipy.stats.ttest_1samp([0.0, 0.1, 0.2, 0.3, 0.4], 0).pvalue)
    assert result.spread.freedom == 4


def test_one_document_leaves_the_variance_over_seeds():
    scores = [0.1, 0.3, 0.2]
    result = estimate_crossed([(str(s), "a", score) for s, score in enumerate(scores)], DIFFERENCE)
    assert result.p == pytest.approx(scipy.stats.ttest_1samp(scores, 0).pvalue)


def test_without_variation_there_is_no_interval_and_the_estimate_says_why():
    alone = estimate_crossed([("0", "a", 0.5)], SHARE)
    same = estimate_crossed([(s, d, 0.3) for s in "01" for d in "abc"], SHARE)
    assert (alone.estimate.value, alone.estimate.low, alone.estimate.reason, alone.p) == (0.5, None, ONE_CELL, None)
    assert (same.estimate.low, same.estimate.reason, same.p) == (None, NO_SPREAD, None)


def test_an_interval_stays_within_its_bounds():
    estimate = estimate_crossed([("0", "a", 0.0), ("0", "b", 1.0)], SHARE).estimate
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_the_order_of_values_does_not_matter():
    values = [(str(s), str(d), ((7 * s + 3 * d) % 5) / 5) for s in range(3) for d in range(4)]
    one, other = (estimate_crossed(order, SHARE).estimate for order in (values, values[::-1]))
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


@pytest.mark.parametrize("world", WORLDS[:6], ids=lambda world: world.name)
def test_the_interval_covers_the_truth_as_often_as_it_says(world):
    coverage = dict(zip(METHODS, measure(world, 3, 150), strict=True))
    assert 0.90 <= coverage["crossed t"][0] <= 1.0, "the error of 150 trials is below two points"


def test_an_interval_over_documents_alone_misses_what_seeds_do():
    (world,) = (world for world in WORLDS if world.name == "large seed effect")
    coverage = dict(zip(METHODS, measure(world, 5, 150), strict=True))
    assert coverage["documents only"][0] < 0.85 < coverage["crossed t"][0]


def test_a_prediction_for_the_same_size_is_the_same():
    spread = Spread(0.02, 0.03, 0.01, 5, 40)
    same = spread.predict(5, 40)
    assert vars(same) == pytest.approx(vars(spread))
    larger = spread.predict(10, 80)
    # Five seeds alone have 0.02 − 0.01, forty documents alone 0.03 − 0.01; the interaction of a cell is 0.01 · 200.
    assert larger.interaction == pytest.approx(0.01 * 200 / 800)
    assert larger.seed == pytest.approx(0.01 / 2 + larger.interaction)
    assert larger.document == pytest.approx(0.02 / 2 + larger.interaction)


def test_a_source_below_the_interaction_predicts_no_variance_of_its_own():
    assert Spread(0.005, 0.03, 0.01, 5, 40).predict(5, 40).seed == pytest.approx(0.01)


@pytest.mark.parametrize("seeds", [3, 10])
def test_the_smallest_difference_is_found_in_80_percent_of_simulated_studies(seeds):
    documents, deviations = 40, (0.02, 0.05, 0.08)  # over seeds, documents and cells
    by_seed, by_document, by_cell = (deviation**2 for deviation in deviations)
    interaction = by_cell / (seeds * documents)
    spread = Spread(
        by_seed / seeds + interaction, by_document / documents + interaction, interaction, seeds, documents
    )
    smallest = find_smallest_difference(spread, 0.8)
    chance, trials, found = numpy.random.default_rng(seeds), 1500, 0
    for _ in range(trials):
        table = smallest + deviations[0] * chance.standard_normal((seeds, 1))
        table = table + deviations[1] * chance.standard_normal((1, documents))
        table = table + deviations[2] * chance.standard_normal((seeds, documents))
        drawn = split_variance(Cells(table, numpy.ones_like(table)))
        found += table.mean() / math.sqrt(drawn.variance) > scipy.special.stdtrit(drawn.freedom, 0.975)
    assert found / trials == pytest.approx(0.8, abs=0.05)


def test_more_seeds_find_smaller_differences():
    pilot = Spread(0.0004, 0.0001, 0.00005, 3, 40)
    smallest = [find_smallest_difference(pilot.predict(seeds, 40), 0.8) for seeds in (3, 5, 10)]
    assert smallest == sorted(smallest, reverse=True)
    assert smallest[0] > 1.5 * smallest[1]
