"""Tests agreement against tables worked out by hand and against its definition, and where it is not defined."""

import math
from itertools import combinations

import krippendorff
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.stats import agreement
from autodata.stats.agreement import Ratings, cohen_kappa, compare_judges, compare_repeats, estimate, mean_difference
from autodata.stats.intervals import ONE_DOCUMENT

VERDICTS = st.lists(st.sampled_from([True, False, None]), min_size=3, max_size=3).map(tuple)
RATINGS = st.lists(st.builds(Ratings, st.sampled_from("abcd"), VERDICTS), max_size=8)


def rate(*rows: str) -> list[Ratings]:
    """Make ratings from a text: "d 1-0" is document d with the verdicts met, lost, not met."""
    marks = {"1": True, "0": False, "-": None}
    return [Ratings(row.split()[0], tuple(marks[m] for m in row.split()[1])) for row in rows]


def test_kappa_of_a_table_worked_out_by_hand():
    # 100 criteria: 85 the same; by chance 0.60 · 0.55 + 0.40 · 0.45 = 0.51, so (0.85 - 0.51) / 0.49.
    assert cohen_kappa([[50, 10], [5, 35]]) == pytest.approx(0.34 / 0.49, abs=1e-15)
    assert cohen_kappa([[10, 0], [0, 7]]) == 1.0
    assert cohen_kappa([[0, 5], [5, 0]]) == -1.0
    assert cohen_kappa([[25, 25], [25, 25]]) == 0.0


def test_kappa_needs_a_verdict_that_differs_somewhere():
    assert cohen_kappa([[9, 0], [0, 0]]) is None
    assert cohen_kappa([[0, 0], [0, 9]]) is None
    assert cohen_kappa([[8, 1], [0, 0]]) == 0.0  # the second judge varies, the first never: no better than chance
    assert cohen_kappa([[0, 0], [0, 0]]) is None


def test_repeats_of_one_judge_by_hand():
    agreement = compare_repeats(rate("a 111", "a 110", "b 000", "b 100"))
    assert agreement.share.value == pytest.approx((1 + 1 / 3 + 1 + 1 / 3) / 4)
    # Coincidences: pairs in each criterion over its verdicts less one; 6 met, 6 not met, 12 in all.
    # Observed disagreement 4 / 12, expected 2 · 6 · 6 / (12 · 11): alpha = 1 - (4 / 12) / (72 / 132).
    assert agreement.alpha.value == pytest.approx(1 - (4 / 12) / (72 / 132))
    assert (agreement.compared, agreement.left_out, agreement.kappa) == (4, 0, None)


def test_lost_verdicts_are_no_disagreement():
    whole, lost = compare_repeats(rate("a 11", "b 00")), compare_repeats(rate("a 11-", "b 0-0", "b 1--", "a ---"))
    assert (lost.share, lost.alpha) == (whole.share, whole.alpha)
    assert (lost.compared, lost.left_out) == (2, 2)


def test_two_judges_by_hand():
    agreement = compare_judges(rate("a 11", "a 10", "b 00", "b 00", "c 1-", "c -0"))
    assert (agreement.compared, agreement.left_out) == (4, 2)
    assert agreement.share.value == 0.75
    assert agreement.kappa.value == 0.5  # by chance (2 · 1 + 2 · 3) / 16
    # 3 met, 5 not met of 8: observed 2 / 8, expected 2 · 3 · 5 / (8 · 7).
    assert agreement.alpha.value == pytest.approx(1 - (2 / 8) / (30 / 56))


def test_the_order_of_the_judges_changes_no_coefficient():
    ahead, back = (
        compare_judges(rate("a 10", "b 11", "b 00", "a 10")),
        compare_judges(rate("a 01", "b 11", "b 00", "a 01")),
    )
    assert (ahead.share, ahead.alpha, ahead.kappa) == (back.share, back.alpha, back.kappa)


def test_without_variation_there_is_agreement_and_no_alpha():
    same = compare_repeats(rate("a 11", "b 11"))
    assert (same.share.value, same.share.low, same.share.high) == (1.0, pytest.approx(0.025**0.5), 1.0)
    assert (same.alpha.value, same.alpha.reason) == (None, agreement.NO_VARIATION)
    both = compare_judges(rate("a 00", "b 00"))
    assert (both.kappa.value, both.kappa.reason) == (None, agreement.NO_VARIATION)


def test_with_nothing_to_compare_there_is_no_number():
    for empty in (compare_repeats([]), compare_repeats(rate("a 1-")), compare_judges(rate("a -1"))):
        assert (empty.compared, empty.share.value, empty.share.reason) == (0, None, agreement.NOTHING)
        assert empty.alpha.reason == agreement.NOTHING


def test_an_interval_needs_two_documents_that_vary():
    assert compare_repeats(rate("a 11", "a 10")).share.reason == ONE_DOCUMENT
    two = compare_repeats(rate("a 11", "b 10")).share
    assert (two.value, two.documents, two.reason) == (0.5, 2, "")
    assert two.low < 0.02 and two.high > 0.98, "two documents tell nearly nothing"
    # One document of twenty holds all met criteria.
    rare = compare_repeats(rate(*[f"d{i} 00" for i in range(19)], "d19 11"))
    assert (rare.alpha.value, rare.alpha.low, rare.alpha.reason) == (1.0, None, agreement.ONE_DOCUMENT_VARIES)
    assert rare.share.low == pytest.approx(0.025 ** (1 / 20)), "an exact bound, not a width of zero"


def test_intervals_are_clustered_by_document_and_repeatable():
    spread = rate(*[f"d{i} {'11' if i % 2 else '10'}" for i in range(20)])
    clustered = rate(*[f"d{i % 2} {'11' if i % 2 else '10'}" for i in range(20)])
    narrow, wide = compare_repeats(spread).share, compare_repeats(clustered).share
    assert narrow.value == wide.value == 0.5
    assert wide.high - wide.low > narrow.high - narrow.low > 0.2
    assert compare_repeats(spread).share == narrow


def test_a_coefficient_that_rests_on_one_document_has_no_interval():
    rests_on_one = estimate(numpy.array([[1], [0]]), ["a", "b"], lambda rows: 1.0 if rows.sum() else None)
    assert (rests_on_one.value, rests_on_one.low, rests_on_one.documents) == (1.0, None, 2)
    assert rests_on_one.reason == agreement.ONE_DOCUMENT_VARIES
    assert estimate(numpy.array([[1], [1]]), ["a", "b"], lambda rows: 1.0 if rows.sum() else None).low is not None


def test_the_mean_of_differences():
    estimate = mean_difference([("a", 0.25), ("a", 0.25), ("b", -0.25), ("b", 0.75)])
    unseen = 1 - 0.025**0.5
    assert (estimate.value, estimate.documents) == (0.25, 2)
    assert (estimate.low, estimate.high) == (pytest.approx(0.25 - 1.25 * unseen), pytest.approx(0.25 + 0.75 * unseen))
    assert (mean_difference([]).value, mean_difference([]).reason) == (None, agreement.NOTHING)
    assert mean_difference([("a", 0.0), ("b", 1.0)]).high > 0.98


@given(RATINGS)
def test_agreement_is_what_its_definition_says(ratings):
    agreement = compare_repeats(ratings)
    for finding in (agreement.share, agreement.alpha):
        assert finding.low is None or -1 <= finding.low < finding.high <= 1
        assert finding.low is None or finding.low <= finding.value <= finding.high
    verdicts = [[v for v in r.met if v is not None] for r in ratings]
    usable = [v for v in verdicts if len(v) > 1]
    assert (agreement.compared, agreement.left_out) == (len(usable), len(ratings) - len(usable))
    if not usable:
        return
    shares = [sum(a == b for a, b in combinations(v, 2)) / math.comb(len(v), 2) for v in usable]
    assert agreement.share.value == pytest.approx(sum(shares) / len(shares))
    if len({v for values in usable for v in values}) == 2:
        data = [[math.nan if r.met[i] is None else float(r.met[i]) for r in ratings] for i in range(3)]
        expected = krippendorff.alpha(reliability_data=data, level_of_measurement="nominal")
        assert agreement.alpha.value == pytest.approx(expected)
    else:
        assert agreement.alpha.value is None
