"""Tests the ledger by role, the GPU-seconds, and both sides of the limits of a budget."""

import asyncio
from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.recipes.models import Budget, Endpoint, Models, RoleConfig, Server
from autodata.serving import costs
from autodata.serving.costs import Account, BusyTime, Cost, add, find_spent_budget, make_ledger
from autodata.serving.llm import Client, Draining
from autodata.types import Role
from tests.helpers.fake_server import completion, fake_server
from tests.helpers.recipes import models_at, request

WEAK, JUDGE = Role.WEAK_SOLVER, Role.JUDGE
NUMBERS, GPU = st.integers(0, 10**9), st.none() | st.integers(0, 99)
COSTS = st.builds(Cost, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, gpu_seconds=GPU)


def busy_for(seconds: float) -> BusyTime:
    busy = BusyTime()
    busy._seconds = seconds
    return busy


def accounts(**seconds: float) -> dict[Role, Account]:
    by_role = {Role(role): Account(call_seconds=s) for role, s in seconds.items()}
    for account in by_role.values():
        account.counts["calls"] = 1
    return by_role


def ledger_of(server: Server | None, leases: str | None = None, **seconds: float) -> dict[Role, Cost]:
    models = Models({"e": Endpoint("m", server=server, leases=leases)}, **{role: RoleConfig("e") for role in seconds})
    return make_ledger(accounts(**seconds), models, {"e": busy_for(10)})


def test_gpu_seconds_are_shared_by_call_seconds():
    server = Server("w", flags={"tensor-parallel-size": 2, "data-parallel-size": 4}, replicas=3)
    ledger = ledger_of(server, weak_solver=30.0, judge=10.0)
    assert (ledger[WEAK].gpu_seconds, ledger[JUDGE].gpu_seconds) == (60.0, 20.0)  # Slurm sets the number of replicas
    ledger = ledger_of(server, leases="there", weak_solver=30.0, judge=10.0)
    assert (ledger[WEAK].gpu_seconds, ledger[JUDGE].gpu_seconds) == (180.0, 60.0)


def test_a_process_counts_its_share_of_the_gpus():
    models = Models({"m": Endpoint("m", server=Server("w"))}, weak_solver=RoleConfig("m"))
    ledger = make_ledger(accounts(weak_solver=30.0), models, {"m": busy_for(10)}, gpu_share=0.25)
    assert ledger[WEAK].gpu_seconds == 2.5


@pytest.mark.parametrize(("shares", "seconds"), [(True, (7.5, 2.5)), (False, (10.0, 10.0))])
def test_servers_that_share_a_gpu_share_its_seconds(shares, seconds):
    endpoints = {name: Endpoint("m", server=Server("w", shares_gpus=shares)) for name in ("small", "large")}
    models = Models(endpoints, weak_solver=RoleConfig("small"), judge=RoleConfig("large"))
    busy = {costs.find_place(name, endpoint): busy_for(10) for name, endpoint in endpoints.items()}
    ledger = make_ledger(accounts(weak_solver=30.0, judge=10.0), models, busy)
    assert (ledger[WEAK].gpu_seconds, ledger[JUDGE].gpu_seconds) == seconds


def test_calls_to_servers_that_share_a_gpu_are_timed_together(journal):
    with fake_server(lambda body, count: completion("ok")) as server:
        models = models_at(server.url)
        models.endpoints["fake"].server = Server("w", shares_gpus=True)
        models.endpoints["other"] = deepcopy(models.endpoints["fake"])
        models.judge = RoleConfig("other", models.judge.sampling)
        client = Client(models, journal)

        async def go() -> None:
            for role in (WEAK, JUDGE):
                await client.ask(replace(request(text=role), role=role))
            await client.close()

        asyncio.run(go())
    assert (set(client.busy_at), len(client.busy_gpus)) == ({"fake", "other"}, 1)
    total = sum(cost.gpu_seconds for cost in client.ledger().values())
    assert 0 < total == pytest.approx(client.busy.seconds, abs=0.01)


@pytest.mark.parametrize("server", [None, Server("w", on_cpu=True)])
def test_gpu_seconds_are_unknown_without_a_server_or_gpus(server):
    assert costs.count_endpoint_gpus(Endpoint("m", server=server)) is None
    assert ledger_of(server, weak_solver=1.0)[WEAK].gpu_seconds is None


@given(COSTS, COSTS, COSTS)
def test_sessions_add_up_in_any_order(a, b, c):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Cost() == a
    assert add([{WEAK: a}, {}, {WEAK: b, JUDGE: c}]) == {WEAK: a + b, JUDGE: c}
    assert (a + b).gpu_seconds is None or None not in (a.gpu_seconds, b.gpu_seconds)


def test_a_call_is_counted_for_its_role_and_a_replay_is_no_call(journal):
    async def go(client: Client) -> None:
        for role in (WEAK, WEAK, JUDGE):
            await client.ask(replace(request(seed=1), role=role))
        await client.ask(request(seed=2))
        await client.close()

    with fake_server(lambda body, count: completion("ok") if count != 2 else completion("", "length")) as server:
        client = Client(models_at(server.url), journal)
        asyncio.run(go(client))
    ledger = client.ledger()
    assert len(server.requests) == 2
    ended = {"answered": 1, "cut_off": 1}
    assert ledger[WEAK] == Cost(2, 1, 22, 14, ledger[WEAK].call_seconds, gpu_seconds=None, outcomes=ended)
    assert ledger[JUDGE] == Cost(replayed=1)  # the role that first sent this prompt to this model pays for it
    assert ledger[WEAK].call_seconds > 0
    assert client.counts == {"calls": 2, "replayed": 2, "prompt_tokens": 22, "completion_tokens": 14, **ended}
    assert [account.running for account in client.accounts.values()] == [0, 0]


def test_retries_are_counted_for_their_role(ask):
    flaky = [completion("x"), completion("x")]
    flaky[0].status = 500
    _, _, client = ask(lambda body, count: flaky[count - 1], request())
    assert (client.ledger()[WEAK].retried, client.ledger()[WEAK].calls) == (1, 1)


def test_calls_under_way_overlap_in_busy_time():
    busy = BusyTime()
    with busy:
        with busy:
            pass
        assert (busy.running, busy.seconds > 0) == (1, True)
    before = busy.seconds
    assert busy.seconds == before


LEDGER = {WEAK: Cost(9, 5, 60, 30, gpu_seconds=3600.0), JUDGE: Cost(1, 0, 6, 4)}


@pytest.mark.parametrize(("key", "used"), [("calls", 10), ("tokens", 100), ("hours", 2.0), ("gpu_hours", 1.0)])
def test_each_limit_is_reached_exactly(key, used):
    assert find_spent_budget(Budget(**{key: used * 1.01}), LEDGER, 2.0) is None
    assert find_spent_budget(Budget(**{key: used}), LEDGER, 2.0).startswith(f"budget.{key}={used} is reached")


def test_without_limits_nothing_is_reached():
    assert find_spent_budget(Budget(), LEDGER, 1e9) is None


def test_no_call_is_made_once_a_limit_is_reached(ask, journal):
    with fake_server(lambda body, count: completion("ok")) as server:
        client = Client(models_at(server.url), journal)
        client.find_spent_budget = lambda: find_spent_budget(Budget(calls=2), client.ledger(), 0)

        async def go() -> list[object]:
            tasks = []
            for seed in (1, 2, 2, 3, 1):
                try:
                    tasks.append((await client.ask(request(seed=seed))).content)
                except Draining as drain:
                    tasks.append(str(drain))
            await client.close()
            return tasks

        answers = asyncio.run(go())
    assert answers == ["ok", "ok", "ok", "budget.calls=2 is reached (2 used): raise it", "ok"]
    assert client.draining
    assert len(server.requests) == 2
