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


async def time_calls(url: str, calls: int, concurrency: int) -> float:
    """Return the mean milliseconds per call, as the caller sees them."""
    slots, seconds = asyncio.Semaphore(concurrency), []
    async with httpx.AsyncClient(limits=httpx.Limits(max_connections=concurrency), timeout=60) as client:

        async def one() -> None:
            async with slots:
                start = time.perf_counter()
                (await client.post(f"{url}/chat/completions", json=BODY)).raise_for_status()
                seconds.append(time.perf_counter() - start)

        await asyncio.gather(*(one() for _ in range(calls)))
    return 1000 * sum(seconds) / len(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=300, help="calls per round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each way")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, fake_server(lambda body, count: completion("fine")) as server:
        router = Router("weak", "cache_aware", Path(folder) / "log")
        try:
            router.follow([server.url])
            for concurrency in (1, 8):
                rounds = [
                    [asyncio.run(time_calls(url, options.calls, concurrency)) for url in (server.url, router.url)]
                    for _ in range(options.rounds)
                ]
                straight, routed = (median(way) for way in zip(*rounds, strict=True))
                print(
                    f"concurrency {concurrency}, ms per call: {straight:.2f} straight, {routed:.2f} routed, "
                    f"difference {routed - straight:+.2f}, ratio {routed / straight:.2f}"
                )
        finally:
            router.stop()


if __name__ == "__main__":
    main()
