"""How many calls an endpoint may have under way: more while its servers have room, fewer when they queue.

Additive increase, multiplicative decrease, from the servers' own metrics: waiting calls, use of the KV cache,
preemptions. So nobody tunes concurrency by hand, and a call's time-out is not spent in a queue.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from autodata.serving.leases import LeaseWatch, State

FIRST, MOST = 16, 8_192  # calls under way, per endpoint
_MORE = 8  # calls, per replica and look
_LESS = 0.75
_FULL, _ROOM = 0.95, 0.9  # use of the KV cache, as a share
_EVERY_S = 2.0


@dataclass(frozen=True)
class ServerLoad:
    """What the replicas of an endpoint say together."""

    replicas: int
    running: int
    waiting: int
    cache: float  # the fullest one's use of its KV cache, as a share
    preemptions: int  # since the servers started

    @classmethod
    def read(cls, pages: Iterable[str]) -> "ServerLoad":
        """From the text of each replica's /metrics."""
        found = [_sum_up(page) for page in pages]
        return cls(
            len(found),
            int(sum(f.get("vllm:num_requests_running", 0) for f in found)),
            int(sum(f.get("vllm:num_requests_waiting", 0) for f in found)),
            max((f.get("vllm:kv_cache_usage_perc", 0.0) for f in found), default=0.0),
            int(sum(f.get("vllm:num_preemptions_total", 0) for f in found)),
        )


def adjust(limit: int, load: ServerLoad, before: ServerLoad) -> int:
    """The next limit. It grows only where it is what holds the calls back."""
    queues = load.waiting > 0.1 * load.running + 1
    if queues or load.cache > _FULL or load.preemptions > before.preemptions:
        return max(load.replicas, int(limit * _LESS), 1)
    is_held_back = load.running >= 0.8 * limit
    if is_held_back and load.waiting == 0 and load.cache < _ROOM:
        return min(MOST, limit + _MORE * max(load.replicas, 1))
    return limit


class Limit:
    """At most so many at once; the number may change while some wait."""

    def __init__(self, most: int):
        self.most = most
        self.running = 0
        self._room = asyncio.Condition()

    async def set(self, most: int) -> None:
        async with self._room:
            self.most = most
            self._room.notify_all()

    async def __aenter__(self) -> "Limit":
        async with self._room:
            await self._room.wait_for(lambda: self.running < self.most)
            self.running += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        _: TracebackType | None) -> None:  # fmt: skip
        async with self._room:
            self.running -= 1
            self._room.notify()


class Controller:
    """Looks at the replicas of an endpoint, by their leases, and sets its limit."""

    def __init__(self, endpoint: str, leases: Path, limit: Limit):
        self._endpoint, self._watch, self._limit = endpoint, LeaseWatch(leases), limit
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        before: ServerLoad | None = None
        async with httpx2.AsyncClient(timeout=_EVERY_S) as http:
            while True:
                load = await self._look(http)
                if before and load.replicas:
                    await self._limit.set(adjust(self._limit.most, load, before))
                before = load
                await asyncio.sleep(_EVERY_S)

    async def _look(self, http: httpx2.AsyncClient) -> ServerLoad:
        urls = [lease.url for lease in self._watch.look()
                if lease.endpoint == self._endpoint and lease.state == State.READY]  # fmt: skip
        answers = await asyncio.gather(*(http.get(f"{u.removesuffix('/v1')}/metrics") for u in urls),
                                       return_exceptions=True)  # fmt: skip
        return ServerLoad.read(a.text for a in answers if isinstance(a, httpx2.Response) and a.status_code == 200)


def _sum_up(page: str) -> dict[str, float]:
    """Each metric over all its labels."""
    totals: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    return totals
