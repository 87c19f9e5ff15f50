"""Measures what it saves to send the prompt of a group through the model once: both ways beside each other.

    python -m bench.shared_prompt [--tokens 45] [--rounds 3]

Each way goes forward and backward through a step with the embedded model in float32 on the CPU: two prompts with
eight completions each. Shared, all rows go in one pass. Whole, as before, each row goes alone, because with a long
prompt all of them in one pass need more than 20 GB.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Mapping
from statistics import median

import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig

from autodata.serving.embedded import resolve_weights
from autodata.training.policy import PolicyTrainer
from autodata.training.weights.student import load_student

PROMPTS, GROUP = 2, 8
LENGTHS = range(2, 11)  # tokens of a completion


class WholeRows(PolicyTrainer):
    """Sends the prompt through the model with every row."""

    def _can_share_prompts(self, model: object, options: Mapping[str, object]) -> bool:
        return False


async def reward(prompts: list[str], completions: list[str], **columns: object) -> list[float]:
    return [0.0 for _ in completions]


def make_trainer(kind: type[PolicyTrainer], at_once: int, folder: str) -> PolicyTrainer:
    options = {"use_cpu": True, "bf16": False, "report_to": "none", "num_generations": GROUP,
               "per_device_train_batch_size": at_once, "gradient_accumulation_steps": PROMPTS * GROUP // at_once,
               "gradient_checkpointing": False, "max_completion_length": max(LENGTHS)}  # fmt: skip
    return kind(
        model=load_student(resolve_weights("embedded"), {"dtype": "float32"}, {}),
        args=GRPOConfig(output_dir=folder, **options),
        processing_class=AutoTokenizer.from_pretrained(resolve_weights("embedded")),
        train_dataset=Dataset.from_list([{"prompt": "Why?"}]),
        reward_funcs=reward,
    )


def make_rows(prompt_tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Make ids and mask of a step: prompts of one length, completions of several, neighbours of one prompt."""
    chance, draws = random.Random(0), torch.Generator().manual_seed(0)
    prompts = torch.randint(0, 10_000, (PROMPTS, prompt_tokens), generator=draws).repeat_interleave(GROUP, dim=0)
    completions = torch.randint(0, 10_000, (PROMPTS * GROUP, max(LENGTHS)), generator=draws)
    lengths = torch.tensor([chance.choice(LENGTHS) for _ in range(PROMPTS * GROUP)])
    used = torch.arange(max(LENGTHS)) < lengths[:, None]
    mask = torch.cat([torch.ones_like(prompts), used.long()], dim=1)
    return torch.cat([prompts, completions], dim=1), mask


def go(trainer: PolicyTrainer, ids: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the seconds of forward and backward passes over all rows, as a training step makes them."""
    start, size = time.perf_counter(), trainer.args.per_device_train_batch_size
    for some_ids, some_mask in zip(ids.split(size), mask.split(size), strict=True):
        logps, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, some_ids, some_mask, max(LENGTHS), compute_entropy=True
        )
        logps.sum().backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=45, metavar="N", help="length of the prompts (45)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each way runs (3)")
    options = parser.parse_args()
    ids, mask = make_rows(options.tokens)
    with tempfile.TemporaryDirectory() as folder:
        trainers = make_trainer(PolicyTrainer, PROMPTS * GROUP, folder), make_trainer(WholeRows, 1, folder)
        rounds = [[go(trainer, ids, mask) for trainer in trainers] for _ in range(options.rounds)]
    shared, whole = (median(seconds) for seconds in zip(*rounds, strict=True))
    print(f"{len(ids)} completions of {PROMPTS} prompts of {options.tokens} tokens, median of {options.rounds} rounds")
    print(f"shared {shared:.2f} s, whole {whole:.2f} s; shared / whole: {shared / whole:.2f} of the time")


if __name__ == "__main__":
    main()
