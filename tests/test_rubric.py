"""Tests the score of a rubric: its bounds, and the effect of each criterion."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.loop.rubric import judge, score
from autodata.types import Criterion

WEIGHTS = st.lists(st.integers(-10, 10), min_size=1, max_size=8).filter(lambda w: max(w) > 0)


def rubric(*weights):
    return tuple(Criterion(f"criterion {n}", weight) for n, weight in enumerate(weights, 1))


@st.composite
def judged(draw):
    weights = draw(WEIGHTS)
    size = len(weights)
    return rubric(*weights), draw(st.lists(st.booleans(), min_size=size, max_size=size))


@pytest.mark.parametrize(
    ("weights", "met", "expected"),
    [
        ((1,), (True,), 1),
        ((1,), (False,), 0),
        ((5, 3, 2), (True, False, True), Fraction(7, 10)),
        ((5, 5, -4), (True, True, True), Fraction(6, 10)),
        ((5, 5, -4), (True, True, False), 1),
        ((5, -9), (True, True), 0),
        ((5, 0), (True, False), 1),
        ((13, 7), (True, False), Fraction(13, 20)),
        ((1, 1, 1), (True, False, False), Fraction(1, 3)),
    ],
)
def test_points_earned_over_positive_points(weights, met, expected):
    assert score(rubric(*weights), met) == expected


@given(judged())
def test_a_score_lies_between_0_and_1(case):
    assert 0 <= score(*case) <= 1


@given(judged())
def test_meeting_one_more_positive_criterion_never_costs_and_one_more_error_never_pays(case):
    criteria, met = case
    for at, criterion in enumerate(criteria):
        without, also = list(met), list(met)
        without[at], also[at] = False, True
        change = score(criteria, also) - score(criteria, without)
        assert change >= 0 if criterion.weight >= 0 else change <= 0


@given(judged())
def test_all_good_and_no_errors_is_exactly_1(case):
    criteria, _ = case
    assert score(criteria, [c.weight > 0 for c in criteria]) == 1


@given(judged())
def test_a_judgement_is_the_score_of_its_booleans(case):
    criteria, met = case
    judgement = judge(criteria, met, "why")
    assert judgement.met == tuple(met)
    assert judgement.score == float(score(criteria, met))
    assert judgement.reason == "why"


@pytest.mark.parametrize("met", [(), (True,), (True, True, True)])
def test_every_criterion_needs_exactly_one_boolean(met):
    with pytest.raises(ValueError, match=f"{len(met)} verdicts for 2 criteria"):
        score(rubric(1, 2), met)


@pytest.mark.parametrize("weights", [(), (-1,), (0,), (-3, 0)])
def test_a_rubric_that_can_earn_nothing_is_refused(weights):
    with pytest.raises(ValueError, match="no criterion of positive weight"):
        score(rubric(*weights), [False] * len(weights))
