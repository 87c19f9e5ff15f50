"""Tests that attempts are skipped if they could not change the verdict."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata import generate
from autodata.config import RecipeError
from autodata.loop.acceptance import decide, decide_weak, settle, settle_weak
from autodata.loop.orchestrator import propose_unselected
from autodata.recipes.domain import Gate
from autodata.serving.journal import Journal
from autodata.types import Failure
from tests import test_science
from tests.helpers.fake_world import World
from tests.helpers.recipes import MODELS, REPO, load_committed, load_recipe
from tests.test_cs import play

pytestmark = pytest.mark.slow

SCORES = st.fractions(0, 1, max_denominator=12)
BOUND = st.none() | st.sampled_from([0.0, 0.125, 0.2, 0.25, 0.375, 0.5, 0.65, 0.75, 0.95])
GATES = st.builds(Gate, **{name: BOUND for name in Gate.__dataclass_fields__})
PROSE = Gate(weak_mean_below=0.5, strong_mean_at_least=0.65, gap_at_least=0.2)
SCIENCE = Gate(weak_mean_at_most=0.25, strong_mean_at_least=0.75)


def outcome(verdict):
    return (verdict.accepted, verdict.failure) if verdict else None


@given(GATES, st.lists(SCORES, min_size=1, max_size=5))
def test_a_settled_weak_stage_ends_as_all_attempts_would(gate, weak):
    for count in range(1, len(weak) + 1):
        settled = settle_weak(weak[:count], len(weak), gate)
        if settled:
            assert outcome(settled) == outcome(decide_weak(weak, gate))


@given(GATES, st.lists(SCORES, min_size=1, max_size=4), st.lists(SCORES, min_size=1, max_size=5))
def test_a_settled_strong_stage_ends_as_all_attempts_would(gate, weak, strong):
    for count in range(1, len(strong) + 1):
        settled = settle(weak, strong[:count], len(strong), gate)
        if settled:
            assert outcome(settled) == outcome(decide(weak, strong, gate))


@given(GATES, st.lists(SCORES, min_size=1, max_size=4), st.lists(SCORES, min_size=1, max_size=4))
def test_with_all_attempts_made_every_verdict_is_settled(gate, weak, strong):
    assert outcome(settle_weak(weak, len(weak), gate)) == outcome(decide_weak(weak, gate))
    assert settle(weak, strong, len(strong), gate) == decide(weak, strong, gate)


@settings(max_examples=30)
@given(GATES, st.lists(st.sampled_from([Fraction(0), Fraction(1)]), min_size=1, max_size=3))
def test_binary_stages_stop_as_soon_as_every_continuation_agrees(gate, weak):
    """Compares each stop with all continuations by scores of 0 and 1: it is never wrong and never late."""
    planned = 4
    missing = planned - len(weak)
    ends = {
        outcome(decide_weak([*weak, *rest], gate, cut_off))
        for rest in product((0, 1), repeat=missing)
        for cut_off in range(missing + 1)
    }
    rejected = len(ends) == 1 and None not in ends
    assert (settle_weak(weak, planned, gate) is not None) == rejected


@pytest.mark.parametrize(
    ("weak", "planned", "gate", "failure"),
    [
        ([1, Fraction(1, 2)], 3, PROSE, Failure.TOO_EASY),  # mean at least 0.5 whatever comes
        ([1, Fraction(49, 100)], 3, PROSE, None),
        ([1, 1], 4, SCIENCE, Failure.TOO_EASY),
        ([1], 4, SCIENCE, None),
        ([Fraction(76, 100)], 3, Gate(weak_max_at_most=0.75), Failure.TOO_EASY),
        ([Fraction(75, 100)], 3, Gate(weak_max_at_most=0.75), None),
    ],
)
def test_the_weak_stage_on_both_sides(weak, planned, gate, failure):
    settled = settle_weak([Fraction(w) for w in weak], planned, gate)
    assert (settled.failure if settled else None) is failure


@pytest.mark.parametrize(
    ("strong", "verdict"),
    [([0, 0], (False, Failure.TOO_HARD)), ([0], None), ([0, 1], None), ([1, 1, 1], (True, None)), ([1, 1], None)],
)
def test_two_failures_of_four_decide_the_strong_stage(strong, verdict):
    weak = [Fraction(0)] * 4
    assert outcome(settle(weak, [Fraction(s) for s in strong], 4, SCIENCE)) == verdict


@pytest.mark.parametrize(
    ("plan", "preset", "attempt_counts"),
    [
        (["too_easy", "accepted"], "prose", (2, 6)),
        (["too_easy", "accepted"], "deployed", (1, 6)),
        (["deployed_only", "accepted"], "prose", (3, 6)),
        (["no_better", "accepted"], "deployed", (6, 6)),
    ],
)
def test_the_loop_ends_the_same_with_no_more_attempts(tmp_path, plan, preset, attempt_counts):
    common = (f"domain.preset={preset}", "domain.max_rounds=4")
    (full, _), (stopped, _) = (
        play(Journal(tmp_path / f"{stop}.sqlite"), World(plan), *common, f"domain.early_stop={stop}")
        for stop in ("false", "true")
    )
    assert [outcome(r.verdict) for r in stopped.rounds] == [outcome(r.verdict) for r in full.rounds]
    assert tuple(len(r.weak) + len(r.strong) for r in stopped.rounds) == attempt_counts
    for saved, whole in zip(stopped.rounds, full.rounds, strict=True):
        assert [a.answer for a in saved.weak] == [a.answer for a in whole.weak[: len(saved.weak)]]


@pytest.mark.parametrize(
    ("right", "failure", "attempts"),
    [((2, 4), Failure.TOO_EASY, (2, 0)), ((1, 3), None, (4, 3)), ((0, 2), Failure.TOO_HARD, (4, 4))],
)
def test_science_ends_the_same_with_the_weak_solver_first(journal, right, failure, attempts):
    """The verdicts are those of test_science.test_the_gate_counts_exactly, where both solvers make all attempts."""
    saving = ("domain.max_rounds=1", "domain.weak_first=true", "domain.early_stop=true")
    trajectory, _ = test_science.play(journal, test_science.World({}, default=right), *saving)
    (only,) = trajectory.rounds
    assert (only.verdict.failure, len(only.weak), len(only.strong)) == (failure, *attempts)


def test_what_was_not_measured_is_not_a_rejection(journal):
    trajectory, _ = play(journal, World(["deployed_only"]), "domain.early_stop=true", "domain.max_rounds=1")
    (only,) = trajectory.rounds
    assert (only.verdict.failure, len(only.weak), len(only.strong)) == (Failure.TOO_EASY, 3, 0)
    assert only.presets["deployed"].accepted is None


def test_baselines_measure_all_attempts_whatever_the_recipe_says(journal):
    trajectory, _ = play(journal, World(["too_easy"]), "arm=cot", "domain.early_stop=true", how=propose_unselected)
    assert len(trajectory.rounds[0].weak + trajectory.rounds[0].strong) == 6


STOPPING = {
    "recipes/cs/generate_early_stop.yaml",
    "recipes/demo/generate_api.yaml",
    "recipes/science/generate_early_stop.yaml",
}


def test_which_recipes_stop_early():
    """Those for an API or one GPU; the others make the paper's tables, whose means are over all attempts."""
    paths = {str(path.relative_to(REPO)): path.read_text() for path in (REPO / "recipes").rglob("*.yaml")}
    assert {path for path, text in paths.items() if "early_stop: true" in text} == STOPPING
    for path in STOPPING:
        domain = load_committed(path, *([] if "demo" in path else MODELS["api"])).domain
        assert (domain.early_stop, domain.weak_first) == (True, True)


def test_stopping_early_needs_the_weak_solver_first():
    recipe = load_recipe("recipes/demo/generate.yaml", "domain.early_stop=true", "domain.weak_first=false")
    with pytest.raises(RecipeError, match=r"set domain\.weak_first=true as well"):
        generate.open_run(recipe)


def test_attempts_are_made_one_after_the_other(journal):
    _, server = play(journal, World(["too_easy"]), "domain.early_stop=true", "domain.max_rounds=1")
    assert server.most_running == 1
