"""Estimates the memory of one GPU in a training, part by part, in bytes.

A training has two phases. While vLLM samples, the trainer keeps its weights and the optimizer. While the model is
updated, vLLM sleeps, and activations and logits come on top. docs/plan.md derives the formulas.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from autodata.config import RecipeError
from autodata.plan.training.shape import ModelShape
from autodata.recipes.training import GrpoRecipe

_FLOAT32 = 4
_TILE = 4096, 32_768  # tokens and words of TRL's tile of logits (trl.kernels.TOKEN_CHUNK_SIZE, chunk_size)
_BUCKET = 500_000_000  # DeepSpeed's default for reduce_bucket_size, in values
_SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU. `held` stays there all the time, `passing` only while the model is updated."""

    held: Mapping[str, float]
    passing: Mapping[str, float]
    engine_share: float  # vLLM's share of the GPU while it samples; 0 if it runs elsewhere
    sleeps: bool  # vLLM gives its share back while the model is updated
    weights: float  # vLLM's copy of the weights
    cached: float  # a token in vLLM's KV cache

    def sampling(self, total: float) -> float:
        """Return the bytes in use while completions are sampled, on a GPU that has `total` bytes."""
        return sum(self.held.values()) + self.engine_share * total

    def updating(self, total: float) -> float:
        """Return the bytes in use while the model is updated."""
        engine = 0.0 if self.sleeps else self.engine_share * total
        return sum(self.held.values()) + sum(self.passing.values()) + engine

    def fits(self, total: float) -> bool:
        return max(self.sampling(total), self.updating(total)) <= total and self.engine_fits(total)

    def engine_fits(self, total: float) -> bool:
        """True if vLLM's share holds its weights, or if vLLM runs elsewhere."""
        return not self.engine_share or self.engine_share * total > self.weights

    def count_sequences(self, total: float, tokens: float) -> int:
        """Count the sequences of so many tokens that the KV cache holds at once; at least 1."""
        return max(1, int((self.engine_share * total - self.weights) / (self.cached * tokens)))


def read_size(recipe: GrpoRecipe) -> int:
    """Return the bytes of one weight. Raises RecipeError."""
    name = str((recipe.trainer.get("model_init_kwargs") or {}).get("dtype", "bfloat16"))
    if name not in _SIZES:
        raise RecipeError(f"trainer.model_init_kwargs.dtype={name}: choose one of {', '.join(_SIZES)}")
    return _SIZES[name]


def estimate_memory(recipe: GrpoRecipe, shape: ModelShape, gpus: int) -> Memory:
    """Estimate the memory of one of `gpus` GPUs. Full fine-tuning on several GPUs runs with ZeRO-2."""
    trainer, size = recipe.trainer, read_size(recipe)
    colocates = bool(trainer.get("use_vllm")) and trainer.get("vllm_mode", "colocate") == "colocate"
    parallel = int(trainer.get("vllm_tensor_parallel_size") or 1)
    return Memory(
        held=_hold_adapters(shape, size) if shape.adapters else _hold_all(shape, size, gpus),
        passing=_pass(recipe, shape, size),
        engine_share=float(trainer.get("vllm_gpu_memory_utilization") or 0.3) if colocates else 0.0,
        sleeps=bool(trainer.get("vllm_enable_sleep_mode")),
        weights=size * shape.parameters / parallel,
        cached=size * shape.cached_values / parallel,
    )


def _hold_adapters(shape: ModelShape, size: int) -> dict[str, float]:
    """LoRA: frozen weights, and float32 adapters with their gradients and AdamW's two moments."""
    adapters = _FLOAT32 * shape.adapters
    return {
        "weights": size * shape.parameters,
        "adapters": adapters,
        "gradients": adapters,
        "moments of AdamW": 2 * adapters,
    }


def _hold_all(shape: ModelShape, size: int, gpus: int) -> dict[str, float]:
    """Full fine-tuning: torch's AdamW keeps moments in the type of the weights; ZeRO-2 has float32 and shards it."""
    held = {"weights": float(size * shape.parameters)}
    if gpus == 1:
        return held | {"gradients": size * shape.trained, "moments of AdamW": 2 * size * shape.trained}
    part = _FLOAT32 * shape.trained / gpus
    return held | {
        "gradients": part,
        "float32 weights": part,
        "moments of AdamW": 2 * part,
        "gradients on their way": size * min(_BUCKET, shape.trained),
    }


def _pass(recipe: GrpoRecipe, shape: ModelShape, size: int) -> dict[str, float]:
    """Estimate activations and logits of the longest sequences that one forward pass may have."""
    trainer = recipe.trainer
    each = int(trainer.get("per_device_train_batch_size") or 8)
    completion = int(trainer.get("max_completion_length") or 512)
    longest = int(trainer.get("vllm_max_model_length") or 0) or recipe.preflight.prompt_tokens + completion
    tokens, scored = each * longest, each * completion
    kept = shape.layers if trainer.get("gradient_checkpointing", True) else 0
    whole = 1 if kept else shape.layers  # layers whose inner values are kept at once
    head = _FLOAT32 * shape.vocabulary * shape.hidden if shape.trained else 0
    return {
        "inputs of the layers": size * tokens * shape.hidden * kept,
        "values inside a layer": size * tokens * shape.layer_values * whole,
        "logits": size * min(scored, _TILE[0]) * _TILE[1] + _FLOAT32 * scored * shape.hidden + head,
    }
