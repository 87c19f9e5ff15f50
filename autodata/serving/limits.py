"""Sets how many calls an endpoint may have in flight: more while its servers have room, fewer when they queue.

The rule is additive increase, multiplicative decrease, from the servers' own metrics: waiting calls, use of the KV
cache, preemptions. So nobody tunes concurrency by hand, and a call's time-out is not spent in a queue. Where no server
reports its load, wire/pace.py follows the refusals instead.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from autodata.recipes.models import Models
from autodata.serving.leases import LeaseWatch, State

FIRST_LIMIT, MAX_LIMIT = 16, 8_192  # calls in flight per endpoint: at the start, and at most
_STEP = 8  # calls that are added per replica at each look
_SHRINK_FACTOR = 0.75  # factor by which the limit shrinks
_FULL_CACHE, _FREE_CACHE = 0.95, 0.9  # share of the KV cache in use: above the first shrink, below the second grow
_EVERY_S = 2.0
_RUNNING = "vllm:num_requests_running"


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
        """Read the load from the text of each replica's /metrics. A page that is not vLLM's is left out."""
        replicas: list[Counter[str]] = []  # each metric is summed over all its labels
        for page in (page for page in pages if _RUNNING in page):
            replicas.append(Counter())
            for sample in (s for family in text_string_to_metric_families(page) for s in family.samples):
                replicas[-1][sample.name] += sample.value
        total = sum(replicas, Counter())
        return cls(
            len(replicas),
            int(total[_RUNNING]),
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
    """Lets at most `most` calls run at once, in the order in which they came. The number may change while calls wait.

    `ceiling` is how far successes alone may raise it: 0 where the servers' metrics set it, because there a success
    proves nothing about their room.
    """

    def __init__(self, most: int):
        self.most = self.ceiling = most
        self.running = 0
        # Not an asyncio.Condition: that one looks at every waiting call when one ends, and thousands may wait.
        self._waiting: deque[asyncio.Future[None]] = deque()

    def set(self, most: int) -> None:
        self.most = most
        self._admit()

    async def __aenter__(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn had come just before
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self.running -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.running < self.most:
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self.running += 1
                turn.set_result(None)


async def follow_leases(endpoint: str, leases: Path, limit: Limit) -> None:
    """Let the limit of an endpoint follow the load of the replicas that have a lease, endlessly."""
    watch = LeaseWatch(leases)

    def find_urls() -> list[str]:
        return [lease.url for lease in watch.look() if lease.endpoint == endpoint and lease.state == State.READY]

    await _follow(find_urls, limit)


async def follow_server(url: str, limit: Limit) -> None:
    """Let the limit of an endpoint follow the load of its one server, endlessly; not if it reports none at first."""
    if (await read_load([url])).replicas:
        await _follow(lambda: [url], limit)


async def _follow(find_urls: Callable[[], Sequence[str]], limit: Limit) -> None:
    limit.ceiling = 0
    before: ServerLoad | None = None
    while True:
        load = await read_load(find_urls())
        if before and load.replicas:
            limit.set(adjust(limit.most, load, before))
        before = load
        await asyncio.sleep(_EVERY_S)


async def read_load(urls: Iterable[str]) -> ServerLoad:
    """Read the load of the servers at these base URLs. Those that do not answer in time are left out."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(_EVERY_S)) as http:
        return ServerLoad.read(await asyncio.gather(*(_read_metrics(http, url) for url in urls)))


async def _read_metrics(http: aiohttp.ClientSession, url: str) -> str:
    """Read a server's /metrics; an empty text if it has none."""
    try:
        async with http.get(f"{url.partition('?')[0].rstrip('/').removesuffix('/v1')}/metrics") as response:
            return await response.text(errors="replace") if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return ""
