"""Tests the loop over rounds: acceptance, attempts, malformed proposals, and the baseline."""

import asyncio

import pytest

from autodata.loop import domain as base
from autodata.loop.agents import attempt_seed
from autodata.loop.domain import JudgeFailed
from autodata.loop.harness import Harness, count_duplicates
from autodata.loop.orchestrator import orchestrate, propose_unselected
from autodata.serving.llm import Client
from autodata.types import Attempt, Document, End, Failure, Judgement, Outcome, Quality, Role
from tests.helpers.fake_server import completion, fake_server, play_skills, work_out
from tests.helpers.recipes import load_recipe, models_at

pytestmark = pytest.mark.slow

DOCUMENT = Document(
    "d",
    "A title\n\nThe quick brown fox jumps over many lazy dogs today. "
    "Every clever sailor learns quickly that storms punish careless captains.",
    "d.txt",
)


@pytest.fixture
def play(journal):
    """play(script, how, *overrides) runs one document against a script and returns (trajectory, server)."""

    def run(script, how=orchestrate, *overrides, earlier=0):
        recipe = load_recipe("recipes/demo/generate.yaml", *overrides)
        with fake_server(script) as server:

            async def go():
                client = Client(models_at(server.url), journal)
                harness = Harness(base.load(recipe.domain, client), DOCUMENT, recipe.arm, {"JudgeFailed": earlier})
                try:
                    return await how(harness)
                finally:
                    await client.close()

            return asyncio.run(go()), server

    return run


def test_the_loop_ends_with_an_acceptance_or_with_its_rounds(play):
    trajectory, _ = play(play_skills, orchestrate, "domain.max_rounds=5")
    assert 1 <= len(trajectory.rounds) <= 5
    assert [r.verdict.accepted for r in trajectory.rounds[:-1]] == [False] * (len(trajectory.rounds) - 1)
    assert [r.number for r in trajectory.rounds] == list(range(1, len(trajectory.rounds) + 1))


def test_weak_and_strong_get_the_same_bytes_but_for_the_answer_sheet(play):
    _, server = play(play_skills, propose_unselected, "arm=cot", "domain.privileged_strong=false")
    solver = [r["messages"] for r in server.requests if "response_format" not in r]
    assert len(solver) == 16
    assert all(messages == solver[0] for messages in solver)
    assert not any(word in str(solver[0]).lower() for word in ("weak", "strong"))


def test_proposals_of_the_baseline_are_independent_and_all_are_tried_by_both_solvers(play):
    trajectory, server = play(play_skills, lambda h: propose_unselected(h, 3), "arm=cot", "domain.max_rounds=3")
    asked = [r for r in server.requests if "response_format" in r]
    assert [(r.number, len(r.weak), len(r.strong)) for r in trajectory.rounds] == [(n, 8, 8) for n in (1, 2, 3)]
    assert len({r["seed"] for r in asked}) == 3 and len({str(r["messages"]) for r in asked}) == 3
    assert not any("in this text:" in str(r["messages"]) for r in asked), "no proposal knows how earlier ones failed"
    assert len({a.seed for r in trajectory.rounds for a in (*r.weak, *r.strong)}) == 3 * 16
    assert trajectory.end is End.ONE_SHOT


def test_a_privileged_strong_solver_sees_the_answer_sheet_and_the_weak_one_does_not(play):
    _, server = play(play_skills, propose_unselected, "arm=cot")
    solver = [r["messages"] for r in server.requests if "response_format" not in r]
    shown = [messages[-1]["content"] in messages[-2]["content"] for messages in solver]
    assert (shown.count(True), shown.count(False)) == (8, 8)


def test_a_candidate_that_is_too_easy_for_all_presets_never_reaches_the_strong_solver(play):
    def always_right(body, count):
        if "response_format" in body:
            return play_skills(body, count)
        return completion(work_out(*(message["content"] for message in body["messages"][-2:])))

    trajectory, _ = play(always_right, orchestrate, "domain.max_rounds=3")
    measured = [r for r in trajectory.rounds if r.weak]
    assert measured
    assert all(r.verdict.failure is Failure.TOO_EASY and not r.strong for r in measured)
    assert all(set(r.presets) == {"just_right", "wide"} for r in measured)


def test_malformed_proposals_are_rounds_that_failed(play):
    trajectory, server = play(lambda b, c: completion("no json"), orchestrate, "domain.max_rounds=3")
    assert [r.verdict.failure for r in trajectory.rounds] == [Failure.MALFORMED] * 3
    assert len(server.requests) == 3


def test_the_baseline_measures_both_solvers_once_and_never_loops(play):
    trajectory, _ = play(play_skills, propose_unselected, "arm=cot")
    (only,) = trajectory.rounds
    assert (len(only.weak), len(only.strong), trajectory.arm) == (8, 8, "cot")


def test_a_verified_candidate_is_the_one_that_is_attempted(play):
    async def check_another(harness):
        async def stale(document, candidate):
            return Quality(True, "", "another hash")

        harness.domain.check_quality = stale
        await harness.play_round()
        return harness.rounds[-1]

    trajectory, _ = play(play_skills, check_another)
    assert (trajectory.verdict.failure, trajectory.verdict.reason) == (
        Failure.LOW_QUALITY,
        "the check was of another candidate",
    )
    assert (trajectory.weak, trajectory.strong) == ((), ())


def test_an_unjudged_attempt_has_no_verdict(play):
    async def broken_judge(harness):
        async def judge(candidate, answer, seed):
            return Judgement(None, None, f"asked {harness.domain.asks} times")

        harness.domain.judge = judge
        return await orchestrate(harness)

    with pytest.raises(JudgeFailed, match="asked 3 times"):
        play(play_skills, broken_judge)
    with pytest.raises(JudgeFailed, match="asked 6 times"):
        play(play_skills, broken_judge, earlier=1)


def test_duplicate_answers_are_counted():
    attempts = [
        Attempt(i, i, Outcome.ANSWERED, a, "", 1, 1, Judgement((True,), 1.0))
        for i, a in enumerate(["a", "b", "a", "a", ""])
    ]
    assert count_duplicates(attempts) == 2


def test_every_attempt_has_its_own_seed(play):
    _, server = play(play_skills, propose_unselected, "arm=cot")
    seeds = [r["seed"] for r in server.requests]
    assert len(set(seeds)) == len(seeds)
    assert attempt_seed(0, "d", 1, Role.WEAK_SOLVER, 0) in seeds
