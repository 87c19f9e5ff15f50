"""Plans a training: the memory of a GPU by part, the hours by part, and what it takes of the judge's servers."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.plan import lengths, speed
from autodata.plan.lengths import Lengths
from autodata.plan.problems import count_examples, count_trained
from autodata.plan.queues import IN_FLIGHT, make_station, read_speeds
from autodata.plan.server_speeds import choose
from autodata.plan.simulation import Station
from autodata.plan.speed import ReplicaSpeed, SpeedError
from autodata.plan.training.course import simulate_course
from autodata.plan.training.measured import MeasuredTraining, read_training
from autodata.plan.training.memory import Memory, estimate_memory, read_size
from autodata.plan.training.shape import ModelShape, read_shape
from autodata.plan.training.steps import STUDENT, Setting, choose_device, count_parallel, is_apart
from autodata.plan.training.tables import TrainingPlan
from autodata.plan.workload import PRIORS, expect_tokens, name_prior
from autodata.recipes.training import GrpoRecipe
from autodata.training.batch import divide_batch
from autodata.types import Role

_GB = 1e9
Speeds = Mapping[str, ReplicaSpeed]  # by endpoint
_PROCESSES = 8  # as in recipes/accelerate/zero2.yaml
_CONCURRENCY = 64  # requests that saturate an engine whose speed is derived from the model's shape


def plan_training(recipe: GrpoRecipe, options: argparse.Namespace) -> TrainingPlan:
    """Plan a training on --gpus processes, by default as many as its accelerate file has. Raises UserError."""
    measured = read_training(options.like) if options.like else None
    _check(recipe, measured)
    is_single = bool(recipe.lora or recipe.trainer.get("use_cpu"))
    processes = options.gpus or (1 if is_single else _PROCESSES)
    setting = _set(recipe, processes, _choose_lengths(recipe, measured), options)
    course, examples = simulate_course(setting, options.repeats), count_trained(recipe)
    if not measured:
        return TrainingPlan(setting, course, "priors.yaml, unmeasured", examples)
    ran = measured.recipe
    if not Path(ran.watched_dataset).exists():  # the run was made elsewhere; its sets had the sizes of the recipe's
        ran = replace(ran, evaluate_dataset=recipe.watched_dataset)
    same = _set(ran, measured.processes, measured.lengths, options)
    factors = measured.compare(simulate_course(same, options.repeats))
    return TrainingPlan(setting, course.scale(factors), f"{measured.folder}, measured", examples)


def _check(recipe: GrpoRecipe, measured: MeasuredTraining | None) -> None:
    """Check that there is enough to plan from. Raises RecipeError."""
    if int(recipe.trainer.get("max_steps") or 0) < 1:
        raise RecipeError("trainer.max_steps: set it to a number above 0, a plan needs the number of steps")
    if measured and (name := measured.recipe.domain.name) != recipe.domain.name:
        problem = f"it has domain.name={name}, the recipe has {recipe.domain.name}"
        raise RecipeError(f"--like {measured.folder}: {problem}; name another run")


def _choose_lengths(recipe: GrpoRecipe, measured: MeasuredTraining | None) -> Lengths:
    most = int(recipe.trainer.get("max_completion_length") or 512)
    if measured is None:
        return lengths.assume(name_prior(recipe.domain), most)
    return Lengths(measured.lengths.median, measured.lengths.spread, most)


def _set(recipe: GrpoRecipe, processes: int, drawn: Lengths, options: argparse.Namespace) -> Setting:
    """Gather what decides how long a training takes. Raises RecipeError, SpeedError."""
    divide_batch(recipe.prompts_per_step, recipe.trainer, processes)  # raises if the processes cannot share a step
    shape = read_shape(recipe.model, recipe.lora)
    judge = recipe.models.judge
    stated = read_speeds(options.speed)
    speed.require_used(stated, [STUDENT, judge.endpoint] if judge else [STUDENT])
    student = stated.pop(STUDENT, None) or _assume_speed(recipe, shape)
    engines = 1 if is_apart(recipe) else max(1, processes // count_parallel(recipe.trainer))
    prompt, _ = expect_tokens(name_prior(recipe.domain), Role.WEAK_SOLVER)
    room = _count_room(estimate_memory(recipe, shape, processes), drawn, prompt) * engines
    gpus = 0 if recipe.trainer.get("use_cpu") else count_parallel(recipe.trainer)
    station = Station(replace(student, caches=True), engines, room, gpus)
    stations = {STUDENT: station, **_build_judge(recipe, processes, stated, options)}
    sizes = {n: count_examples(recipe.watched_dataset, n, name_prior(recipe.domain)) for n in recipe.evaluate}
    limit = recipe.evaluate_examples or max(sizes.values(), default=0)
    return Setting(recipe, shape, processes, drawn, stations, {name: min(n, limit) for name, n in sizes.items() if n})


def _assume_speed(recipe: GrpoRecipe, shape: ModelShape) -> ReplicaSpeed:
    return speed.assume(recipe.model) or _derive_speed(choose_device(recipe), shape, read_size(recipe))


def _derive_speed(device: Mapping[str, Any], shape: ModelShape, size: int) -> ReplicaSpeed:
    """Derive the speed of a model on a device from its shape; a weight has `size` bytes. One request reads all."""
    decode = device["bandwidth_gb_s"] * 1e9 * PRIORS["decoding"] / (size * shape.parameters)
    prefill = device["tflops"] * 1e12 * PRIORS["utilisation"] / (2 * shape.multiplied)
    return speed.state(prefill, decode, _CONCURRENCY, "from the model's shape, unmeasured")


def _count_room(memory: Memory, drawn: Lengths, prompt: float) -> int:
    """Count the sequences that one engine holds at once on an H100; without a limit if it runs on a GPU of its own."""
    tokens = prompt + drawn.mean
    total = PRIORS["gpu"]["memory_gb"]["H100"] * _GB
    return memory.count_sequences(total, tokens) if memory.engine_share else sys.maxsize


def _build_judge(
    recipe: GrpoRecipe, processes: int, speeds: Speeds, options: argparse.Namespace
) -> dict[str, Station]:
    """Make the judge's station. Without max_in_flight, every process has as many calls in flight as one client."""
    if (judge := recipe.models.judge) is None:
        return {}
    endpoint = recipe.models.endpoints[judge.endpoint]
    each = replace(endpoint, max_in_flight=endpoint.max_in_flight or IN_FLIGHT * processes)
    chosen = choose({judge.endpoint: endpoint}, speeds, options.like, options.runs)[judge.endpoint]
    if chosen is None:  # the training waits for its judge, so no part of its time could be planned
        raise SpeedError(f"models.endpoints.{judge.endpoint}: {speed.explain_unknown(judge.endpoint)}")
    return {judge.endpoint: make_station(judge.endpoint, each, chosen)}
