"""Tests that intervals have their coverage with few documents, stay within bounds and never have width zero."""

from itertools import pairwise

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.stats.intervals import (
    DIFFERENCE,
    NO_SPREAD,
    ONE_DOCUMENT,
    SHARE,
    Estimate,
    add_up,
    attach_interval,
    correlate,
    estimate_mean,
    estimate_ratio,
    leave_one_out,
    subtract,
)
from autodata.stats.writing import write_interval
from bench.intervals import WORLDS, use_ours, use_percentile

BOUNDS = st.sampled_from([SHARE, DIFFERENCE, (0.0, 100.0), (-0.4, 1.0)])


@st.composite
def samples(draw) -> tuple[list[tuple[str, float]], tuple[float, float]]:
    """Draw values within bounds for 2 to 40 documents; many are often equal."""
    low, high = draw(BOUNDS)
    value = st.one_of(st.sampled_from([low, high, (low + high) / 2, 0.0]), st.floats(low, high))
    documents = [*range(draw(st.integers(2, 40)))]
    extra = draw(st.lists(st.sampled_from(documents), max_size=10))
    return [(str(document), draw(value)) for document in [*documents, *extra]], (low, high)


@settings(deadline=None)  # the first example imports scipy
@given(samples())
def test_an_interval_holds_its_estimate_within_bounds_and_is_never_of_width_zero(sample):
    values, bounds = sample
    estimate = estimate_mean(values, bounds)
    assert estimate.value == pytest.approx(numpy.mean([value for _, value in values]))
    assert bounds[0] - 1e-9 <= estimate.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.high <= bounds[1] + 1e-9
    assert estimate.high > estimate.low
    assert estimate.documents == len({document for document, _ in values})
    assert write_interval(estimate, "{:.3f}".format).endswith(f"] n={estimate.documents}")


@settings(deadline=None)  # the first example imports scipy
@given(samples())
def test_the_order_of_documents_does_not_matter(sample):
    values, bounds = sample
    one, other = (estimate_mean(order, bounds) for order in (values, values[::-1]))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), abs=1e-9)


@pytest.mark.parametrize("documents", [2, 5, 29, 30, 200])
@pytest.mark.parametrize("bounds", [SHARE, DIFFERENCE])
def test_where_nothing_varies_the_bound_is_exact(documents, bounds):
    unseen = 1 - 0.025 ** (1 / documents)  # Clopper and Pearson's upper end for 0 of n
    for value in (0.0, 0.3, 1.0):
        estimate = estimate_mean([(str(i), value) for i in range(documents)], bounds)
        assert estimate.low == pytest.approx(value - unseen * (value - bounds[0]))
        assert estimate.high == pytest.approx(value + unseen * (bounds[1] - value))


@pytest.mark.parametrize(("right", "documents"), [(1, 5), (4, 8), (3, 29), (3, 30)])
def test_right_or_wrong_answers_of_a_document_each_have_clopper_and_pearsons_interval(right, documents):
    from scipy.stats import binomtest

    estimate = estimate_mean([(str(i), float(i < right)) for i in range(documents)], SHARE)
    exact = binomtest(right, documents).proportion_ci(method="exact")
    assert (estimate.low, estimate.high) == (pytest.approx(exact.low), pytest.approx(exact.high))


def test_there_is_no_step_at_any_number_of_documents():
    widths = [
        (e := estimate_mean([(str(i), 0.25 + 0.5 * (i % 2)) for i in range(n)], SHARE)).high - e.low
        for n in range(12, 64, 2)
    ]
    assert all(0.9 * wider < narrower < wider for wider, narrower in pairwise(widths))


def test_one_document_and_no_known_bounds_have_no_interval_and_a_reason():
    one = estimate_mean([("a", 0.0), ("a", 1.0)], SHARE)
    assert one == Estimate(0.5, None, None, 1, ONE_DOCUMENT)
    alike = estimate_mean([(str(i), 1.0) for i in range(18)], None)
    assert alike == Estimate(1.0, None, None, 18, NO_SPREAD)
    assert write_interval(alike, str) == " (no interval: nothing varies, n=18)"
    assert estimate_mean([], SHARE) is None


def test_a_quantity_without_bounds_has_students_interval():
    estimate = estimate_mean([("a", 2.0), ("b", 4.0), ("c", 6.0)], None)
    reach = 4.302652729911275 * 2 / 3**0.5  # t of two degrees of freedom
    assert (estimate.low, estimate.high) == (pytest.approx(4 - reach), pytest.approx(4 + reach))


def test_examples_of_a_large_document_are_not_many_documents():
    counts = numpy.array([96, 1, 1, 1, 1])
    alike = attach_interval(0.0, numpy.zeros(5), counts, SHARE)
    assert alike.high > 0.96, "five documents of one size would give 0.52"
    assert numpy.isnan(leave_one_out(numpy.ones(2), numpy.array([3, 0]))[0]), "nothing is left without the first"


def test_a_difference_of_numbers_that_go_together_is_narrower():
    first, second = Estimate(0.5, 0.3, 0.7), Estimate(0.4, 0.2, 0.6)
    (low, high), (same_low, same_high) = (subtract(first, second, r) for r in (0.0, 1.0))
    assert (low, high) == (pytest.approx(0.1 - 0.2 * 2**0.5), pytest.approx(0.1 + 0.2 * 2**0.5))
    assert (same_low, same_high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert correlate(numpy.array([1.0, 2.0]), numpy.array([5.0, 5.0])) == 0.0


def test_a_clipped_score_below_zero_throughout_has_a_reason():
    from autodata.eval.prbench.task import BELOW_ZERO, _clip

    assert _clip(Estimate(-0.3, -0.4, -0.1, 9)) == Estimate(0.0, None, None, 9, BELOW_ZERO)
    assert _clip(Estimate(-0.1, -0.4, 0.2, 9)) == Estimate(0.0, 0.0, 0.2, 9)
    assert _clip(Estimate(0.5, None, None, 1, ONE_DOCUMENT)).reason == ONE_DOCUMENT


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_95_of_100_intervals_over_five_documents_hold_the_truth_and_a_bootstraps_do_not(world):
    chance, trials = numpy.random.default_rng(5), 500
    sums, counts, *gains = world.draw(chance, (trials, 5))
    weights = chance.multinomial(5, [0.2] * 5, 400).astype(float)
    ours, bootstrap = use_ours(sums, counts, world.bounds, *gains), use_percentile(sums, counts, weights)
    covered, before = (((low <= world.truth) & (world.truth <= high)).mean() for low, high in (ours, bootstrap))
    assert covered >= 0.94
    assert before < (0.94 if world.name != "one answer, half right" else 0.97)


def test_documents_that_all_gain_bound_the_loss_by_their_own_losing_questions():
    questions = [
        (str(d), change) for d in range(10) for change in (0.5, 0.5, 0.25 * (d % 3), -0.25 * (d % 2), 0.0, 0.0)
    ]
    whole = estimate_mean(questions, DIFFERENCE)
    in_sum = estimate_ratio(*add_up(questions), DIFFERENCE)
    assert 0 < whole.low < whole.value == in_sum.value < whole.high
    assert in_sum.low < 0, "from the sums alone nothing is known about losses"


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_gains_and_losses_mirror_each_other(documents, seed):
    changes = numpy.random.default_rng(seed).choice([-1.0, -0.25, 0.0, 0.0, 0.5, 1.0], documents)
    counts = numpy.ones(documents)
    one, other = estimate_ratio(changes, counts, DIFFERENCE), estimate_ratio(-changes, counts, DIFFERENCE)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
