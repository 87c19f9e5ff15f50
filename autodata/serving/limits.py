"""Sets how many calls an endpoint may have in flight: more while its servers have room, fewer when they queue.

The rule is additive increase, multiplicative decrease, from the servers' own metrics: waiting calls, use of the KV
cache, preemptions. So nobody tunes concurrency by hand, and a call's time-out is not spent in a queue.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from autodata.recipes.models import Models
from autodata.serving.leases import LeaseWatch, State

FIRST_LIMIT, MAX_LIMIT = 16, 8_192  # calls in flight per endpoint: at the start, and at most
_STEP = 8  # calls that are added per replica at each look
_SHRINK_FACTOR = 0.75  # factor by which the limit shrinks
_FULL_CACHE, _FREE_CACHE = 0.95, 0.9  # share of the KV cache in use: above the first shrink, below the second grow
_EVERY_S = 2.0


@dataclass(frozen=True)
class ServerLoad:
    """The load that the replicas of an endpoint report, taken together."""

    replicas: int
    running: int
    waiting: int
    cache: float  # share of the KV cache in use, on the fullest replica
    preemptions: int  # since the servers started

    @classmethod
    def read(cls, pages: Iterable[str]) -> "ServerLoad":
        """Read the load from the text of each replica's /metrics."""
        replicas: list[Counter[str]] = []  # each metric is summed over all its labels
        for page in pages:
            replicas.append(Counter())
            for sample in (s for family in text_string_to_metric_families(page) for s in family.samples):
                replicas[-1][sample.name] += sample.value
        total = sum(replicas, Counter())
        return cls(
            len(replicas),
            int(total["vllm:num_requests_running"]),
            int(total["vllm:num_requests_waiting"]),
            max((replica.get("vllm:kv_cache_usage_perc", 0.0) for replica in replicas), default=0.0),
            int(total["vllm:num_preemptions_total"]),
        )


def adjust(limit: int, load: ServerLoad, before: ServerLoad) -> int:
    """Compute the next limit. It grows only if the limit itself holds the calls back."""
    queues = load.waiting > 0.1 * load.running + 1
    if queues or load.cache > _FULL_CACHE or load.preemptions > before.preemptions:
        return max(load.replicas, shrink(limit))
    if load.running >= 0.8 * limit and load.waiting == 0 and load.cache < _FREE_CACHE:
        return min(MAX_LIMIT, limit + _STEP * max(load.replicas, 1))
    return limit


def divide_limits(models: Models, processes: int) -> Models:
    """Divide the calls at once and the rates that a recipe allows among processes that all ask the same endpoints."""
    divided = deepcopy(models)
    for endpoint in divided.endpoints.values():
        if endpoint.max_in_flight is not None:
            endpoint.max_in_flight = max(1, endpoint.max_in_flight // processes)
        if endpoint.requests_per_minute is not None:
            endpoint.requests_per_minute /= processes
        if endpoint.tokens_per_minute is not None:
            endpoint.tokens_per_minute /= processes
    return divided


def shrink(limit: int) -> int:
    return max(1, int(limit * _SHRINK_FACTOR))


class Limit:
    """Lets at most `most` calls run at once. The number may change while calls wait."""

    def __init__(self, most: int):
        self.most, self.running = most, 0
        self._room = asyncio.Condition()

    async def set(self, most: int) -> None:
        async with self._room:
            self.most = most
            self._room.notify_all()

    async def __aenter__(self) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self.running < self.most)
            self.running += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._room:
            self.running -= 1
            self._room.notify()


async def control(endpoint: str, leases: Path, limit: Limit) -> None:
    """Find the replicas of an endpoint by their leases, read their load and set the endpoint's limit, endlessly."""
    watch = LeaseWatch(leases)
    before: ServerLoad | None = None
    async with httpx2.AsyncClient(timeout=_EVERY_S) as http:
        while True:
            ready = [r for r in watch.look() if r.endpoint == endpoint and r.state == State.READY]
            requests = (http.get(f"{replica.url.removesuffix('/v1')}/metrics") for replica in ready)
            answers = await asyncio.gather(*requests, return_exceptions=True)
            load = ServerLoad.read(a.text for a in answers if isinstance(a, httpx2.Response) and a.status_code == 200)
            if before and load.replicas:
                await limit.set(adjust(limit.most, load, before))
            before = load
            await asyncio.sleep(_EVERY_S)
