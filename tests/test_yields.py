"""Tests the yield of other thresholds: counted by the acceptance rule and never guessed."""

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.loop.acceptance import decide, decide_measured
from autodata.recipes.domain import DomainConfig, Gate
from autodata.report.overview import find_region, list_attempt_bounds
from autodata.report.yields import MeasuredRound, Yields, change_thresholds, count, measure, span, thresholds
from autodata.types import Failure, Judgement, Verdict
from tests.helpers.fake_runs import a_round, candidate, demo_recipe
from tests.helpers.recipes import load_recipe

pytestmark = pytest.mark.slow

GATES = {
    "just_right": demo_recipe().domain.presets["just_right"],
    **load_recipe("recipes/cs/generate.yaml", "recipes/models/laptop.yaml").domain.presets,
    "free": Gate(),
}
PLANNED = (3, 2)
VALUES = (0.0, 0.25, 0.5, 0.65, 1.0)
GRID = (VALUES, VALUES, (0.0, 0.2, 0.5))


def domain(gate: Gate) -> DomainConfig:
    weak, strong = PLANNED
    return DomainConfig(
        "cs", preset="p", presets={"p": gate}, weak_attempts=weak, strong_attempts=strong, max_rounds=1
    )


scores = st.fractions(0, 1, max_denominator=4)
weak_scores = st.lists(scores, min_size=1, max_size=PLANNED[0]).map(tuple)
complete = st.tuples(scores, scores, scores)
strong_scores = st.lists(scores, max_size=PLANNED[1]).map(tuple)
measured = st.one_of(
    st.builds(MeasuredRound, st.just(0), weak_scores, st.just(())),
    st.builds(MeasuredRound, st.just(0), complete, strong_scores),
)


@settings(max_examples=50, deadline=None)  # a machine under load is no failure
@given(st.sampled_from(sorted(GATES)), st.lists(measured, min_size=1, max_size=3))
def test_every_point_of_the_grid_has_the_verdict_of_the_rule(name, rounds):
    counts = count(rounds, domain(GATES[name]), GRID)
    for i, j, k in product(*(range(len(axis)) for axis in GRID)):
        gate = change_thresholds(GATES[name], GRID[0][i], GRID[1][j], GRID[2][k])
        verdicts = [decide_measured(r.weak, r.strong, PLANNED, gate).accepted for r in rounds]
        assert counts.least[i, j, k] == any(v is True for v in verdicts)
        assert counts.most[i, j, k] == any(v is not False for v in verdicts)


@settings(max_examples=50, deadline=None)  # a machine under load is no failure
@given(st.sampled_from(sorted(GATES)), measured, st.lists(scores, min_size=5, max_size=5))
def test_whatever_the_missing_attempts_bring_lies_in_the_band(name, attempts_made, later):
    band = count([attempts_made], domain(GATES[name]), GRID)
    weak, strong = (*attempts_made.weak, *later[:3])[: PLANNED[0]], (*attempts_made.strong, *later[3:])[: PLANNED[1]]
    truth = count([MeasuredRound(0, weak, strong)], domain(GATES[name]), GRID)
    assert (truth.least == truth.most).all()
    assert (band.least <= truth.least).all()
    assert (truth.most <= band.most).all()


def test_documents_are_counted_not_rounds():
    good = MeasuredRound(0, (Fraction(0),) * 3, (Fraction(1),) * 2)
    counts = count([good, good, replace(good, document=1)], domain(Gate()), ((None,), (None,), (None,)))
    assert counts.least.item() == counts.most.item() == 2


def test_a_strict_bound_stays_strict():
    assert change_thresholds(Gate(weak_mean_below=0.5), 0.4, None, None) == Gate(weak_mean_below=0.4)
    assert change_thresholds(Gate(weak_mean_at_most=0.5), 0.4, 0.7, 0.1) == Gate(
        weak_mean_at_most=0.4, strong_mean_at_least=0.7, gap_at_least=0.1
    )
    assert thresholds(Gate(weak_mean_below=0.5)) == {"weak": 0.5, "strong": None, "gap": None}


def test_what_thresholds_cannot_decide_about_is_left_out():
    recipe = demo_recipe()
    measured = a_round(1, candidate("q"), recipe)
    assert measure(0, measured).weak[:3] == (1, 1, 0)
    assert measure(0, replace(measured, weak=(), strong=())) is None
    assert measure(0, replace(measured, candidate=None)) is None
    assert measure(0, replace(measured, verdict=Verdict(False, Failure.IMPROVE))) is None


def test_a_failed_judge_is_a_missing_attempt_not_a_zero():
    measured = a_round(1, candidate("q"), demo_recipe())
    lost = replace(measured.weak[0], judgement=Judgement(None, None))
    assert len(measure(0, replace(measured, weak=(lost, *measured.weak[1:]))).weak) == 7


def test_the_table_has_the_thresholds_in_force_and_its_cell_is_the_count_of_now():
    config = domain(Gate(weak_mean_at_most=0.375, strong_mean_at_least=0.75))
    yields = Yields([MeasuredRound(0, (Fraction(0),) * 3, (Fraction(1),) * 2)], config)
    columns, rows = yields.table
    assert 0.375 in columns
    (in_force,) = [cell for _, cells in rows for cell in cells if cell.is_in_force]
    assert in_force.text == "1"
    assert [value for value, _ in rows] == sorted((value for value, _ in rows), reverse=True)
    assert yields.charts["weak"].mark == (0.375, "in force: 0.375")
    assert yields.charts["gap"].mark is None
    assert np.array(yields.charts["strong"].lines[0].band).shape == (21, 2)


def test_a_span_is_one_number_when_it_is_known():
    assert (span(3, 3), span(3, 1200)) == ("3", "3 to 1,200")


@pytest.mark.parametrize("name", sorted(set(GATES) - {"free"}))
@settings(max_examples=50, deadline=None)
@given(w=st.fractions(0, 1, max_denominator=40), s=st.fractions(0, 1, max_denominator=40))
def test_the_region_of_the_plane_is_what_the_gate_accepts(name, w, s):
    corners = find_region(GATES[name])
    inside = _place(corners, float(w), float(s))
    if abs(inside) > 1e-6:  # on an edge, strict and non-strict bounds differ
        assert (inside > 0) == (decide([w], [s], GATES[name]).accepted is True)


def test_a_gate_without_bounds_on_means_has_no_region():
    assert find_region(Gate()) == []
    assert find_region(Gate(weak_max_at_most=0.5)) == []
    assert find_region(Gate(weak_mean_at_least=0.9, gap_at_least=0.5)) == []
    assert list_attempt_bounds(Gate(weak_max_at_most=0.5)) == {"weak_max_at_most": 0.5}


def _place(corners, x, y):
    """Return how far a point is inside a convex polygon (its smallest turn), negative outside."""
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return min((bx - ax) * (y - ay) - (by - ay) * (x - ax) for (ax, ay), (bx, by) in pairs)
