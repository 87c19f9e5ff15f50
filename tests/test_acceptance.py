"""Tests the acceptance rule: both sides of every threshold, exact means, and scores recomputed from booleans."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.config import load
from autodata.loop.acceptance import decide, decide_weak, mean, scores
from autodata.recipes.domain import Gate
from autodata.recipes.generation import GenerateRecipe
from autodata.types import Attempt, Candidate, Criterion, Failure, Judgement, Outcome

HAIR = Fraction(1, 10**9)
BOUNDS = [0.65, 0.1, 0.3, 0.7, 0.2, 1 / 3, 0.125]
SCORES = st.lists(st.fractions(0, 1, max_denominator=20), min_size=1, max_size=8)


def exactly(bound):
    return Fraction(str(bound))


def attempt(met, index=0, score=0.0):
    judgement = Judgement(met, score if met is not None else None)
    return Attempt(index, index, Outcome.ANSWERED, "answer", "", 1, 1, judgement)


def outcome(gate, weak, strong=(Fraction(1),)):
    verdict = decide([weak], strong, gate)
    return verdict.failure or verdict.accepted


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("name", "below", "at", "above"),
    [
        ("weak_mean_at_least", Failure.NO_SIGNAL, True, True),
        ("weak_mean_above", Failure.NO_SIGNAL, Failure.NO_SIGNAL, True),
        ("weak_mean_at_most", True, True, Failure.TOO_EASY),
        ("weak_mean_below", True, Failure.TOO_EASY, Failure.TOO_EASY),
        ("weak_max_at_most", True, True, Failure.TOO_EASY),
        ("weak_min_above", Failure.NO_SIGNAL, Failure.NO_SIGNAL, True),
    ],
)
def test_both_sides_of_each_weak_threshold(name, below, at, above, bound):
    gate, value = Gate(**{name: bound}), exactly(bound)
    assert outcome(gate, value - HAIR) is below
    assert outcome(gate, value) is at
    assert outcome(gate, value + HAIR) is above


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(
    ("name", "below", "at", "above"),
    [
        ("strong_mean_at_least", Failure.TOO_HARD, True, True),
        ("strong_mean_below", True, Failure.TOO_EASY, Failure.TOO_EASY),
        ("gap_at_least", Failure.SMALL_GAP, True, True),
    ],
)
def test_both_sides_of_each_strong_threshold(name, below, at, above, bound):
    gate, value = Gate(**{name: bound}), exactly(bound)
    assert outcome(gate, Fraction(0), [value - HAIR]) is below
    assert outcome(gate, Fraction(0), [value]) is at
    assert outcome(gate, Fraction(0), [value + HAIR]) is above


def test_means_are_exact_where_floats_are_not():
    tenths = [Fraction(1, 10), Fraction(2, 10), Fraction(6, 10)]
    assert mean(tenths) == Fraction(3, 10)
    assert outcome(Gate(weak_mean_at_most=0.3), mean(tenths)) is True
    assert outcome(Gate(gap_at_least=0.2), Fraction(1, 10), [Fraction(3, 10)]) is True


def test_one_good_weak_attempt_is_too_many_even_if_the_mean_is_low():
    weak = [Fraction(0), Fraction(0), Fraction(4, 5)]
    assert decide_weak(weak, Gate(weak_mean_at_most=0.65)) is None
    rejected = decide_weak(weak, Gate(weak_mean_at_most=0.65, weak_max_at_most=0.75))
    assert rejected.failure is Failure.TOO_EASY


def test_the_gap_counts_only_when_the_strong_solver_is_good_enough():
    gate = Gate(strong_mean_at_least=0.5, gap_at_least=0.2)
    assert outcome(gate, Fraction(2, 5), [Fraction(9, 20)]) is Failure.TOO_HARD
    assert outcome(gate, Fraction(2, 5), [Fraction(11, 20)]) is Failure.SMALL_GAP
    assert outcome(gate, Fraction(2, 5), [Fraction(3, 5)]) is True


def test_a_missing_strong_stage_is_no_verdict_but_a_weak_rejection_stands():
    open_verdict = decide([Fraction(0)], [], Gate(strong_mean_at_least=0.5))
    assert (open_verdict.accepted, open_verdict.failure) == (None, None)
    easy = decide([Fraction(1)], [], Gate(weak_mean_at_most=0.5))
    assert (easy.accepted, easy.failure) == (False, Failure.TOO_EASY)


@settings(max_examples=30)
@given(SCORES, SCORES)
def test_a_gate_without_bounds_accepts_everything(weak, strong):
    assert decide(weak, strong, Gate()).accepted is True


@settings(max_examples=60)
@given(SCORES, SCORES)
def test_what_is_accepted_satisfies_every_bound(weak, strong):
    gate = Gate(
        weak_mean_at_most=0.65,
        weak_max_at_most=0.75,
        strong_mean_at_least=0.6,
        strong_mean_below=0.95,
        gap_at_least=0.2,
    )
    passes = (
        mean(weak) <= Fraction("0.65")
        and max(weak) <= Fraction("0.75")
        and Fraction("0.6") <= mean(strong) < Fraction("0.95")
        and mean(strong) - mean(weak) >= Fraction("0.2")
    )
    verdict = decide(weak, strong, gate)
    assert verdict.accepted is passes
    assert (verdict.failure is None) is passes
    assert verdict.reason


def test_scores_are_recomputed_from_the_booleans_not_read():
    candidate = Candidate("q", "a", (Criterion("x", 13), Criterion("y", 7)))
    attempts = [attempt((True, False), score=1.0), attempt((False, False), 1, score=1.0)]
    assert scores(candidate, attempts) == [Fraction(13, 20), 0]


def test_an_unjudged_attempt_raises_and_is_not_a_zero():
    candidate = Candidate("q", "a", (Criterion("x", 1),))
    with pytest.raises(ValueError, match="attempt 7 was not measured"):
        scores(candidate, [attempt((True,)), attempt(None, 7)])


def test_booleans_of_another_rubric_are_refused():
    candidate = Candidate("q", "a", (Criterion("x", 1),))
    with pytest.raises(ValueError, match="2 verdicts for 1 criteria"):
        scores(candidate, [attempt((True, True))])


CS = load(GenerateRecipe, ["recipes/cs/generate.yaml", "recipes/models/laptop.yaml"]).domain.presets
# (weak %, strong %, verdict of `deployed`, verdict of `prose`), from the storyboards of the paper's project.
STORYBOARDS = [
    ([23.6], [34.1], False, False),
    ([51.0], [60.6], False, False),
    ([64.6], [67.8], False, False),
    ([41.0], [54.4], False, False),
    ([46.5], [72.2], True, True),
    ([79, 42, 45], [], False, False),
    ([100], [], False, False),
    ([25.4], [25.3], False, False),
    ([48.1], [93.1], True, True),
    ([21.7], [91.9], True, True),
]


@pytest.mark.parametrize(("weak", "strong", "deployed", "prose"), STORYBOARDS)
def test_the_papers_own_trajectories_get_the_papers_verdicts(weak, strong, deployed, prose):
    exact = [[Fraction(str(v)) / 100 for v in side] for side in (weak, strong)]
    assert decide(*exact, CS["deployed"]).accepted is deployed
    assert decide(*exact, CS["prose"]).accepted is prose


@pytest.mark.parametrize(("strong", "failure"), [(0, Failure.TOO_HARD), (HAIR, None)])
def test_no_strong_attempt_at_zero_is_an_option(strong, failure):
    gate = Gate(strong_min_above=0.0)
    assert decide([Fraction(0)], [Fraction(1), Fraction(strong)], gate).failure is failure
