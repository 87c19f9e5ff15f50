"""Sends a request until there is a reply: again after a passing fault, and as often as it takes at a busy endpoint."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from autodata.recipes.models import Endpoint
from autodata.serving.wire.faults import SHOWN_CHARS, Fault, HttpError
from autodata.serving.wire.meaning import Kind, interpret
from autodata.serving.wire.pace import Pace
from autodata.serving.wire.waits import backoff, read_wait

T = TypeVar("T")


class Caller(Protocol):
    """Who sends a request, and under which conditions."""

    who: str  # role
    tokens: int  # about as many as its prompt has

    def require_room(self) -> None:
        """Raise if no call may be started any more."""

    def count_retry(self, fault: Fault) -> None:
        """Note that the request is sent again after this fault."""


class NoAnswer(Fault):
    """A reply with HTTP 200 that is no answer; `is_passing` if another try may bring one."""

    is_passing = False


async def persist(send: Callable[[], Awaitable[T]], endpoint: Endpoint, pace: Pace, caller: Caller) -> T:
    """Return the first reply. Raises the Fault after which no other try can help, or the last one allowed."""
    failures = refusals = 0
    while True:
        await pace.wait(caller.tokens, caller.require_room)
        try:
            reply = await send()
        except Fault as fault:
            if isinstance(fault, HttpError) and interpret(fault).kind is Kind.BUSY:
                refusals += 1
                seconds = read_wait(fault) or backoff(refusals)
                words = f"HTTP {fault.status}, {fault.words[:SHOWN_CHARS]}"
                if not pace.slow_down(seconds, caller.who, words):
                    raise
            elif failures < endpoint.retries and _is_passing(fault):
                failures += 1
                if not isinstance(fault, NoAnswer):  # then the server is up and idle
                    await asyncio.sleep(_find_wait(fault, failures))
            else:
                raise
            caller.count_retry(fault)
        else:
            pace.speed_up()
            return reply


def _is_passing(fault: Fault) -> bool:
    return fault.is_passing if isinstance(fault, NoAnswer) else interpret(fault).kind is Kind.PASSING


def _find_wait(fault: Fault, failures: int) -> float:
    """Return the wait that a server asks for (at most two minutes, because it may be down for good), else backoff."""
    asked = read_wait(fault) if isinstance(fault, HttpError) else None
    return min(asked, 120.0) if asked else backoff(failures)
