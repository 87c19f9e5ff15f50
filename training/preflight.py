"""Checks a training before its first step, so that an error shows in a minute and not after a night."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from autodata.recipes.training import PreflightConfig
from autodata.stats.writing import write_percent
from autodata.training.rewards.reward import Reward
from autodata.types import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import GRPOConfig

    from autodata.training.policy import PolicyTrainer

log = logging.getLogger(__name__)


class PreflightError(UserError):
    """The training would fail or learn nothing; the message names what to change."""


def check_prompts(rows: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, at_most: int) -> int:
    """Return the length of the longest prompt in tokens. Raises PreflightError if it is too long: TRL cuts none."""
    lengths = {row["example_id"]: len(tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]) for row in rows}
    longest = max(lengths, key=lambda id: lengths[id])
    if lengths[longest] > at_most:
        count = sum(length > at_most for length in lengths.values())
        raise PreflightError(
            f"prompts longer than preflight.prompt_tokens={at_most}: {count:,}; the longest has "
            f"{lengths[longest]:,} tokens ({longest}); raise preflight.prompt_tokens if memory allows, or leave "
            "these examples out of the data set"
        )
    return lengths[longest]


def check_context(model: PreTrainedModel, config: GRPOConfig, prompt_tokens: int) -> None:
    """Check that prompt and completion fit the context of vLLM or the model. Raises PreflightError."""
    room = config.vllm_max_model_length if config.use_vllm else model.config.get_text_config().max_position_embeddings
    if room and prompt_tokens + config.max_completion_length > room:
        raise PreflightError(
            f"the longest prompt of {prompt_tokens} tokens and trainer.max_completion_length="
            f"{config.max_completion_length} do not fit the context of {room} tokens; "
            "lower trainer.max_completion_length"
        )


def check_groups(config: GRPOConfig, processes: int, wants_probe: bool) -> None:
    """Check that an evaluation batch holds whole groups, of the probe's size too. Raises PreflightError."""
    for size in (config.num_generations_eval, config.num_generations if wants_probe else None):
        if size and config.per_device_eval_batch_size * processes % size:
            raise PreflightError(
                f"trainer.per_device_eval_batch_size={config.per_device_eval_batch_size} times the number of "
                f"processes ({processes}) is not a multiple of the group size {size}"
            )


def check_memory(model: PreTrainedModel, config: GRPOConfig, shards: int) -> None:
    """Check that weights, gradients and Adam fit the memory that vLLM leaves free. Raises PreflightError."""
    import torch

    needed = estimate_bytes(model, shards)
    if not torch.cuda.is_available() or config.use_cpu:
        log.info("about %.1f GB for weights, gradients and optimizer", needed / 1e9)
        return
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    # With sleep mode vLLM gives its share back while the model is trained.
    shares = config.use_vllm and config.vllm_mode == "colocate" and not config.vllm_enable_sleep_mode
    free = total * (1 - config.vllm_gpu_memory_utilization) if shares else total
    if needed > free:
        raise PreflightError(
            f"weights, gradients and optimizer need about {needed / 1e9:.0f} GB per process, but only "
            f"{free / 1e9:.0f} GB are free; use recipes/accelerate/zero2.yaml or zero3.yaml on more GPUs, or "
            "trainer.vllm_enable_sleep_mode=true"
        )


def estimate_bytes(model: PreTrainedModel, shards: int) -> float:
    """Estimate the bytes of a process: weights, gradients, and Adam's float32 moments and weights over `shards`.

    Of frozen weights there are only the weights. Activations are not counted.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = sum(p.nbytes for p in model.parameters())
    gradients = sum(p.nbytes for p in trained)
    # DeepSpeed keeps float32 weights beside bfloat16 ones.
    adam = sum(p.numel() * (12 if p.itemsize == 2 and shards > 1 else 8) for p in trained)
    return weights + gradients + adam / shards


def warn_of_kernels(model: PreTrainedModel) -> None:
    """Log which packages are missing without which this model trains several times slower on a GPU."""
    import torch
    from transformers.utils.import_utils import is_causal_conv1d_available, is_flash_linear_attention_available

    layers = getattr(model.config.get_text_config(), "layer_types", None) or ()
    if "linear_attention" not in layers or not torch.cuda.is_available():
        return
    kernels = {
        "flash-linear-attention": is_flash_linear_attention_available,
        "causal-conv1d": is_causal_conv1d_available,
    }
    if missing := ", ".join(name for name, is_available in kernels.items() if not is_available()):
        log.warning("packages not installed: %s; this model trains several times slower without them", missing)


def run_probe(
    trainer: PolicyTrainer, rows: Sequence[Mapping[str, object]], reward: Reward, limits: PreflightConfig
) -> None:
    """Let the untrained model answer some prompts, through every part of a training step. Raises PreflightError."""
    from datasets import Dataset

    measured = trainer.probe(Dataset.from_list([{**row, "set": "probe"} for row in rows[: limits.probe]]))
    books = reward.books
    if books.failed and books.failed == books.judged:  # so far this session judged only the probe
        raise PreflightError(
            f"none of {books.judged} judgements could be read; the warning above shows the reply, "
            "and python -m autodata.judge_audit examines the judge"
        )
    check_probe(measured, limits)


def check_probe(measured: Mapping[str, float], limits: PreflightConfig) -> None:
    """Compare the probe's numbers with their limits. Raises PreflightError for the first one beyond its limit."""
    cut_off = measured["eval_completions/clipped_ratio"]
    if cut_off > limits.max_cut_off:
        raise PreflightError(
            f"{write_percent(cut_off)} of the untrained model's completions are cut off, more than "
            f"preflight.max_cut_off={limits.max_cut_off}: raise trainer.max_completion_length, or "
            "raise the limit if this is intended"
        )
    spread = measured["eval_frac_reward_zero_std"]
    if spread > limits.max_zero_spread:
        raise PreflightError(
            f"in {write_percent(spread)} of the groups all rewards are equal (mean "
            f"{measured['eval_reward']:.3g}), more than preflight.max_zero_spread="
            f"{limits.max_zero_spread}: the examples are too easy or too hard for this model"
        )
    check_difference(measured, limits)


def check_difference(measured: Mapping[str, float], limits: PreflightConfig, prefix: str = "eval_") -> None:
    """Check that vLLM has the weights of the trainer. Raises PreflightError."""
    difference = measured.get(f"{prefix}sampling/sampling_logp_difference/mean")
    if difference is not None and difference > limits.max_logp_difference:
        raise PreflightError(
            f"vLLM and the trainer differ by {difference:.3f} nats per token, more than "
            f"preflight.max_logp_difference={limits.max_logp_difference}: the weights were not copied to vLLM, "
            "or vLLM keeps float32 weights as bfloat16 (then raise the limit)"
        )
