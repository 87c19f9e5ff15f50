"""Keeps the calls to one endpoint within its rate: as many a minute as it allows, fewer at once after a refusal."""

import asyncio
import logging
import time
from collections.abc import Callable

from autodata.recipes.models import Endpoint
from autodata.serving.limits import Limit, shrink

log = logging.getLogger("autodata")
_TOLD_EVERY_S = 30.0  # the same wait is not reported more often


class Pace:
    """The rate of one endpoint. `limit` bounds its calls in flight, and never grows beyond its ceiling here.

    The limit follows additive increase, multiplicative decrease: a refusal (HTTP 429) shrinks it by a quarter, once
    for all calls that were in flight, and as many successes as it has places add one place.
    """

    def __init__(self, endpoint: Endpoint, limit: Limit):
        self._endpoint, self._limit = endpoint, limit
        self._resume_at = self._told_at = self._shrunk_at = float("-inf")
        self._next_request = self._next_token = float("-inf")
        self._last_success = time.monotonic()
        self._successes = 0

    async def wait(self, tokens: int, require_room: Callable[[], None]) -> None:
        """Wait for the turn of a call whose prompt has `tokens`. `require_room` raises if no call may be started."""
        turn = self._reserve(tokens)
        while (seconds := max(turn, self._resume_at) - time.monotonic()) > 0:
            await asyncio.sleep(min(seconds, 1.0))
            require_room()

    def count(self, tokens: int) -> None:
        """Count tokens that a reply took beyond those that its call had reserved."""
        if self._endpoint.tokens_per_minute:
            self._next_token = max(time.monotonic(), self._next_token) + 60 * tokens / self._endpoint.tokens_per_minute

    def speed_up(self) -> None:
        """Note a success, which may allow one more call at once."""
        self._last_success = time.monotonic()
        self._successes += 1
        if self._limit.most < self._limit.ceiling and self._successes >= self._limit.most:
            self._successes = 0
            self._limit.set(self._limit.most + 1)

    def slow_down(self, seconds: float, who: str, words: str) -> bool:
        """Let all calls wait after a refusal; False if that exceeds the endpoint's patience_s."""
        now = time.monotonic()
        if seconds + now - self._last_success > self._endpoint.patience_s:
            return False
        if now > max(self._shrunk_at, self._resume_at):
            self._shrunk_at, self._successes = now + seconds, 0
            self._limit.set(shrink(self._limit.most))
        self._resume_at = max(self._resume_at, now + seconds)
        if seconds >= 1 and now > self._told_at + _TOLD_EVERY_S:
            self._told_at = now
            log.warning("%s is busy: %s waits %.0f s (%s)", self._endpoint.base_url, who, seconds, words)
        return True

    def _reserve(self, tokens: int) -> float:
        """Reserve the next turn that the rates of the recipe allow; return its time in seconds (monotonic)."""
        turn = now = time.monotonic()
        if self._endpoint.requests_per_minute:
            turn = max(turn, self._next_request)
            self._next_request = turn + 60 / self._endpoint.requests_per_minute
        if self._endpoint.tokens_per_minute:
            turn = max(turn, self._next_token)
            self._next_token = max(now, self._next_token) + 60 * tokens / self._endpoint.tokens_per_minute
        return turn
