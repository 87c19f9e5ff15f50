"""Judges the answers of a step concurrently, and may start with some of them while others are still generated."""

import asyncio
import hashlib
import math
import time
from collections import defaultdict
from collections.abc import Awaitable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from autodata.loop.agents import gather_all
from autodata.loop.domain import Domain
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError, PromptCut
from autodata.serving.request import resolve_sampling
from autodata.serving.wire.faults import HttpError
from autodata.training.rewards.counts import Books
from autodata.types import CANDIDATE, Judgement, Role

Case = tuple[str, str]  # a candidate as JSON, and the answer to judge
_SLACK = 4.0  # factor on the time that all replies would take at their full length
_LATE = "no reply before the deadline of the step"


@dataclass(frozen=True)
class Scored:
    """A judge's score of one completion, or the reason why there is none."""

    score: float | None
    reason: str  # one text for all failures of a kind
    problem: str  # the full message


class JudgeRunner:
    """Runs the judgements of one judge.

    A judgement follows from its case alone. So `judge_all` may use one that `start` began, and it makes the same
    calls in both cases. `books` writes its file as long as a judgement is in flight.
    """

    def __init__(self, domain: Domain, client: Client, books: Books):
        self._domain, self._client, self._books = domain, client, books
        self._started: defaultdict[Case, list[Future[Judgement]]] = defaultdict(list)
        self._first_start, self._last_end = math.inf, -math.inf

    def start(self, case: Case, loop: asyncio.AbstractEventLoop) -> None:
        """Start one judgement on `loop`, where `judge_all` will run too. Any thread may call this."""
        self._started[case].append(asyncio.run_coroutine_threadsafe(self._judge(case), loop))

    async def judge_all(self, cases: Mapping[int, Case]) -> dict[int, Scored]:
        """Finish the started judgements and make the others; one that is not there by the deadline has no score.

        The deadline counts from this call. Raises PromptCut.
        """
        limit_s = self._limit_s(len(cases))
        scored = await gather_all([self._finish(self._take(case), limit_s) for case in cases.values()])
        self._started.clear()
        return dict(zip(cases, scored, strict=True))

    def measure_span(self) -> float | None:
        """Return the seconds from the first start to the last end since the last call; None without a judgement."""
        span = self._last_end - self._first_start
        self._first_start, self._last_end = math.inf, -math.inf
        return span if span >= 0 else None

    def _take(self, case: Case) -> Awaitable[Judgement]:
        started = self._started[case]
        return asyncio.wrap_future(started.pop()) if started else self._judge(case)

    async def _finish(self, judging: Awaitable[Judgement], limit_s: float | None) -> Scored:
        try:
            async with asyncio.timeout(limit_s):
                judgement = await judging
        except PromptCut:
            raise  # this judge gets truncated prompts, so none of its scores count
        except TimeoutError:
            return Scored(None, _LATE, _LATE)
        except EndpointError as error:
            return Scored(None, name_failure(error), str(error))
        return Scored(judgement.score, judgement.reason, judgement.reason)

    async def _judge(self, case: Case) -> Judgement:
        candidate, answer = CANDIDATE.validate_json(case[0]), case[1]
        seed = int.from_bytes(hashlib.sha256((candidate.hash + answer).encode()).digest()[:4], "big") >> 1
        self._first_start = min(self._first_start, time.monotonic())
        try:
            async with self._books.keep_writing():
                return await self._domain.judge(candidate, answer, seed)
        finally:
            self._last_end = time.monotonic()

    def _limit_s(self, calls: int) -> float | None:
        """Compute a deadline from the longest possible replies and the tokens per second so far; None before any."""
        role, tokens = self._client.models.judge, self._client.counts["completion_tokens"]
        if role is None or not tokens or not self._client.busy.seconds:
            return None
        endpoint = self._client.models.endpoints[role.endpoint]
        max_tokens = resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE).max_tokens or 0
        return endpoint.timeout_s + _SLACK * calls * max_tokens * self._client.busy.seconds / tokens


def name_failure(error: EndpointError) -> str:
    """Name the kind of an endpoint's failure, without its URL and the seconds it took."""
    cause = error.__cause__ or error
    return f"HTTP {cause.status}" if isinstance(cause, HttpError) else type(cause).__name__
