"""Tests the limits that follow the load: both sides of every threshold, and the control loop over real servers."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.recipes.models import Server
from autodata.serving import limits
from autodata.serving.leases import Lease, LeaseWatch, State, read_leases, write_lease
from autodata.serving.limits import Limit, ServerLoad, adjust, follow_leases, follow_server
from tests.helpers import fake_server as fake_server_module
from tests.helpers.fake_server import completion, fake_server
from tests.helpers.recipes import request

pytestmark = pytest.mark.slow

IDLE = ServerLoad(2, 0, 0, 0.0, 0)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (ServerLoad(2, 80, 0, 0.5, 0), 116),  # held back by the limit: more, for each replica
        (ServerLoad(2, 79, 0, 0.5, 0), 100),  # the limit is not what holds back
        (ServerLoad(2, 80, 0, 0.9, 0), 100),  # no room for more
        (ServerLoad(2, 80, 9, 0.5, 0), 100),  # a few wait: as many as now
        (ServerLoad(2, 80, 10, 0.5, 0), 75),  # too many wait
        (ServerLoad(2, 10, 0, 0.95, 0), 100),
        (ServerLoad(2, 10, 0, 0.96, 0), 75),
        (ServerLoad(2, 10, 0, 0.5, 1), 75),  # a preemption since the last look
        (ServerLoad(90, 10, 50, 0.5, 0), 90),  # never fewer than one for each replica
    ],
)
def test_the_next_limit(load, expected):
    assert adjust(100, load, IDLE) == expected


LOADS = st.builds(
    ServerLoad, st.integers(0, 9), st.integers(0, 10_000), st.integers(0, 500), st.floats(0, 1), st.integers(0, 9)
)


@given(st.lists(LOADS, max_size=30))
def test_any_load_leaves_a_limit_that_lets_calls_through(loads):
    limit, before = limits.FIRST_LIMIT, IDLE
    for load in loads:
        limit, before = adjust(limit, load, before), load
        assert 1 <= limit <= limits.MAX_LIMIT


def test_metrics_of_several_replicas_are_summed_over_their_engines():
    page = (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0"} 3.0\nvllm:num_requests_running{engine="1"} 4.0\n'
        'vllm:num_requests_waiting{engine="0"} 1.0\nvllm:kv_cache_usage_perc{engine="0"} 0.5\n'
        "# TYPE vllm:num_preemptions counter\nvllm:num_preemptions_total 2.0\n"
    )
    assert ServerLoad.read([page, page.replace("0.5", "0.7")]) == ServerLoad(2, 14, 2, 0.7, 4)
    assert ServerLoad.read([]) == ServerLoad(0, 0, 0, 0.0, 0)


@pytest.mark.parametrize(
    "page", ["", "<html>not found</html>", '{"detail": "no"}', "llamacpp:requests_processing 3\n"]
)
def test_a_page_that_is_not_of_vllm_is_no_replica(page):
    assert ServerLoad.read([page]).replicas == 0


def test_no_more_at_once_than_the_limit_of_the_moment():
    async def go() -> list[int]:
        limit, seen = Limit(2), []

        async def call() -> None:
            async with limit:
                seen.append(limit.running)
                await asyncio.sleep(0.001)

        calls = asyncio.gather(*(call() for _ in range(30)))
        await asyncio.sleep(0.002)
        at_two = max(seen)
        limit.set(5)
        await calls
        return [at_two, max(seen), limit.running]

    assert asyncio.run(go()) == [2, 5, 0]


def test_a_call_that_is_cancelled_gives_its_place_back():
    async def go() -> int:
        limit = Limit(1)
        async with limit:
            waiting = asyncio.create_task(limit.__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        async with asyncio.timeout(1), limit:
            return limit.running

    assert asyncio.run(go()) == 1


def test_a_call_that_is_cancelled_just_as_its_turn_comes_gives_it_to_the_next():
    async def go() -> list[int]:
        limit = Limit(1)
        await limit.__aenter__()
        first, second = (asyncio.create_task(limit.__aenter__()) for _ in range(2))
        await asyncio.sleep(0)
        await limit.__aexit__()  # the first one's turn, before it has run again
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        async with asyncio.timeout(1):
            await second
        running = limit.running
        await limit.__aexit__()
        return [running, limit.running]

    assert asyncio.run(go()) == [1, 0]


def lease(folder: Path, url: str, beat: int = 1, **values: object) -> Lease:
    defaults = {"endpoint": "weak", "replica": 0, "job": "7", "model": "m", "deadline": 0.0}
    record = Lease(**{**defaults, "url": url, "state": State.READY, "beat": beat, **values})
    write_lease(folder, record)
    return record


def test_the_limit_follows_the_servers_that_the_leases_name(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "_EVERY_S", 0.02)

    async def go(url: str) -> list[int]:
        limit, seen = Limit(10), []
        controller = asyncio.create_task(follow_leases("weak", tmp_path, limit))
        for running in (10, 0):
            server.running = running
            start = limit.most
            async with asyncio.timeout(5):
                while running and limit.most == start:
                    await asyncio.sleep(0.01)
            seen.append(limit.most)
        controller.cancel()
        return seen

    with fake_server(lambda body, count: completion("x")) as server:
        lease(tmp_path, server.url)
        lease(tmp_path, "http://127.0.0.1:9/v1", replica=1)  # nobody answers there
        first, second = asyncio.run(go(server.url))
    assert first == 18
    assert second >= first


async def follow_until(server, limit: Limit, changes: Callable[[int], bool]) -> int:
    """Let the limit follow a server until its size is as wanted."""
    following = asyncio.create_task(follow_server(server.url, limit))
    async with asyncio.timeout(5):
        while not changes(limit.most):
            await asyncio.sleep(0.005)
    following.cancel()
    return limit.most


def test_the_limit_follows_a_local_server_both_ways(monkeypatch):
    monkeypatch.setattr(limits, "_EVERY_S", 0.02)
    with fake_server(lambda body, count: completion("x")) as server:
        limit = Limit(64)
        server.running = 64
        assert asyncio.run(follow_until(server, limit, lambda most: most > 64)) == 72
        server.waiting = 9
        assert asyncio.run(follow_until(server, limit, lambda most: most < 72)) == 54
        assert limit.ceiling == 0  # a success proves nothing about a server whose load is known


def test_a_server_that_reports_no_load_is_not_asked_again(monkeypatch):
    monkeypatch.setattr(fake_server_module._Handler, "_measure", lambda handler: b"<html>no such page</html>")
    limit = Limit(64)
    with fake_server(lambda body, count: completion("x")) as server:
        asyncio.run(asyncio.wait_for(follow_server(server.url, limit), 5))
    asyncio.run(asyncio.wait_for(follow_server("http://127.0.0.1:9/v1", limit), 5))
    assert (limit.most, limit.ceiling) == (64, 64)


@pytest.mark.parametrize(
    ("values", "ceiling"),
    [
        ({}, 0),
        ({"api_key_env": "SOME_KEY", "server": Server("w")}, 0),
        ({"api_key_env": "SOME_KEY"}, 64),  # a provider is not asked for its load
        ({"headers": {"api-key": "$SOME_KEY"}}, 64),
        ({"headers": {"x-title": "mine"}}, 0),
        ({"max_in_flight": 5}, 5),  # the recipe decides
    ],
)
def test_whose_load_a_client_follows(ask, monkeypatch, values, ceiling):
    monkeypatch.setenv("SOME_KEY", "a key of some length")
    script = lambda body, count: replace(completion("x"), delay_s=0.2)  # noqa: E731
    _, _, client = ask(script, request(), **values)
    assert client._lines["fake"].limit.ceiling == ceiling


def test_leases_are_read_whole_or_not_at_all(tmp_path):
    kept = lease(tmp_path, "http://a/v1")
    (tmp_path / "broken.json").write_text('{"endpoint": "weak"')
    (tmp_path / "other.json").write_text("[]")
    (tmp_path / ".weak-8-0.json.new").write_text("{}")
    assert read_leases(tmp_path) == [kept]
    assert read_leases(tmp_path / "none") == []


def test_a_lease_is_stale_by_the_readers_clock_only(tmp_path, monkeypatch):
    clock = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    watch = LeaseWatch(tmp_path, stale_s=30)
    lease(tmp_path, "http://a/v1", beat=1)
    assert len(watch.look()) == 1
    clock[0] += 30
    assert len(watch.look()) == 1
    clock[0] += 1
    assert watch.look() == []
    lease(tmp_path, "http://a/v1", beat=2)
    assert len(watch.look()) == 1
    lease(tmp_path, "http://a/v1", beat=3, state=State.ENDED)
    assert watch.look() == []
