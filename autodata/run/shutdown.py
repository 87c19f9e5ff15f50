"""Graceful shutdown: stop at once if a server dies; on Ctrl-C or SIGTERM finish the calls in flight first."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from autodata.serving.llm import Client
from autodata.serving.vllm import RunningServer, watch

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T], clients: Sequence[Client], servers: list[RunningServer]) -> T:
    """Run `work`, then close the clients. A signal drains them, a second one cancels `work`. Raises ServerError."""
    task = asyncio.create_task(work)
    guard = asyncio.create_task(watch(servers))
    _drain_on_signal(clients, task)
    try:
        await asyncio.wait({task, guard}, return_when=asyncio.FIRST_COMPLETED)
        if guard.done():
            guard.result()
        return task.result()
    finally:
        for unfinished in (task, guard):
            unfinished.cancel()
        await asyncio.gather(task, guard, return_exceptions=True)
        for client in clients:
            await client.close()


def _drain_on_signal(clients: Sequence[Client], work: asyncio.Task[Any]) -> None:
    def stop() -> None:
        if all(client.draining for client in clients):
            work.cancel()
            return
        for client in clients:
            client.draining = True
        message = "stopping: calls in flight are finished and their replies kept; press Ctrl-C again to stop at once"
        print(f"\n{message}", file=sys.stderr)

    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop)
