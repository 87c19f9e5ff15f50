"""Measures what vllm-router adds to a call, against the same calls sent straight to the replica.

    python -m bench.router

A loopback server answers at once. Rounds of both ways alternate; the result is the median of the rounds.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

import httpx

from autodata.cluster.router import Router
from tests.helpers.fake_server import completion, fake_server

BODY = {"model": "fake", "messages": [{"role": "user", "content": "word " * 3000}]}


async def time_calls(url: str, calls: int, at_once: int) -> float:
    """Return the mean milliseconds per call, as the caller sees them."""
    slots, taken = asyncio.Semaphore(at_once), []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=at_once), timeout=60) as client:

        async def one() -> None:
            async with slots:
                start = time.perf_counter()
                (await client.post(f"{url}/chat/completions", json=BODY)).raise_for_status()
                taken.append(time.perf_counter() - start)

        await asyncio.gather(*(one() for _ in range(calls)))
    return 1000 * sum(taken) / len(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, fake_server(lambda body, count: completion("fine")) as server:
        router = Router("weak", "cache_aware", Path(folder) / "log")
        try:
            router.follow([server.url])
            for at_once in (1, 8):
                rounds = [
                    [asyncio.run(time_calls(url, options.calls, at_once)) for url in (server.url, router.url)]
                    for _ in range(options.rounds)
                ]
                straight, routed = (median(way) for way in zip(*rounds, strict=True))
                print(
                    f"{at_once} at once: {straight:.2f} ms straight, {routed:.2f} ms through the router, "
                    f"{routed - straight:+.2f} ms, ratio {routed / straight:.2f}"
                )
        finally:
            router.stop()


if __name__ == "__main__":
    main()
