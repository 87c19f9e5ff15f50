"""Compares tokens a second inside `generate` with vLLM's own serving benchmark, on the same server in one run.

    python -m bench.serving [--at-once 16 32 64] [--pairs 3] [--documents 72] [models.endpoints.small.base_url=URL]

The embedded model plays skills; its server is started unless one is named. vLLM's benchmark sends the same prompts as
generate, wants as many tokens as each reply had, and sets a seed as generate does. It runs at every given concurrency,
and the best one counts. A first run of generate, not counted, fills the prefix cache for both; then both are measured
in turn. The documents are those of the demo, repeated with their sentences shuffled until there are enough: with few
documents left, no engine can keep a server busy.
"""

import argparse
import json
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

from vllm.benchmarks import serve

from autodata import generate
from autodata.config import load
from autodata.generate import open_run
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.embedded import resolve_weights
from autodata.serving.llm import Client
from autodata.serving.request import Request
from autodata.serving.vllm import running
from autodata.types import Reply, Role

DEMO = Path("recipes/demo/documents")
PRINTED = "generate {:.0f} tokens/s; vLLM's benchmark {}; ratio to its best {:.2f}"


@contextmanager
def recording() -> Iterator[list[tuple[Request, Reply]]]:
    """Record the requests and replies of all clients meanwhile."""
    calls: list[tuple[Request, Reply]] = []
    ask = Client.ask

    async def remember(self: Client, request: Request) -> Reply:
        reply = await ask(self, request)
        calls.append((request, reply))
        return reply

    Client.ask = remember
    try:
        yield calls
    finally:
        Client.ask = ask


def write_documents(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, path in zip(range(count), cycle(sorted(DEMO.glob("*.txt"))), strict=False):
        sentences = re.split(r"(?<=[.!?])\s+", path.read_text())
        random.Random(number).shuffle(sentences)
        (folder / f"{number:04}.txt").write_text(" ".join(sentences))
    return folder


def run_generate(settings: Sequence[str], folder: Path, documents: Path) -> dict[str, Any]:
    """Run generate and return its manifest. `settings` are more files and values of the recipe."""
    values = [f"run={folder}", f"documents.path={documents}", "domain.max_rounds=2", "documents_in_flight=48"]
    recipe = load(GenerateRecipe, ["recipes/demo/generate.yaml", *values, *settings])
    run, corpus = open_run(recipe)
    with run:
        generate.generate(recipe, run, corpus)
    return json.loads((folder / "manifest.json").read_text())


def rate_tokens(manifest: dict[str, Any]) -> float:
    """Return the tokens written per second of work."""
    return manifest["counts"]["completion_tokens"] / manifest["working_s"]


def run_vllm(url: str, prompts: Path, count: int, at_once: int) -> float:
    """Return the tokens written per second, as vLLM's benchmark counts them."""
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    result = serve.main(
        parser.parse_args(
            [
                "--backend",
                "openai-chat",
                "--base-url",
                url.removesuffix("/v1"),
                "--endpoint",
                "/v1/chat/completions",
                "--model",
                "smollm2-135m-instruct",
                "--tokenizer",
                resolve_weights("embedded"),
                "--dataset-name",
                "custom",
                "--dataset-path",
                str(prompts),
                "--custom-output-len",
                "-1",
                "--ignore-eos",
                "--skip-chat-template",
                "--disable-shuffle",
                "--num-prompts",
                str(count),
                "--max-concurrency",
                str(at_once),
                "--temperature",
                "1.0",
                "--extra-body",
                '{"seed": 1}',
                "--disable-tqdm",
            ]
        )
    )
    return float(result["output_throughput"])


def as_row(request: Request, reply: Reply) -> str:
    """Write a call as a line of vLLM's custom dataset."""
    prompt = "\n".join(message.content for message in request.messages)
    return json.dumps({"prompt": prompt, "output_tokens": reply.completion_tokens}) + "\n"


def compare(url: str, folder: Path, options: argparse.Namespace) -> list[float]:
    prompts, documents = folder / "prompts.jsonl", write_documents(folder / "documents", options.documents)
    settings = [f"models.endpoints.small.base_url={url}"]
    with recording() as calls:
        run_generate(settings, folder / "first", documents)
    prompts.write_text("".join(as_row(*call) for call in calls))
    ratios = []
    for number in range(options.pairs):
        ours = rate_tokens(run_generate(settings, folder / str(number), documents))
        theirs = {n: run_vllm(url, prompts, len(calls), n) for n in options.at_once}
        ratios.append(ours / max(theirs.values()))
        rates = ", ".join(f"{rate:.0f} at concurrency {n}" for n, rate in theirs.items())
        print(PRINTED.format(ours, rates, ratios[-1]), flush=True)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=[16, 32, 64], help="concurrencies of vLLM's benchmark"
    )
    parser.add_argument("--pairs", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--documents", type=int, default=72, help="documents that generate plays")
    parser.add_argument("overrides", nargs="*", help="key=value of the recipe")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = load(GenerateRecipe, ["recipes/demo/generate.yaml", f"run={folder}/server", *options.overrides])
        with running(recipe.models, Role, Path(folder)):
            ratios = compare(recipe.models.endpoints["small"].base_url, Path(folder), options)
    print(f"median ratio of {len(ratios)} pairs of runs: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
