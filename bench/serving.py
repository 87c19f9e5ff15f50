"""Tokens a second inside `generate`, over those of vLLM's own serving benchmark on the same server, in one run.

    python -m bench.serving [--at-once 16 32 64] [--pairs 3] [--documents 12] [models.endpoints.small.base_url=URL]

The embedded model, cloze; its server is started, or the one that is named is used. vLLM's benchmark sends the prompts
that generate had sent, 6 tokens wanted of each, at every given concurrency; the best one counts. A first run of
generate, not counted, fills the prefix cache for both; then both measure in turn.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from vllm.benchmarks import serve

from autodata import generate
from autodata.config import load
from autodata.embedded import resolve_weights
from autodata.generate import open_run
from autodata.llm import Client
from autodata.recipes import GenerateRecipe
from autodata.request import Request
from autodata.servers import running
from autodata.types import Reply, Role

TOKENS = 6  # as the solvers of the demo may write
PRINTED = "generate {:.0f} tokens/s; vLLM's benchmark {}; of its best {:.2f}"


@contextmanager
def recording() -> Iterator[list[Request]]:
    """What clients are asked meanwhile."""
    asked: list[Request] = []
    ask = Client.ask

    async def remember(self: Client, request: Request) -> Reply:
        asked.append(request)
        return await ask(self, request)

    Client.ask = remember
    try:
        yield asked
    finally:
        Client.ask = ask


def run_generate(url: str, folder: Path, documents: int) -> float:
    """Tokens written per second of work, by the run's own manifest."""
    recipe = load(GenerateRecipe, [
        "recipes/demo/generate.yaml", f"run={folder}", f"documents.limit={documents}", "domain.max_rounds=4",
        f"models.endpoints.small.base_url={url}"])  # fmt: skip
    run, corpus = open_run(recipe)
    with run:
        generate.generate(recipe, run, corpus)
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["counts"]["completion_tokens"] / manifest["working_s"]


def run_vllm(url: str, prompts: Path, count: int, at_once: int) -> float:
    """Tokens written per second, as vLLM's benchmark counts them."""
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    result = serve.main(parser.parse_args([
        "--backend", "openai-chat", "--base-url", url.removesuffix("/v1"), "--endpoint", "/v1/chat/completions",
        "--model", "smollm2-135m-instruct", "--tokenizer", resolve_weights("embedded"), "--dataset-name", "custom",
        "--dataset-path", str(prompts), "--custom-output-len", str(TOKENS), "--skip-chat-template",
        "--disable-shuffle", "--num-prompts", str(count), "--max-concurrency", str(at_once), "--temperature", "1.0",
        "--disable-tqdm"]))  # fmt: skip
    return float(result["output_throughput"])


def compare(url: str, folder: Path, options: argparse.Namespace) -> list[float]:
    prompts = folder / "prompts.jsonl"
    with recording() as asked:
        run_generate(url, folder / "first", options.documents)
    texts = ["\n".join(message.content for message in request.messages) for request in asked]
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    ratios = []
    for number in range(options.pairs):
        ours = run_generate(url, folder / str(number), options.documents)
        theirs = {n: run_vllm(url, prompts, len(texts), n) for n in options.at_once}
        ratios.append(ours / max(theirs.values()))
        said = ", ".join(f"{rate:.0f} at {n}" for n, rate in theirs.items())
        print(PRINTED.format(ours, said, ratios[-1]), flush=True)
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = load(GenerateRecipe, ["recipes/demo/generate.yaml", f"run={folder}/server", *options.overrides])
        with running(recipe.models, Role, Path(folder)):
            ratios = compare(recipe.models.endpoints["small"].base_url, Path(folder), options)
    print(f"median of {len(ratios)}: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
