"""Measures the memory and speed of full fine-tuning at Qwen3.5-4B's shape, on one GPU. A part of bench/gpu.sh.

    python -m bench.gpu.memory RUNS

Weights, gradients, float32 weights and Adam's moments are held as DeepSpeed's ZeRO-2 holds them, with
recipes/accelerate/zero2.json; without DeepSpeed, float32 weights and AdamW under autocast. For each length two rows go
forward and backward through TRL's fused head, with gradient checkpointing: one as long as that and one of half of it.
`padded` is the second row in a batch padded to the first, as TRL has it; `cut` is ours, without padding.
"""

import argparse
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from torch.optim import AdamW
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from autodata.serving.vllm import choose_port
from autodata.training.policy import PolicyTrainer
from autodata.training.weights.student import freeze_vision, load_model
from bench.gpu.model import build
from bench.gpu.phases import read_peak_gb, wait_and_read
from bench.gpu.record import Number, is_small, write_record
from tests.helpers.training_world import make_tokenizer

LENGTHS = (256, 512) if is_small() else (16_384, 65_536)
PROMPT = 128
ZERO2 = Path("recipes/accelerate/zero2.json")
ROWS = 2  # of a step
BATCH = {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": ROWS, "train_batch_size": ROWS}
Way = Callable[..., tuple[Tensor, ...]]
WAYS: dict[str, Way] = {
    "cut": PolicyTrainer._get_per_token_logps_and_entropies,
    "padded": GRPOTrainer._get_per_token_logps_and_entropies,
}


class Plain:
    """Float32 weights and AdamW, called as DeepSpeed's engine is. TRL's trainer adds the autocast."""

    def __init__(self, model: PreTrainedModel, optimizer: AdamW):
        self._model, self._optimizer, self._rows = model, optimizer, 0

    def __call__(self, **inputs: Any) -> Any:
        return self._model(**inputs)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def step(self) -> None:
        """Do nothing until all rows of a step went backward."""
        self._rows += 1
        if self._rows % ROWS == 0:
            self._optimizer.step()
            self._optimizer.zero_grad()


def make_trainer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, runs: Path) -> PolicyTrainer:
    """Make a trainer, for its fused head and its way through the model; it never generates."""
    options = {"use_cpu": is_small(), "bf16": not is_small(), "gradient_checkpointing": True, "report_to": "none"}
    sizes = {"per_device_train_batch_size": 1, "num_generations": ROWS, "gradient_accumulation_steps": ROWS}
    return PolicyTrainer(
        model=model,
        args=GRPOConfig(output_dir=str(runs / "memory"), **sizes, **options),
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": "Why?"}]),
        reward_funcs=lambda completions, **columns: [0.0 for _ in completions],
    )


def hold(model: PreTrainedModel) -> Any:
    """Give the model its optimizer, in DeepSpeed's engine if it is installed."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6, fused=True)
    if not find_spec("deepspeed"):
        return Plain(model, optimizer)
    import deepspeed

    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}  # of the only process, else it looks for MPI
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(choose_port())}
    config = json.loads(ZERO2.read_text()) | BATCH
    config |= {"bf16": {"enabled": not is_small()}, "gradient_clipping": 1.0, "zero_allow_untested_optimizer": True}
    return deepspeed.initialize(model=model, optimizer=optimizer, config=config)[0]


def go(way: Way, trainer: PolicyTrainer, engine: Any, tokens: int) -> tuple[float, float | None]:
    """Go forward and backward through both rows, then take a step. Returns seconds and the peak in GB."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    lengths = torch.tensor([tokens, tokens // 2], device=trainer.accelerator.device)
    mask = (torch.arange(tokens, device=lengths.device) < lengths[:, None]).long()
    ids = torch.randint(0, 1000, mask.shape, device=lengths.device)
    start = wait_and_read()
    for row in range(ROWS):
        one = slice(row, row + 1)
        logps = way(trainer, engine, ids[one], mask[one], tokens - PROMPT, compute_entropy=True)[0]
        engine.backward(-(logps * mask[one, PROMPT:]).mean())
        engine.step()
    return wait_and_read() - start, read_peak_gb()


def measure_rows(trainer: PolicyTrainer, engine: Any) -> dict[str, Number]:
    """Measure each length both ways, in the order of the memory that they need.

    The first pass is not counted: it allocates Adam's moments and compiles kernels. After one that runs out of memory
    none is tried; it stands at all of them, with its length.
    """
    numbers: dict[str, Number] = {}
    failure: str | None = None
    for place, tokens in zip(("first", "short", "long"), (2 * PROMPT, *LENGTHS), strict=True):
        for name, way in WAYS.items():
            rate: Number = failure
            peak: Number = failure
            if not failure:
                try:
                    seconds, peak = go(way, trainer, engine, tokens)
                    rate = 1.5 * tokens / seconds
                except torch.OutOfMemoryError:
                    rate = peak = failure = f"out of memory at {tokens:,} tokens, {name}"
            numbers |= {f"{place}_{name}_gb": peak, f"{place}_{name}_tokens_per_s": rate}
    return {name: value for name, value in numbers.items() if not name.startswith("first_")}


def measure(runs: Path) -> dict[str, Number]:
    PartialState(cpu=is_small())
    tokenizer = make_tokenizer()
    model = load_model(str(runs / "qwen"), {"dtype": "float32"}) if is_small() else build(tokenizer)
    if not find_spec("deepspeed"):
        model.float()
    freeze_vision(model)
    trainer = make_trainer(model, tokenizer, runs)
    engine = hold(trainer.model)
    held = torch.cuda.memory_allocated() / 1e9 if torch.cuda.is_available() else None
    way = "AdamW on float32 weights" if isinstance(engine, Plain) else "DeepSpeed ZeRO-2"
    return {"optimizer": way, "held_gb": held, **measure_rows(trainer, engine)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of the records and of the model")
    runs = parser.parse_args().runs
    numbers = measure(runs)
    write_record(runs, "memory", numbers)
    print(numbers)


if __name__ == "__main__":
    main()
