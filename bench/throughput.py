"""Tokens per second of `generate`, as a share of what the same server gives a plain saturating load.

    python -m autodata.servers recipes/demo/generate.yaml run=runs/bench/server     # in one terminal
    python bench/throughput.py models.endpoints.small.base_url=http://127.0.0.1:PORT/v1

Both loads run on one server, one after the other, alternating, with the same requests in flight. The
plain load sends the requests that generate had sent, all at once; a first run, not counted, fills the
prefix cache for both.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from autodata.config import load
from autodata.corpora.files import read_corpus
from autodata.domains import base
from autodata.harness import Harness
from autodata.journal import Journal
from autodata.llm import Client
from autodata.orchestrator import orchestrate
from autodata.recipes import GenerateRecipe
from autodata.request import Request

Work = Callable[["Recording"], Awaitable[None]]


class Recording(Client):
    """A client that remembers what it was asked."""

    def __init__(self, *arguments: object):
        super().__init__(*arguments)
        self.asked: list[Request] = []

    async def ask(self, request: Request):
        self.asked.append(request)
        return await super().ask(request)


async def run_loop(client: Recording, recipe: GenerateRecipe) -> None:
    """The inner loop on every document, as many at once as the recipe says."""
    domain = base.load(recipe.domain, client, recipe.seed)
    slots = asyncio.Semaphore(recipe.documents_in_flight)

    async def one(document) -> None:
        async with slots:
            await orchestrate(Harness(domain, document, "agentic"))

    await asyncio.gather(*(one(d) for d in read_corpus(recipe.documents.path, recipe.documents.limit).documents))


async def saturate(client: Client, requests: list[Request]) -> None:
    """Every request as soon as the endpoint's limit lets it through."""
    await asyncio.gather(*(client.ask(r) for r in requests))


def measure(recipe: GenerateRecipe, work: Work) -> tuple[float, Recording]:
    """Generated tokens per second of one load, with an empty journal of its own."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        client = Recording(recipe.models, journal)

        async def go() -> float:
            start = time.monotonic()
            await work(client)
            seconds = time.monotonic() - start
            await client.close()
            return client.counts["completion_tokens"] / seconds

        try:
            return asyncio.run(go()), client
        finally:
            journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="+", help="models.endpoints.small.base_url=… and other key=value")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    recipe = load(GenerateRecipe, ["recipes/demo/generate.yaml", "domain.max_rounds=4", *options.overrides])
    ratios = []
    _, client = measure(recipe, lambda c: run_loop(c, recipe))  # warms the server's prefix cache for both
    for _ in range(options.pairs):
        loop, client = measure(recipe, lambda c: run_loop(c, recipe))
        plain, _ = measure(recipe, lambda c, asked=client.asked: saturate(c, asked))
        ratios.append(loop / plain)
        print(f"generate {loop:.1f} tokens/s, plain load {plain:.1f} tokens/s, ratio {loop / plain:.2f}", flush=True)
    print(json.dumps({"pairs": len(ratios), "median_ratio": round(median(ratios), 3)}))


if __name__ == "__main__":
    main()
