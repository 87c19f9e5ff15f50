"""Measures `generate` beside vLLM's own benchmark, on one server of the embedded model. A part of bench/gpu.sh.

    python -m bench.gpu.generate RUNS [--dataset]

Each document of the demo is repeated with its sentences shuffled. A first run of generate, not counted, fills the
prefix cache for both. Meanwhile the server's metrics are read, which say how many requests its engine works on. With
--dataset the demo's own data set is made on the same server afterwards, as RUNS/dataset.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import httpx
from prometheus_client.parser import text_string_to_metric_families

from autodata.config import load
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.limits import ServerLoad
from autodata.serving.vllm import running
from autodata.types import Role
from bench.gpu.record import Number, is_small, wait_for_others, write_record
from bench.serving import as_row, rate_tokens, recording, run_generate, run_vllm, write_documents

MODELS = "bench/gpu/embedded.yaml"
DOCUMENTS, AT_ONCE = (2, (16,)) if is_small() else (200, (128, 256))  # concurrencies of vLLM's benchmark
_EVERY_S = 0.1  # time between two looks at the metrics
_STEPS = "vllm:iteration_tokens_total_count"  # steps of the engine


class EngineWatch:
    """Reads the server's metrics again and again while its `with` block runs."""

    def __init__(self, url: str):
        self._page = f"{url.removesuffix('/v1')}/metrics"
        self._running: list[int] = []
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread, start, steps = threading.Thread(target=self._watch), time.monotonic(), self._count_steps()
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()
            self._rate = (self._count_steps() - steps) / (time.monotonic() - start)

    def measure(self) -> dict[str, Number]:
        return {
            "working_share": fmean(running > 0 for running in self._running),
            "mean_running": fmean(self._running),
            "steps_per_s": self._rate,
        }

    def _watch(self) -> None:
        with httpx.Client() as http:
            while not self._ended.wait(_EVERY_S):
                self._running.append(ServerLoad.read([http.get(self._page).text]).running)

    def _count_steps(self) -> float:
        families = text_string_to_metric_families(httpx.get(self._page).text)
        return sum(s.value for family in families for s in family.samples if s.name == _STEPS)


def choose_models() -> list[str]:
    """Return the arguments that serve the embedded model on the GPU; the demo's recipes serve it on the CPU."""
    return [] if is_small() else [MODELS]


def compare(url: str, folder: Path) -> dict[str, Number]:
    """Run generate and vLLM's benchmark in turn, with the same requests."""
    documents = write_documents(folder / "documents", DOCUMENTS)
    settings = [*choose_models(), f"models.endpoints.small.base_url={url}", f"documents_in_flight={DOCUMENTS}"]
    with recording() as calls:
        run_generate(settings, folder / "first", documents)
    (folder / "prompts.jsonl").write_text("".join(as_row(*call) for call in calls))
    watch = EngineWatch(url)
    with watch.watching():
        manifest = run_generate(settings, folder / "second", documents)
    theirs = {n: run_vllm(url, folder / "prompts.jsonl", len(calls), n) for n in AT_ONCE}
    best = max(theirs, key=lambda n: theirs[n])
    return {
        "documents": DOCUMENTS,
        "calls": manifest["counts"]["calls"],
        "calls_per_s": manifest["counts"]["calls"] / manifest["working_s"],
        "tokens_per_s": rate_tokens(manifest),
        "vllm_tokens_per_s": theirs[best],
        "vllm_at_once": best,
        "ratio": rate_tokens(manifest) / theirs[best],
        **watch.measure(),
    }


def make_dataset(url: str, runs: Path) -> None:
    """Make the demo's data set with its own commands. Small: of its first documents only."""
    texts = Path("recipes/demo/documents")
    if is_small():
        texts = runs / "documents"
        texts.mkdir(exist_ok=True)
        for path in sorted(Path("recipes/demo/documents").glob("*.txt"))[:4]:
            shutil.copy(path, texts)
    server = [*choose_models(), f"models.endpoints.small.base_url={url}", f"documents.path={texts}"]
    for arm, recipe in (("agentic", "generate"), ("cot", "generate_cot")):
        run_command("autodata.generate", f"recipes/demo/{recipe}.yaml", *server, f"run={runs}/{arm}")
    arms = [f"arms.{arm}={runs}/{arm}" for arm in ("agentic", "cot")]
    run_command("autodata.dataset", "recipes/demo/dataset.yaml", *arms, f"run={runs}/dataset")


def run_command(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def measure(runs: Path, makes_dataset: bool) -> dict[str, Number]:
    folder = runs / "generate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recipe = load(GenerateRecipe, ["recipes/demo/generate.yaml", *choose_models(), f"run={folder}"])
    start = time.monotonic()
    with running(recipe.models, Role, folder):
        ready_s, url = time.monotonic() - start, recipe.models.endpoints["small"].base_url
        wait_for_others(runs)
        numbers = {"server_start_s": ready_s, **compare(url, folder)}
        write_record(runs, "generate", numbers)
        if makes_dataset:
            make_dataset(url, runs)
    return numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the records")
    parser.add_argument("--dataset", action="store_true", help="also make the demo's data set, as RUNS/dataset")
    options = parser.parse_args()
    print(measure(options.runs, options.dataset))


if __name__ == "__main__":
    main()
