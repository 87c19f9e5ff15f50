"""Measures what padding costs a training step: TRL's trainer beside ours, and the wait for the slowest of 8 GPUs.

    python -m bench.sequences [--tokens 8192] [--rounds 3]

First it counts, for steps of 128 completions whose lengths are drawn from a log-normal distribution and cut at the
recipes' budgets, how many tokens go through the model for each sampled one, and how long 8 processes wait for each
other. Then both trainers go forward and backward through the same rows with a small random model of Qwen3.5's kinds of
layers, each in a process of its own: one row as long as --tokens, and three of a quarter of it.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import fmean, median

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from autodata.training.policy import PolicyTrainer
from autodata.training.weights.student import load_student
from tests.helpers.training_world import make_qwen

PROMPT, ROWS, PROCESSES, STEPS = 2048, 128, 8, 200  # tokens of a prompt, completions of a step, GPUs, simulated steps
BUDGETS = ((16_384, 5_000), (65_536, 12_000))  # completion tokens at most, and their median (assumed)
SPREAD = 0.8  # of the logarithm of a length (assumed)


def draw(budget: int, middle: int, chance: random.Random) -> list[int]:
    return [min(budget, int(middle * chance.lognormvariate(0, SPREAD))) for _ in range(ROWS)]


def count_padded(lengths: Sequence[int]) -> float:
    """Count the tokens that go through the model for each that is used, if all rows are as long as the longest."""
    return len(lengths) * (PROMPT + max(lengths)) / sum(PROMPT + length for length in lengths)


def count_wait(lengths: Sequence[int], is_sorted: bool) -> float:
    """Count the tokens for which a process computes or waits, for each that it computes.

    All processes wait for the longest row of a forward pass, because DeepSpeed adds up their gradients after it.
    """
    shares = [list(lengths[start::PROCESSES]) for start in range(PROCESSES)]
    if is_sorted:
        shares = [sorted(share, reverse=True) for share in shares]
    spent = sum(PROMPT + max(passes) for passes in zip(*shares, strict=True)) * PROCESSES
    return spent / sum(PROMPT + length for length in lengths)


def simulate() -> None:
    print("tokens forwarded for each one used; tokens computed or waited for, for each one computed, on 8 GPUs")
    for budget, middle in BUDGETS:
        chance = random.Random(0)
        steps = [draw(budget, middle, chance) for _ in range(STEPS)]
        padded = fmean(map(count_padded, steps))
        waits = [fmean(count_wait(step, is_sorted) for step in steps) for is_sorted in (False, True)]
        orders = f"in any order {waits[0]:.2f}, longest first {waits[1]:.2f}"
        print(f"{budget:>6} tokens: padded {padded:.2f}, ours 1; {orders}")


async def reward(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    return [0.0 for _ in completions]


def go(kind: type[GRPOTrainer], model: Path, tokens: int, pipe: Connection) -> None:
    """Go through the rows as a training step does and send seconds and the growth of memory in MB."""
    torch.set_num_threads(2)
    rows = Dataset.from_list([{"prompt": "Why?"}])
    options = {"use_cpu": True, "bf16": False, "report_to": "none", "num_generations": 4, "max_completion_length": 8,
               "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}  # fmt: skip
    trainer = kind(
        model=load_student(str(model), {"dtype": "float32"}, {}),
        args=GRPOConfig(output_dir=str(model / kind.__name__), **options),
        processing_class=AutoTokenizer.from_pretrained(model),
        train_dataset=rows,
        reward_funcs=reward,
    )
    lengths = [tokens, *[tokens // 4] * 3]
    mask = torch.tensor([[1] * length + [0] * (tokens - length) for length in lengths])
    ids = torch.randint(0, 1000, mask.shape)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    for row in range(len(lengths)):
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids[row : row + 1], mask[row : row + 1], tokens - 8, compute_entropy=True
        )
        logps.sum().backward()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send((time.perf_counter() - start, (peak - before) / 1e3))


def measure(model: Path, tokens: int, rounds: int) -> None:
    found: dict[type, list[tuple[float, float]]] = {GRPOTrainer: [], PolicyTrainer: []}
    for _ in range(rounds):
        for kind, values in found.items():
            ours, theirs = get_context("spawn").Pipe()
            process = get_context("spawn").Process(target=go, args=(kind, model, tokens, theirs))
            process.start()
            values.append(ours.recv())
            process.join()
    (padded_s, padded_mb), (cut_s, cut_mb) = (map(median, zip(*values, strict=True)) for values in found.values())
    print(f"one row of {tokens} tokens and three of a quarter of it, forward and backward, median of {rounds} rounds")
    print(
        f"padded: {padded_s:.1f} s, {padded_mb:,.0f} MB more at the peak; ours: {cut_s:.1f} s, {cut_mb:,.0f} MB more"
    )
    print(f"ours / padded: {cut_s / padded_s:.2f} of the time, {cut_mb / padded_mb:.2f} of the memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, metavar="N", help="length of the longest row (8192)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each trainer runs (3)")
    options = parser.parse_args()
    simulate()
    with tempfile.TemporaryDirectory() as folder:
        measure(make_qwen(Path(folder)), options.tokens, options.rounds)


if __name__ == "__main__":
    main()
