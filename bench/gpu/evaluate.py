"""Evaluates the untrained and the trained embedded model on the demo's sets. A part of bench/gpu.sh.

    python -m bench.gpu.evaluate RUNS

It needs RUNS/dataset and RUNS/grpo/model, which the parts generate and grpo make. The servers of both models start at
once, without compiling, because a short evaluation does not earn that back. Then the evaluations run one by one.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from inspect_ai.log import read_eval_log_sample_summaries

from autodata.config import load
from autodata.recipes.evaluation import EvalRecipe
from autodata.serving.vllm import RunningServer
from bench.gpu.generate import choose_models
from bench.gpu.record import Number, is_small, write_record

ANSWERS = 2 if is_small() else 64  # per problem
NAMES = {"untrained": "eval_base", "trained": "eval_trained"}  # recipes of the demo


def choose_settings(runs: Path, name: str) -> list[str]:
    """Return the arguments of one evaluation."""
    settings = [f"recipes/demo/{NAMES[name]}.yaml", *choose_models(), f"run={runs}/{NAMES[name]}"]
    settings += [f"dataset={runs}/dataset", f"samples={ANSWERS}"]
    settings.append("models.endpoints.small.server.flags.enforce-eager=true")
    return [*settings, *([f"evaluated.weights={runs}/grpo/model"] if name == "trained" else [])]


@contextmanager
def serving(runs: Path) -> Iterator[dict[str, list[str]]]:
    """Start the servers of both models and yield the arguments with which the evaluations find them."""
    with ExitStack() as stack:
        servers = {}
        for name in NAMES:
            models = load(EvalRecipe, choose_settings(runs, name)).models
            key = models.weak_solver.endpoint
            servers[name] = RunningServer(key, models.endpoints[key], runs / f"server_{name}.log")
            stack.callback(servers[name].stop)
        for server in servers.values():
            server.wait_until_ready()
        yield {name: locate(server) for name, server in servers.items()}


def locate(server: RunningServer) -> list[str]:
    key = f"models.endpoints.{server.name}"
    return [f"{key}.model={server.endpoint.model}", f"{key}.base_url={server.endpoint.base_url}"]


def evaluate(runs: Path, name: str, server: Sequence[str]) -> dict[str, Number]:
    """Run one evaluation and return its scores and its speed."""
    folder = runs / NAMES[name]
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "autodata.eval.run", *choose_settings(runs, name), *server], check=True)
    samples = [s for log in folder.glob("logs/*.eval") for s in read_eval_log_sample_summaries(str(log))]
    start, end = min(s.started_at for s in samples), max(s.completed_at for s in samples)
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    results = json.loads((folder / "results.json").read_text())
    scores = {f"{name}_{task}": summary["mean"]["value"] for task, summary in results.items()}
    return scores | {f"{name}_s": seconds, f"{name}_answers_per_s": len(samples) / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the records, the data set and the trained model")
    runs = parser.parse_args().runs
    numbers: dict[str, Number] = {"answers": ANSWERS}
    with serving(runs) as servers:
        for name, server in servers.items():
            numbers |= evaluate(runs, name, server)
    write_record(runs, "evaluate", numbers)
    print(numbers)


if __name__ == "__main__":
    main()
