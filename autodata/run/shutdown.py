"""Work that ends well: at once when a server dies, after the calls under way on Ctrl-C or SIGTERM."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from autodata.serving.llm import Client
from autodata.serving.vllm import RunningServer, watch


async def finish(work: Coroutine[Any, Any, None], client: Client, servers: list[RunningServer]) -> None:
    """The work, ended early by a dead server (ServerError) or a signal; the client is closed in the end."""
    task = asyncio.create_task(work)
    guard = asyncio.create_task(watch(servers))
    _drain_on_signal(client, task)
    try:
        done, _ = await asyncio.wait({task, guard}, return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        for left in (task, guard):
            left.cancel()
        await asyncio.gather(task, guard, return_exceptions=True)
        await client.close()


def _drain_on_signal(client: Client, work: asyncio.Task[None]) -> None:
    def stop() -> None:
        if client.draining:
            work.cancel()
            return
        client.draining = True
        print("\nstopping: calls under way are finished and kept (again: stop at once)", file=sys.stderr)

    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
