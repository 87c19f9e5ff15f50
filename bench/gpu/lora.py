"""Measures a step of LoRA on one GPU, with a random model of Qwen3.5-4B's shape. A part of bench/gpu.sh.

    python -m bench.gpu.lora RUNS [key=value …]

It trains RUNS/qwen with recipes/cs/grpo.yaml and recipes/training/one_gpu.yaml, one prompt of 8 completions a step.
The judge is a script on this machine that answers at once and gives different rewards. The first step compiles kernels
and generates few tokens; the second step is measured. A random model hardly ever ends a completion, so nearly all have
the full length.
"""

import argparse
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOTrainer

from autodata.config import load
from autodata.recipes.training import GrpoRecipe
from autodata.serving.journal import Journal
from autodata.training.policy import PolicyTrainer
from autodata.training.trainer import Training
from autodata.training.weights.movement import SHARE
from bench.gpu.phases import MemoryWatch, PhaseClock, read_peak_gb, wait_and_read
from bench.gpu.record import Number, is_small, wait_for_others, write_record
from tests.helpers.fake_server import fake_server, judge_by_hash
from tests.helpers.training_world import make_dataset

COMPLETIONS, PROMPT, SHORT = 8, 128, 1024  # completions, tokens of a prompt, tokens of the first step's completions
VLLM_GB = 48.0  # what recipes/training/one_gpu.yaml gives vLLM on a card of 80 GB
SETTINGS = (
    "models.judge.endpoint=judge",
    "models.endpoints.judge.model=fake",
    "min_examples=4",
    "prompts_per_step=1",
    "evaluate=[]",
    "save_models_at=[]",
    "reward.cut_off=judge",  # all completions are cut off
    "preflight.probe=0",
    "trainer.max_steps=2",
    "trainer.save_strategy='no'",
    "trainer.eval_strategy='no'",
    "trainer.eval_on_start=false",
    "trainer.report_to=none",
    "trainer.chat_template_kwargs={enable_thinking: false}",  # else there would be no answer to judge
)
SMALL = (
    "trainer.use_cpu=true",
    "trainer.bf16=false",
    "trainer.model_init_kwargs.dtype=float32",
    "trainer.use_vllm=false",
    "trainer.vllm_enable_sleep_mode=false",
    "trainer.max_completion_length=32",
)


class SecondStepAlone(TrainerCallback):
    """Shortens the first step and starts the second when no other part of bench/gpu.sh works."""

    def __init__(self, trainer: GRPOTrainer, runs: Path):
        self._vllm, self._runs = getattr(trainer, "vllm_generation", None), runs  # absent without vLLM
        self._shorten(SHORT)

    def on_step_end(self, args: Any, state: object, control: object, **_: object) -> None:
        wait_for_others(self._runs)
        self._shorten(args.max_completion_length)

    def _shorten(self, tokens: int) -> None:
        if self._vllm:
            self._vllm.max_completion_length = tokens


def choose_settings() -> list[str]:
    if is_small():
        return [*SETTINGS, *SMALL]
    total_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
    return [*SETTINGS, f"trainer.vllm_gpu_memory_utilization={VLLM_GB / total_gb:.2f}"]


def train(recipe: GrpoRecipe, runs: Path) -> dict[str, Number]:
    """Train two steps and return the numbers of the second."""
    folder, clock, memory = Path(recipe.run), PhaseClock(), MemoryWatch()
    with closing(Journal(folder / "journal.sqlite")) as journal:
        training = Training(recipe, folder, journal)
        trainer = training.trainer
        for callback in (SecondStepAlone(trainer, runs), clock):
            trainer.add_callback(callback)
        with memory.watching(), clock.listening():
            trainer.train()
    step, log = clock.steps[1], trainer.state.log_history
    last = [entry for entry in log if "reward" in entry][-1]
    return {
        **step.summarize(),
        "completion_tokens": last["completions/mean_length"],
        "generation_gb": memory.find_peak_gb(step.start, step.generated),
        "update_gb": memory.find_peak_gb(step.generated, step.end),
        "peak_gb": read_peak_gb(),
        "logp_difference": last.get("sampling/sampling_logp_difference/mean"),
        "moved_share": next(entry[SHARE] for entry in log if SHARE in entry),
        **compare_logps(trainer, recipe.trainer["max_completion_length"]),
    }


def compare_logps(trainer: GRPOTrainer, tokens: int) -> dict[str, Number]:
    """Time the log-probabilities of completions of 1/8, 2/8, … 8/8 of the length: padded as TRL does, and ours."""
    lengths = torch.arange(1, COMPLETIONS + 1, device=trainer.accelerator.device) * tokens // COMPLETIONS
    mask = (torch.arange(PROMPT + tokens, device=lengths.device) < PROMPT + lengths[:, None]).long()
    ids = torch.randint(0, 1000, mask.shape, device=lengths.device)
    ways: dict[str, Callable[..., tuple[Tensor, ...]]] = {
        "padded": GRPOTrainer._get_per_token_logps_and_entropies,
        "cut": PolicyTrainer._get_per_token_logps_and_entropies,
    }
    return {f"{name}_logps_s": time_logps(way, trainer, ids, mask) for name, way in ways.items()}


def time_logps(way: Callable[..., tuple[Tensor, ...]], trainer: GRPOTrainer, ids: Tensor, mask: Tensor) -> float:
    """Return the seconds of the second of two passes."""
    at_once = trainer.args.per_device_train_batch_size
    with torch.no_grad():
        for _ in range(2):
            start = wait_and_read()
            way(trainer, trainer.model, ids, mask, ids.size(1) - PROMPT, batch_size=at_once)
    return wait_and_read() - start


def measure(runs: Path, values: Sequence[str]) -> dict[str, Number]:
    PartialState(cpu=is_small())
    folder = runs / "lora"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recipes = "recipes/cs/grpo.yaml", "recipes/training/one_gpu.yaml"
    data = f"model={runs / 'qwen'}", f"dataset={make_dataset(folder / 'data')}", f"run={folder}"
    with fake_server(judge_by_hash) as judge:
        url = f"models.endpoints.judge.base_url={judge.url}"
        return train(load(GrpoRecipe, [*recipes, *data, url, *choose_settings(), *values]), runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the records")
    parser.add_argument("overrides", nargs="*", help="key=value of the recipe")
    options = parser.parse_args()
    numbers = measure(options.runs, options.overrides)
    write_record(options.runs, "lora", numbers)
    print(numbers)


if __name__ == "__main__":
    main()
