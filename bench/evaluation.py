"""Measures what autodata.eval.run costs besides its calls, against a plain asyncio client with the same calls.

    python -m bench.evaluation [--problems 200] [--samples 4] [--delay 1.0]

Both ask a loopback server that takes `--delay` seconds, with 64 calls at once; a second call judges every answer. The
plain client keeps nothing; autodata.eval.run stores every reply, writes inspect_ai's logs, computes the results.
One-time costs such as imports are left out, by a first evaluation of one problem; the end of a run counts.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path

import httpx

from autodata.config import load
from autodata.eval.run import evaluate
from autodata.recipes.evaluation import EvalRecipe
from autodata.run.folder import Run
from tests.helpers.fake_server import Scripted, completion, fake_server

AT_ONCE = 64
ANSWER = "Some words before it. Final answer: the group"
VERDICT = json.dumps({"reason": "so", "equivalent": True})


def serve(delay_s: float, urls: multiprocessing.Queue) -> None:
    """Serve in a process of its own, so that the server takes no time from either client."""

    def play(body: dict, count: int) -> Scripted:
        reply = completion(VERDICT if "equivalent" in str(body["messages"]) else ANSWER)
        reply.delay_s = delay_s
        return reply

    with fake_server(play) as server:
        urls.put(server.url)
        threading.Event().wait()


async def ask_plainly(url: str, samples: int) -> None:
    slots, limits = asyncio.Semaphore(AT_ONCE), httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def call(text: str) -> None:
            body = {"model": "fake", "messages": [{"role": "user", "content": text}], "max_tokens": 1024}
            async with slots:
                (await client.post(f"{url}/chat/completions", json=body)).raise_for_status()

        async def sample(number: int) -> None:
            await call(f"Which group has number {number}?")
            await call(f"equivalent? {number}")

        await asyncio.gather(*(sample(number) for number in range(samples)))


def evaluate_all(url: str, folder: Path, problems: int, samples: int) -> None:
    path = folder / "bench.jsonl"
    rows = [
        {"problem_statement": f"Which group has number {i}?", "answer": "S_3", "source_data": "ARB"}
        for i in range(problems)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = load(
        EvalRecipe,
        [
            "recipes/science/eval_base.yaml",
            f"run={folder}/run_{problems}",
            "dataset=null",
            f"samples={samples}",
            f"principia.path={path}",
            "label=fake",
            "evaluated={weights: null, endpoint: fake}",
            "models.judge.endpoint=fake",
            "models.endpoints.fake.model=fake",
            f"models.endpoints.fake.base_url={url}",
            f"models.endpoints.fake.max_in_flight={AT_ONCE}",
        ],
    )
    with Run(recipe.run, "eval", recipe, {}) as run:
        evaluate(recipe, run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=200, help="problems of the data set")
    parser.add_argument("--samples", type=int, default=4, help="answers per problem")
    parser.add_argument("--delay", type=float, default=1.0, help="seconds that the server takes for a call")
    options = parser.parse_args()
    total, urls = options.problems * options.samples, multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(options.delay, urls), daemon=True)
    process.start()
    url = urls.get()
    with tempfile.TemporaryDirectory() as folder:
        evaluate_all(url, Path(folder), 1, 1)
        start = time.perf_counter()
        asyncio.run(ask_plainly(url, total))
        plain = time.perf_counter() - start
        start = time.perf_counter()
        evaluate_all(url, Path(folder), options.problems, options.samples)
        ours = time.perf_counter() - start
    process.terminate()
    print(
        f"{total:,} samples: {plain:.1f} s with the plain client, {ours:.1f} s with autodata.eval.run, "
        f"ratio {ours / plain:.2f}, {1000 * (ours - plain) / total:+.1f} ms per sample"
    )


if __name__ == "__main__":
    main()
