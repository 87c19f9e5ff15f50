"""Tests planning: the simulation obeys the laws of queues and tokens, splits fit, and errors name the reason."""

import asyncio
import json
import random
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.plan import plan as command
from autodata.plan.generation import count_documents
from autodata.plan.queues import QueuePlan, read_paid
from autodata.plan.simulation import (
    SimulatedOutcome,
    Station,
    TooFewGpus,
    choose_split,
    grow,
    share_gpu_seconds,
    simulate,
)
from autodata.plan.speed import ReplicaSpeed, fit, fit_run, state
from autodata.plan.workload import Call, Story, from_priors, from_run
from autodata.recipes.domain import Documents
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Price
from autodata.serving.costs import LEDGER, Cost
from autodata.serving.journal import Journal
from autodata.types import End, Reply, Role, UserError
from autodata.types import Outcome as Answer
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import a_round, candidate, demo_recipe, simple, trajectory, write_run
from tests.helpers.recipes import load_committed

pytestmark = pytest.mark.slow

DEMO = "recipes/demo/generate.yaml"
PAPER = ["recipes/cs/generate.yaml", "recipes/models/paper.yaml", "documents.path=recipes/cs/documents"]
SERVED = {Role.WEAK_SOLVER: "small", Role.STRONG_SOLVER: "large"}
SPEED = ReplicaSpeed(0.001, 0.01, 0.001)
TOKENS = st.floats(0, 1e5)
CALLS = st.builds(Call, st.sampled_from(list(SERVED)), TOKENS, TOKENS, st.booleans())
STAGES = st.lists(st.lists(CALLS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3).map(tuple)
STORIES = st.lists(st.builds(Story, st.lists(STAGES, max_size=3).map(tuple), st.just(1), st.booleans()), max_size=4)


def stations(gpus: int = 1, replicas: int = 1) -> dict[str, Station]:
    return {name: Station(SPEED, replicas, 64, gpus) for name in SERVED.values()}


def one_call(prompt: float = 100, completion: float = 10, **values: object) -> Story:
    return Story((((Call(Role.WEAK_SOLVER, prompt, completion, **values),),),), 1, True)


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run the command and return its output or its error."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["plan", *map(str, arguments)])
        return find_failure(command.main) or capsys.readouterr().out

    return run


@pytest.fixture
def demo_run(tmp_path) -> Path:
    """Write a run of two documents, one of them accepted."""
    recipe = demo_recipe()
    return Path(
        write_run(
            tmp_path / "run",
            recipe,
            simple("a", "A?", recipe),
            simple("b", "B?", recipe, weak=8),
            counts={"prompt_tokens": 40, "completion_tokens": 38},
        )
    )


def test_a_lone_call_takes_its_prompt_and_its_steps():
    assert simulate([one_call()], SERVED, stations(), 1).seconds == pytest.approx(100 * 0.001 + 10 * 0.011)


def test_a_batch_reads_one_after_the_other_and_writes_together():
    batch = Story((tuple((Call(Role.WEAK_SOLVER, 100, 10),) for _ in range(8)),), 1, True)
    assert simulate([batch], SERVED, stations(), 1).seconds == pytest.approx(8 * 0.1 + 10 * (0.01 + 8 * 0.001))


@pytest.mark.parametrize(("caches", "seconds"), [(True, 0.1), (False, 0.2)])
def test_a_shared_prompt_is_read_once_where_it_is_cached(caches, seconds):
    calls = Call(Role.WEAK_SOLVER, 100, 0), Call(Role.WEAK_SOLVER, 100, 0, is_shared=True)
    station = Station(ReplicaSpeed(0.001, 0.01, 0.001, caches=caches), 1, 64)
    result = simulate([Story((tuple((c,) for c in calls),), 1, True)], SERVED, {"small": station, "large": station}, 1)
    assert result.seconds == pytest.approx(seconds)


@pytest.mark.parametrize("in_flight", [1, 3, 10])
def test_littles_law_holds_at_a_fixed_latency(in_flight):
    fixed = {"small": Station(ReplicaSpeed(0, 0.1, 0), 1, 64)}  # no request slows another
    result = simulate([one_call(completion=20)] * 30, SERVED, fixed, in_flight)
    assert result.seconds == pytest.approx(2.0 * 30 / in_flight)
    assert result.call_seconds[Role.WEAK_SOLVER] / result.seconds == pytest.approx(in_flight)


def test_time_too_short_to_move_the_clock_ends():
    late = Story((((Call(Role.WEAK_SOLVER, 1e12, 1e-9),),), ((Call(Role.WEAK_SOLVER, 0, 1e-9),),)), 1, True)
    assert simulate([late] * 3, SERVED, stations(), 3).calls[Role.WEAK_SOLVER] == 6


@settings(max_examples=40, deadline=None)
@given(STORIES, st.integers(1, 3), st.integers(1, 3))
def test_no_token_is_lost_and_gpu_seconds_add_up(stories, in_flight, replicas):
    sized = stations(replicas=replicas)
    result = simulate(stories, SERVED, sized, in_flight)
    calls = [c for s in stories for c in s.calls]
    assert result.calls.total() == len(calls)
    assert result.tokens == pytest.approx(sum(c.prompt + c.completion for c in calls))
    assert len(result.finished) == len(stories)
    used = {SERVED[r] for r, spent in result.call_seconds.items() if spent}
    assert sum(share_gpu_seconds(result, SERVED, sized).values()) == pytest.approx(
        len(used) * replicas * result.seconds
    )


SPLITS = st.integers(1, 4), st.integers(1, 4), st.floats(0.1, 100), st.floats(0.1, 100), st.integers(0, 12)


@given(*SPLITS)
def test_a_split_fits_and_has_one_of_each(small, large, first, second, more):
    sized = {"small": Station(SPEED, 1, 64, small), "large": Station(SPEED, 1, 64, large)}
    gpus = small + large + more
    splits = list(grow(sized, {"small": first, "large": second}, gpus))
    for split in splits:
        assert min(split.values()) >= 1
        assert sum(sized[n].gpus * count for n, count in split.items()) <= gpus
    assert splits[0] == {"small": 1, "large": 1}


@settings(max_examples=15, deadline=None)
@given(STORIES.filter(bool), st.integers(2, 6))
def test_more_gpus_are_never_slower(stories, gpus):
    def time_of(sized) -> float:
        return simulate(stories, SERVED, sized, 4).seconds

    work = simulate(stories, SERVED, stations(), 4).work
    fewer, more = (time_of(choose_split(stations(), work, n, time_of)) for n in (gpus, gpus + 1))
    assert more <= fewer


def test_too_few_gpus_says_how_many_there_must_be():
    with pytest.raises(TooFewGpus, match=r"give at least 4"):
        list(grow(stations(gpus=2), {"small": 1.0}, 3))


def test_a_fit_finds_the_speed_that_made_the_samples():
    chance = numpy.random.default_rng(0)
    work = chance.uniform(1, 100, (60, 4))  # prompt tokens, steps, sequences, requests
    true = ReplicaSpeed(0.002, 0.03, 0.004, 0.05)
    speed = fit(work, work @ [true.prompt_s, true.step_s, true.sequence_s, true.request_s], "test")
    assert (speed.prompt_s, speed.step_s, speed.sequence_s, speed.request_s) == pytest.approx(
        (true.prompt_s, true.step_s, true.sequence_s, true.request_s)
    )


def test_a_runs_journal_tells_the_speed(tmp_path):
    """The calls end in the same second, and each of their steps took 0.01 s."""
    journal = Journal(tmp_path / "journal.sqlite")

    async def fill() -> None:
        for i in range(60):
            steps = 20 + i
            await journal.put(str(i), Reply(Answer.ANSWERED, "x", "", "stop", "m", 0, steps, latency_s=0.01 * steps))

    asyncio.run(fill())
    journal.close()
    speed = fit_run(tmp_path, "m")
    assert speed is not None
    assert speed.origin == f"fitted to 60 calls of {tmp_path}"
    assert speed.step_s + 60 * speed.sequence_s == pytest.approx(0.01, rel=0.05)
    assert fit_run(tmp_path, "another") is None


def test_stated_speed_saturates_at_decode_times_concurrency():
    speed = state(1000, 50, 20, "stated")
    assert 1 / speed.step(1) == pytest.approx(50)
    assert 1 / speed.sequence_s == pytest.approx(1000)


def test_the_bottleneck_is_the_endpoint_with_the_highest_utilisation(plan):
    slow = plan(*PAPER, "--repeats", 1, "--speed", "weak=40000,1,2")
    assert re.search(r"bottleneck +│ weak_solver at weak", slow)
    assert re.search(r"bottleneck +│ strong_solver at strong", plan(*PAPER, "--repeats", 1, "--speed", "strong=1,1,1"))


UNKNOWN = "models.endpoints.small.model=other"  # its speed is in no file
PRICED = ["models.endpoints.small.price.input=0.1", "models.endpoints.small.price.output=0.4"]


def test_without_a_speed_calls_tokens_and_money_are_planned_and_time_is_left_open(plan, demo_run):
    out = plan(DEMO, UNKNOWN, *PRICED, "--like", demo_run, "--accepted", 3)
    assert re.search(r"wall-clock +│ –; the speed of small is not known; give it with --speed small=prefill", out)
    assert re.search(r"GPU-hours held +│ 0\.00 ", out)
    assert re.search(r"bottleneck +│ – ", out)
    assert re.search(r"small +│ 1 +│ 0 +│ – +│ – +│ not known", out)
    rows = re.findall(r"│ (\w+) +│ small +│ ([\d,]+) +│ ([\d,]+) +│ ([\d,]+) +│ (\$[\d.]+) +│ –", out)
    assert {row[0] for row in rows} == {"challenger", "weak_solver", "strong_solver"}
    assert "3 more accepted" in out and " h, " not in out
    timed = plan(DEMO, UNKNOWN, *PRICED, "--like", demo_run, "--speed", "small=1000,50,64")
    for key in ("calls", "tokens", "cost"):
        row = re.compile(rf"│ {key} +│ (\S+)")
        assert row.search(out)[1] == row.search(timed)[1] != "–"


def test_a_planned_role_costs_its_tokens_at_the_price_of_its_endpoint():
    outcome = SimulatedOutcome(
        prompt=Counter(weak_solver=2_000_000, judge=1_000_000), completion=Counter(weak_solver=500_000, judge=1_000)
    )
    priced = Station(None, 1, 64, price=Price(0.1, 0.4, 0.01))
    served = {"weak_solver": "small", "judge": "large"}
    bare = QueuePlan("", 3, 1, served, {"small": priced, "large": Station(None, 1, 64)}, [outcome], {})
    assert (bare.cost("weak_solver"), bare.cost("judge")) == (1_200_000_000, None)  # 3 × (2 × 0.1 + 0.5 × 0.4)
    assert bare._tell_cost() == "at least $1.20, without judge"
    cost = Cost(prompt_tokens=100, completion_tokens=1, cached_tokens=50, nano_usd=1_010_000)
    computed = replace(cost, nano_usd=None)
    paid = replace(bare, paid={Role.WEAK_SOLVER: computed, Role.JUDGE: cost})
    assert paid.cost("weak_solver") == 930_000_000  # half of its prompt tokens were cached in the run
    named = replace(bare, paid={Role.WEAK_SOLVER: cost})
    assert named.cost("weak_solver") == pytest.approx(3 * 2_500_000 * 10_000)  # the provider's word beats the price
    assert replace(bare, served={"challenger": "small"}).cost("challenger") is None  # it has no tokens
    assert paid.cost("judge") == pytest.approx(3 * 1_001_000 * 10_000)  # as much for each token as in the run
    assert replace(bare, served={"judge": "large"})._tell_cost() == "–"


def test_priors_say_that_nothing_is_measured(plan):
    out = plan(*PAPER, "--repeats", 1, "--gpus", 48)
    assert "priors.yaml, unmeasured" in out
    assert out.count("chosen, unmeasured") == 3


def test_a_run_is_replayed_under_what_if(plan, demo_run):
    out = plan(DEMO, "--like", demo_run, "--speed", "small=1000,50,64", "--what-if", "domain.weak_attempts=4")
    assert "recipe: roles" in out
    assert "domain.weak_attempts=4: roles" in out
    recipe = demo_recipe("domain.weak_attempts=4")
    assert [sum(c.role == Role.WEAK_SOLVER for c in s.calls) for s in from_run(recipe, demo_run).stories] == [4, 4]


@pytest.mark.parametrize(("proposals", "rounds", "accepted"), [(1, 1, 0.0), (2, 2, 0.5), (5, 5, 0.5)])
def test_a_plan_repeats_or_leaves_out_independent_proposals(tmp_path, proposals, rounds, accepted):
    """The second of two proposals of the first document would be accepted, none of the other document."""
    recipe = demo_recipe("arm=cot")
    made = [
        trajectory(name, *(a_round(n, candidate(f"{name}{n}?"), recipe, weak=w) for n, w in ends), arm="cot")
        for name, ends in (("a", [(1, 8), (2, 2)]), ("b", [(1, 8), (2, 8)]))
    ]
    run = Path(write_run(tmp_path / "run", recipe, *made, counts={"prompt_tokens": 40, "completion_tokens": 38}))
    workload = from_run(demo_recipe("arm=cot", f"proposals={proposals}"), run)
    assert [s.rounds for s in workload.stories] == [rounds, rounds]
    assert workload.acceptance == accepted
    solving = [sum(c.role in SERVED for c in s.calls) for s in workload.stories]
    assert solving == [16 * rounds, 16 * rounds]


def used_up(recipe, *weak: int, end: End = End.ROUNDS_USED):
    """A document that used up its rounds; `weak` has the points of each round."""
    rounds = [a_round(n, candidate(f"{n}?"), recipe, weak=w) for n, w in enumerate(weak, 1)]
    return trajectory("a", *rounds, end=end)


@pytest.mark.parametrize(("rounds", "planned"), [(1, 1), (2, 2), (3, 3), (8, 8)])
def test_documents_that_used_up_their_rounds_go_on_where_the_recipe_has_more(tmp_path, rounds, planned):
    recipe = demo_recipe("domain.max_rounds=2")
    run = Path(write_run(tmp_path / "run", recipe, used_up(recipe, 8, 8), counts={}))
    workload = from_run(demo_recipe(f"domain.max_rounds={rounds}"), run)
    assert [s.rounds for s in workload.stories] == [planned]
    spent = sum(c.prompt + c.completion for c in workload.stories[0].calls if c.role == Role.CHALLENGER)
    assert spent == pytest.approx(7 * planned / 2, abs=0.5)
    says = (
        f"WARNING: 1 of its 1 documents used up their domain.max_rounds=2, and are planned as if they used up {rounds}"
    )
    assert (says in workload.origin) == (rounds > 2)


def test_documents_that_ended_otherwise_do_not_go_on(tmp_path):
    recipe = demo_recipe("domain.max_rounds=2")
    run = Path(write_run(tmp_path / "run", recipe, used_up(recipe, 8, 8, end=End.GAVE_UP), counts={}))
    workload = from_run(demo_recipe("domain.max_rounds=8"), run)
    assert [s.rounds for s in workload.stories] == [2] and "WARNING" not in workload.origin


AGENT = ["orchestrator=agent", "models.orchestrator.endpoint=small", "models.orchestrator.sampling.max_tokens=100"]


def test_a_role_that_the_run_never_asked_costs_a_dash(plan, demo_run):
    out = plan(DEMO, *PRICED, "--like", demo_run, *AGENT)
    assert re.search(r"│ orchestrator +│ small +│ [\d,]+ +│ – +│ – +│ – ", out)
    assert re.search(r"│ cost +│ at least \$\S+, without orchestrator", out)


def test_what_the_provider_named_beats_the_price_and_what_we_computed_does_not(tmp_path):
    recipe = demo_recipe(*PRICED)
    cost = Cost(calls=1, prompt_tokens=1_000_000, completion_tokens=1_000_000)
    ledger = {Role.WEAK_SOLVER: replace(cost, nano_usd=500_000_000), Role.STRONG_SOLVER: replace(cost, nano_usd=7)}
    run = Path(write_run(tmp_path / "run", recipe, simple("a", "a?", recipe), counts={},
                         ledger=json.loads(LEDGER.dump_json(ledger))))  # fmt: skip

    def read(*changes: str) -> list[int | None]:
        paid = read_paid(run, GenerateRecipe, demo_recipe(*changes).models)
        return [paid[role].nano_usd for role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER)]

    assert read(*PRICED) == [None, 7]
    assert read("models.endpoints.small.price.input=9", "models.endpoints.small.price.output=9") == [None, 7]
    assert read() == [500_000_000, 7]
    assert read(*PRICED, "models.endpoints.small.model=another") == [None, None]


def test_invented_proposals_of_the_baseline_all_reach_both_solvers():
    recipe = load_committed(PAPER[0], PAPER[1], "arm=cot", "proposals=4")
    stories = [from_priors(recipe).draw(random.Random(seed)) for seed in range(200)]
    assert {s.rounds for s in stories} == {4}
    assert 0 < sum(s.accepted for s in stories) < 100
    for story in stories:
        calls = Counter(c.role for c in story.calls)
        assert calls[Role.CHALLENGER] == 4 and calls[Role.WEAK_SOLVER] == calls[Role.STRONG_SOLVER]


def test_a_run_without_an_accepted_document_gives_a_bound(plan, tmp_path):
    recipe = demo_recipe()
    run = write_run(tmp_path / "run", recipe, *[simple(n, f"{n}?", recipe, weak=8) for n in "abc"], counts={})
    out = plan(DEMO, "--like", run, "--speed", "small=1000,50,64", "--accepted", 10)
    assert (
        "no document was accepted yet, so only a lower bound (95 %): 16 documents" in out
    )  # 10 / (1 - 0.05 ** (1 / 3))


@pytest.mark.parametrize(("arguments", "message"), [
    ([DEMO, UNKNOWN, "--gpus", 4], "--gpus 4: the speed of small is not known; give it with --speed small="),
    ([DEMO, "--speed", "large=1,1,1"], "--speed large=…: the recipe uses no such endpoint; it uses small"),
    ([DEMO, "--speed", "small=fast"], "--speed small=fast: write ENDPOINT=prefill,decode,concurrency"),
    ([DEMO, "--speed", "small=1,0,1"], "positive numbers"),
    ([DEMO, "--like", "runs/none"], "runs/none: no such run"),
    ([*PAPER, "--gpus", 16], "one replica of each endpoint takes 17 (kimi 8, strong 8, weak 1); give at least 17"),
    ([*PAPER, "arm=best_of_n"], "plan the agentic recipe instead"),
])  # fmt: skip
def test_what_cannot_be_planned_says_why(plan, arguments, message):
    assert message in plan(*arguments)


def test_a_run_of_another_domain_or_an_empty_one_is_refused(plan, demo_run, tmp_path):
    assert "it has domain.name=skills, the recipe has cs" in plan(*PAPER, "--like", demo_run)
    empty = write_run(tmp_path / "empty", demo_recipe(), trajectory("a"), counts={})
    assert "none of its documents has a round" in plan(DEMO, "--like", empty)


def test_a_corpus_that_is_not_here_has_as_many_documents_as_the_paper_says(tmp_path):
    absent = str(tmp_path / "absent")
    assert count_documents(Documents(absent), "legal") == 7800
    assert count_documents(Documents(absent, limit=5), "legal") == 5
    assert count_documents(Documents("recipes/legal/documents"), "legal") == 3
    assert count_documents(Documents(absent), "skills") == 24
    assert count_documents(Documents(absent, limit=5), "own") == 5
    with pytest.raises(UserError, match="no such file or folder"):
        count_documents(Documents(absent), "own")
