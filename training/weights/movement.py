"""Measures how many of the trained weights a step moves, and stops a training that moves none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback, TrainerState, TrainingArguments

from autodata.config import RecipeError
from autodata.stats.writing import write_percent
from autodata.types import UserError

if TYPE_CHECKING:
    from torch.nn import Module, Parameter
    from torch.optim import Optimizer
    from trl import GRPOConfig

SHARE, CHANGE = "moved_share", "moved_relative"  # keys of the trainer's log
_SAMPLE = 8192  # weights looked at in each tensor


class NothingMoved(UserError):
    """The optimizer changes too few of the weights for the training to learn; the message names the cause."""


@dataclass(frozen=True)
class Moved:
    """What one optimizer step did to the weights that had a gradient."""

    step: int
    share: float  # of these weights that have another value now
    relative: float  # norm of the change over the norm of all trained weights


class MovementCheck(TrainerCallback):
    """Compares the trained weights before and after the first step that has a gradient.

    It looks at the weights that the optimizer changes: with DeepSpeed these are its float32 copies, else the model's
    own. A bfloat16 weight without such a copy keeps its value if the change is smaller than 1/512 of it, so at small
    learning rates nearly all keep theirs, whatever the loss says. `min_share` is the smallest share that must move.
    While the learning rate warms up, too small a share is no verdict yet.
    """

    def __init__(self, min_share: float):
        self._min_share = min_share
        self._before: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}  # bool: whether a weight of the sample had a gradient
        self._hooks: list[Any] = []
        self._rate, self._done = 0.0, False

    def on_step_begin(
        self, args: object, state: TrainerState, control: object, *, model: Module, optimizer: Optimizer, **_: object
    ) -> None:
        self._done = self._done or any(SHARE in entry for entry in state.log_history)
        if self._done:
            return
        self._rate = max(group["lr"] for group in optimizer.param_groups)
        if not self._before:
            trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
            self._before = {name: take_sample(read_weights(p)) for name, p in trained.items()}
            self._hooks = [p.register_hook(self._watch(name)) for name, p in trained.items()]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: object, *, model: Module, **_: object
    ) -> None:
        """Measure the step. Raises NothingMoved."""
        if self._done or not any(gather_object([any(map(Tensor.any, self._gradients.values()))])):
            return
        after = {name: take_sample(read_weights(p)) for name, p in model.named_parameters() if name in self._before}
        counts = gather_object([count_moved(self._before, after, self._gradients)])
        share = sum(c[0] for c in counts) / sum(c[1] for c in counts)
        moved = Moved(state.global_step, share, measure_change(self._before, after))
        self._forget()
        if share >= self._min_share:
            self._done = True
            state.log_history.append({"step": moved.step, SHARE: moved.share, CHANGE: moved.relative})
        elif state.global_step > args.get_warmup_steps(state.max_steps):
            raise NothingMoved(describe(moved, self._rate, find_narrow(model), self._min_share))

    def on_log(
        self, args: GRPOConfig, state: TrainerState, control: object, logs: Mapping[str, Any], **_: object
    ) -> None:
        """Raises NothingMoved if the first rewards that differ within a group give no gradient.

        TRL also counts groups without any reward as different, so steps with such completions are passed over.
        """
        all_scored = not logs.get("train/unscored") and not args.mask_truncated_completions
        differ = all_scored and logs.get("frac_reward_zero_std", 1.0) < 1.0
        if not self._done and differ and logs.get("grad_norm") == 0.0:
            raise NothingMoved(
                f"step {state.global_step}: rewards differ, but no gradient reaches the weights; "
                "check lora.lora_alpha, and whether trainer settings mask every completion"
            )

    def _watch(self, name: str) -> Callable[[Tensor], None]:
        def record(gradient: Tensor) -> None:
            has = take_sample(gradient) != 0
            self._gradients[name] = has | self._gradients[name] if name in self._gradients else has

        return record

    def _forget(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._before, self._gradients, self._hooks = {}, {}, []


def require_gradient(history: Sequence[Mapping[str, Any]]) -> None:
    """Raise NothingMoved if no step of a training had a gradient. `history` is the trainer's log of all sessions."""
    if not any(SHARE in entry or entry.get("grad_norm") for entry in history):
        raise NothingMoved(
            "no step had a gradient, so the model is unchanged: all rewards were equal in every group, or every "
            "completion was masked; look at the rewards and at reward.cut_off, then train in another folder (run=…)"
        )


def require_trained(model: Module) -> None:
    """Raise RecipeError if the whole model is frozen."""
    if not any(p.requires_grad for p in model.parameters()):
        raise RecipeError(
            "every weight of the model is frozen, so nothing is trained: check lora.inference_mode and model"
        )


def has_masters(parameter: Parameter) -> bool:
    """Say whether DeepSpeed keeps a float32 copy of this weight."""
    return hasattr(parameter, "_hp_mapping") or hasattr(parameter, "_z3_optimizer")


def read_weights(parameter: Parameter) -> Tensor:
    """Return the weights that the optimizer changes, whole. With DeepSpeed all processes must call this."""
    if not has_masters(parameter):
        return parameter.detach()
    from deepspeed.utils import safe_get_full_fp32_param

    return safe_get_full_fp32_param(parameter)


def take_sample(weights: Tensor) -> Tensor:
    """Copy 8,192 weights as float32, always those of the same random places; all if there are no more."""
    flat = weights.detach().reshape(-1)
    if flat.numel() > _SAMPLE:
        places = torch.randint(flat.numel(), (_SAMPLE,), generator=torch.Generator().manual_seed(0))
        flat = flat[places.to(flat.device)]
    return flat.float().cpu().clone()


def count_moved(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
) -> tuple[int, int]:
    """Count the sampled weights with a gradient: those that have another value now, and all."""
    moved = sum(int(((after[name] != before[name]) & has).sum()) for name, has in gradients.items())
    return moved, sum(int(has.sum()) for has in gradients.values())


def measure_change(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """Divide the norm of the change by the norm of the weights."""
    change = sum(float((after[name] - before[name]).double().square().sum()) for name in before)
    norm = sum(float(weights.double().square().sum()) for weights in before.values())
    return (change / norm) ** 0.5 if norm else 0.0


def find_narrow(model: Module) -> set[str]:
    """Name the dtypes of less than 32 bits in which trained weights are kept without a float32 copy."""
    trained = [p for p in model.parameters() if p.requires_grad and not has_masters(p)]
    return {str(p.dtype).removeprefix("torch.") for p in trained if p.dtype.itemsize < 4}


def describe(moved: Moved, rate: float, narrow: set[str], min_share: float) -> str:
    """Name the cause. `narrow` has the dtypes of weights that are kept in less than 32 bits only."""
    seen = (
        f"step {moved.step} moved {write_percent(moved.share)} of the weights that have a gradient, less than "
        f"preflight.min_moved={min_share:g}"
    )
    if not rate:
        return f"{seen}: the learning rate of this step was 0; raise trainer.learning_rate"
    if narrow:
        return (
            f"{seen}: the weights are {' and '.join(sorted(narrow))} without float32 copies, so steps of the "
            f"learning rate {rate:g} are rounded away; train adapters (recipes/training/one_gpu.yaml), launch with "
            "recipes/accelerate/zero2.yaml, which keeps float32 copies, or set "
            "trainer.model_init_kwargs.dtype=float32"
        )
    return f"{seen}: the learning rate {rate:g} is too small for float32; raise trainer.learning_rate"
