"""Divides a step among processes, so that it is the same on one GPU and on many."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from autodata.config import RecipeError

_KEYS = ("per_device_train_batch_size", "num_generations", "num_generations_eval")


def divide_batch(prompts: int, trainer: Mapping[str, Any], processes: int) -> dict[str, int]:
    """Return the batch sizes that TRL needs for steps of `prompts` prompts, on any number of processes.

    A process goes `gradient_accumulation_steps` times through the model for one step. An evaluation batch is the
    smallest that holds whole groups, of the training's size and of the evaluation's. Raises RecipeError.
    """
    each, group, watched = read_sizes(trainer)
    if prompts < 1 or prompts * group % (each * processes):
        raise RecipeError(_describe(prompts, group, each, processes))
    whole = math.lcm(group, watched)
    return {
        "gradient_accumulation_steps": prompts * group // (each * processes),
        "per_device_eval_batch_size": whole // math.gcd(whole, processes),
    }


def read_sizes(trainer: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return the sequences of one forward pass, and the sizes of a group in training and in evaluation."""
    from trl import GRPOConfig

    defaults = {field.name: field.default for field in fields(GRPOConfig) if field.name in _KEYS}
    each, group, watched = (trainer.get(key) or defaults[key] for key in _KEYS)
    return int(each), int(group), int(watched or group)


def _describe(prompts: int, group: int, each: int, processes: int) -> str:
    """Name the nearest numbers that would divide."""
    unit = math.lcm(group, each * processes) // group  # prompts that fill all processes
    near = sorted({max(unit, prompts // unit * unit), max(unit, -(-prompts // unit) * unit)})
    advice = f"take prompts_per_step={' or '.join(map(str, near))}"
    if prompts >= 1 and prompts * group % each == 0:
        passes = prompts * group // each
        fits = [n for n in range(1, passes + 1) if passes % n == 0]
        close = sorted(fits, key=lambda n: abs(n - processes))[:2]
        advice += f", or {' or '.join(map(str, sorted(close)))} processes"
    return (
        f"prompts_per_step={prompts}: {prompts} prompts of {group} completions do not divide among {processes} "
        f"processes that take trainer.per_device_train_batch_size={each} at a time; {advice}"
    )
