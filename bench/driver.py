"""Measures the engine's own cost at several numbers of documents: requests a second over the ideal, CPU, memory.

    python -m bench.driver [--documents 100 1000 10000] [--in-flight 2048] [--latency 1.0] [--spread 0.5]
    python -m bench.driver --beside ../older --documents 1500 1500 1500    # in turn with another checkout

A loopback server in another process answers every call after `--latency` seconds, fixed or log-normal, with a body
made beforehand; `autodata.generate` plays skills on synthetic documents, one round of five calls each (one of the
challenger, two of each solver), all documents at once. A run of one document is subtracted; the rest is the cost of
more documents. At its beginning and end a run has fewer calls in flight than it may have, whatever the engine does, so
the rate of the middle 80 % of calls is shown too. With `--beside`, another checkout is measured after each run of this
one, and the ratios of the processor time of a call are printed: only these can be trusted while other programs use
the same cores. Runs lie in the folder for temporary files (TMPDIR); a slow disk limits the calls a second.
"""

import argparse
import asyncio
import json
import math
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import uvloop
from aiohttp import web

from autodata.stats.writing import write_row, write_table
from tests.helpers.fake_server import MODEL, completion

HEADER = [
    "documents",
    "calls",
    "calls/s",
    "share of the ideal",
    "share in the middle",
    "CPU ms per call",
    "kB per document",
]
WORDS = 180  # per document, about 2 kB
_CHALLENGER = json.dumps(completion('{"passage": 1, "skill": 1}').body).encode()
_SOLVER = json.dumps(completion("nothing of the kind”").body).encode()


@dataclass(frozen=True)
class RunCost:
    """The cost of one run of the command."""

    documents: int
    calls: int
    working_s: float
    cpu_s: float
    peak_mb: float
    middle: float  # calls a second, without the first and the last tenth

    def call_ms(self, least: "RunCost") -> float:
        """Compute the processor time of a call, without that of starting the command, which `least` measured."""
        return 1000 * (self.cpu_s - least.cpu_s) / (self.calls - least.calls)

    def row(self, least: "RunCost", ideal: float) -> str:
        """Write a line of the table, without the cost of starting the command, which `least` measured."""
        rate = self.calls / self.working_s
        kb = 1000 * (self.peak_mb - least.peak_mb) / (self.documents - least.documents)
        shares = f"{rate / ideal:.2f}", f"{self.middle / ideal:.2f}"
        return write_row(
            [self.documents, self.calls, f"{rate:.0f}", *shares, f"{self.call_ms(least):.2f}", f"{kb:.0f}"]
        )


def serve(latency_s: float, spread: float, urls: multiprocessing.Queue) -> None:
    """Serve in a process of its own, so that the server takes no time from the engine."""
    centre = math.log(latency_s) - spread**2 / 2  # keeps the mean at latency_s
    arrivals: list[float] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        arrivals.append(time.monotonic())
        await asyncio.sleep(random.lognormvariate(centre, spread) if spread else latency_s)
        reply = _CHALLENGER if b"response_format" in body else _SOLVER
        return web.Response(body=reply, content_type="application/json")

    async def measure_middle(request: web.Request) -> web.Response:
        """Return the rate since it was last requested."""
        first, last = arrivals[len(arrivals) // 10], arrivals[len(arrivals) * 9 // 10]
        rate = 0.8 * len(arrivals) / (last - first)
        arrivals.clear()
        return web.json_response(rate)

    async def list_models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def listen() -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", answer)
        app.router.add_get("/v1/models", list_models)
        app.router.add_get("/middle", measure_middle)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=8192).start()
        urls.put(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        await asyncio.Event().wait()

    uvloop.run(listen())


def write_documents(path: Path, count: int) -> None:
    """Write documents of random words of different lengths, so that every skill has a question."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            chance = random.Random(number)
            words = ["".join(chance.choices("abdefgilmnoprstu", k=5 + i % 12)) for i in range(WORDS)]
            sentences = (f"Report {number}: {' '.join(words[i : i + 12])}." for i in range(0, WORDS, 12))
            file.write(json.dumps({"id": f"d{number}", "text": " ".join(sentences)}) + "\n")


def generate(checkout: Path, url: str, documents: int, in_flight: int) -> RunCost:
    """Run the command of a checkout as a user does."""
    with tempfile.TemporaryDirectory() as folder:
        return _generate(checkout, Path(folder), url, documents, in_flight)


def _generate(checkout: Path, folder: Path, url: str, documents: int, in_flight: int) -> RunCost:
    run, texts = folder / "run", folder / "documents.jsonl"
    write_documents(texts, documents)
    command = [
        sys.executable,
        "-m",
        "autodata.generate",
        "recipes/demo/generate.yaml",
        f"run={run}",
        f"documents.path={texts}",
        f"documents_in_flight={documents}",
        "domain.max_rounds=1",
        "domain.weak_attempts=2",
        "domain.strong_attempts=2",
        "domain.weak_first=false",
        f"models.endpoints.small.base_url={url}",
        "models.endpoints.small.server=null",
        f"models.endpoints.small.model={MODEL}",
        f"models.endpoints.small.max_in_flight={in_flight}",
    ]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=checkout, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: {' '.join(command)} failed")
    manifest = json.loads((run / "manifest.json").read_text())
    return RunCost(
        documents,
        manifest["counts"]["calls"],
        manifest["working_s"],
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1000,
        httpx.get(url.removesuffix("v1") + "middle").json(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[100, 1_000, 10_000], help="one run each")
    parser.add_argument("--in-flight", type=int, default=2_048, help="calls that may be in flight")
    parser.add_argument("--latency", type=float, default=1.0, help="mean seconds of a call")
    parser.add_argument(
        "--spread", type=float, default=0.0, help="standard deviation of the logarithm of a call's seconds"
    )
    parser.add_argument("--beside", type=Path, help="another checkout, measured in turn with this one")
    options = parser.parse_args()
    urls = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(options.latency, options.spread, urls), daemon=True)
    server.start()
    url, ideal = urls.get(), options.in_flight / options.latency
    checkouts = [Path.cwd(), *([options.beside.resolve()] if options.beside else [])]
    least = {checkout: generate(checkout, url, 1, options.in_flight) for checkout in checkouts}
    print(write_table([HEADER]))
    ratios = []
    for documents in options.documents:
        costs = {checkout: generate(checkout, url, documents, options.in_flight) for checkout in checkouts}
        for checkout, cost in costs.items():
            print(cost.row(least[checkout], ideal), flush=True)
        own, *others = (cost.call_ms(least[checkout]) for checkout, cost in costs.items())
        ratios += [own / other for other in others]
    if ratios:
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"processor time of a call ÷ that in {options.beside}: {shown}; median {median(ratios):.2f}")
    server.terminate()


if __name__ == "__main__":
    main()
