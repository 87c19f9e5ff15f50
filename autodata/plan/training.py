"""Plans a training: the memory of a GPU by part, the hours by part, and what it takes of the judge's servers."""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rich.table import Table

from autodata.config import RecipeError
from autodata.plan import lengths, speed
from autodata.plan.course import EVALUATION, Course, simulate_course
from autodata.plan.lengths import Lengths
from autodata.plan.measured import MeasuredTraining, read_training
from autodata.plan.memory import Memory, estimate_memory, read_size
from autodata.plan.problems import count_examples
from autodata.plan.queues import make_station, read_speeds, show_endpoints
from autodata.plan.shape import ModelShape, read_shape
from autodata.plan.simulation import Station
from autodata.plan.speed import ReplicaSpeed
from autodata.plan.steps import STUDENT, Setting, count_parallel
from autodata.plan.workload import PRIORS
from autodata.recipes.models import Endpoint
from autodata.recipes.training import GrpoRecipe
from autodata.stats.writing import DASH, write_duration, write_percent
from autodata.types import Role
from training.batch import divide_batch

_GB = 1e9
_PROCESSES = 8  # of recipes/accelerate/zero2.yaml


@dataclass(frozen=True)
class TrainingPlan:
    """What one training takes."""

    setting: Setting
    course: Course
    origin: str  # source of lengths and hours

    @property
    def memory(self) -> Memory:
        return estimate_memory(self.setting.recipe, self.setting.shape, self.setting.processes)

    @property
    def gpus(self) -> dict[str, int]:
        """The GPUs that train, those of a vLLM server of their own, and the judge's."""
        stations, recipe = self.setting.stations, self.setting.recipe
        if recipe.trainer.get("use_cpu"):
            return {"training": 0}
        judge = {name: s.gpus * s.replicas for name, s in stations.items() if name != STUDENT}
        sampling = {"vLLM server": count_parallel(recipe.trainer)} if is_apart(recipe) else {}
        return {"training": self.setting.processes, **sampling, **judge}

    def summarize(self, accepted: int | None) -> dict[str, str]:
        course, gpus = self.course, self.gpus
        hours = course.seconds / 3600
        largest = max(course.parts, key=lambda part: part.total)
        return {
            "weights": self._write_weights(),
            "steps": self._write_steps(),
            "completions": self._write_lengths(),
            "tokens": f"{course.tokens:,.0f}",
            "hours from": self.origin,
            "wall-clock": write_duration(course.seconds),
            "GPUs": ", ".join(f"{name} {count}" for name, count in gpus.items()),
            "GPU-hours held": f"{sum(gpus.values()) * hours:,.2f}",
            "evaluation": f"{write_percent(course.total(EVALUATION) / course.seconds, 1)} of the time",
            "largest part": f"{largest.name}, {write_percent(largest.total / course.seconds)} of the time",
            "memory of a GPU": "; ".join(self._write_fit(gb) for gb in PRIORS["gpu"]["memory_gb"].values()),
        }

    def _write_weights(self) -> str:
        shape, recipe = self.setting.shape, self.setting.recipe
        kind = f"{shape.adapters:,} in adapters" if shape.adapters else f"{shape.trained:,}"
        loses = shape.trained and read_size(recipe) < 4 and self.setting.processes == 1
        warning = "; no float32 weights: small updates are lost" if loses else ""
        return f"{kind} are trained, {shape.parameters:,} are loaded{warning}"

    def _write_steps(self) -> str:
        recipe = self.setting.recipe
        group, processes = recipe.trainer.get("num_generations") or 8, self.setting.processes
        each = f"{recipe.prompts_per_step} prompts of {group} completions"
        return f"{recipe.trainer['max_steps']:,} of {each}, {recipe.prompts_per_step * group // processes} a process"

    def _write_lengths(self) -> str:
        drawn = self.setting.lengths
        return f"mean {drawn.mean:,.0f} tokens, {write_percent(drawn.cut_off)} cut off at {drawn.most:,.0f}"

    def _write_fit(self, gb: float) -> str:
        most = max(self.memory.generating(gb * _GB), self.memory.updating(gb * _GB)) / _GB
        return f"{most:,.1f} GB of {gb}, {'fits' if self.memory.fits(gb * _GB) else 'does not fit'}"

    def show(self, name: str) -> list[Table]:
        stations = self.setting.stations
        used = {n: self.course.work.get(n, 0.0) / (self.course.seconds * s.replicas) for n, s in stations.items()}
        return [self._show_hours(name), self._show_memory(name), show_endpoints(name, stations, used.__getitem__)]

    def _show_hours(self, name: str) -> Table:
        table = Table("part", "seconds each", "times", "hours", "share", title=f"{name}: hours")
        for part in self.course.parts:
            share = write_percent(part.total / self.course.seconds, 1)
            table.add_row(part.name, f"{part.seconds:,.1f}", f"{part.count:,}", f"{part.total / 3600:,.2f}", share)
        return table

    def _show_memory(self, name: str) -> Table:
        """Build the table of a GPU's memory, with two columns for each size of GPU."""
        sizes, memory = list(PRIORS["gpu"]["memory_gb"].values()), self.memory
        columns = [f"{phase}, {gb} GB" for gb in sizes for phase in ("generating", "updating")]
        table = Table("GB on one GPU", *columns, title=f"{name}: memory")
        for part, size in {**memory.held, **memory.passing}.items():
            cells = [f"{size / _GB:,.2f}" if part in memory.held else DASH, f"{size / _GB:,.2f}"]
            table.add_row(part, *cells * len(sizes))
        engine = [(memory.engine_share * gb, 0.0 if memory.sleeps else memory.engine_share * gb) for gb in sizes]
        table.add_row("vLLM", *(f"{gb:,.2f}" for pair in engine for gb in pair))
        totals = [(memory.generating(gb * _GB), memory.updating(gb * _GB)) for gb in sizes]
        table.add_row("sum", *(f"{total / _GB:,.2f}" for pair in totals for total in pair))
        return table


def is_apart(recipe: GrpoRecipe) -> bool:
    """True if vLLM runs on GPUs of its own."""
    return bool(recipe.trainer.get("use_vllm")) and recipe.trainer.get("vllm_mode", "colocate") == "server"


def plan_training(recipe: GrpoRecipe, options: argparse.Namespace) -> TrainingPlan:
    """Plan a training on --gpus processes, by default as many as its accelerate file has. Raises UserError."""
    measured = read_training(options.like) if options.like else None
    _check(recipe, measured)
    is_single = bool(recipe.lora or recipe.trainer.get("use_cpu"))
    processes = options.gpus or (1 if is_single else _PROCESSES)
    setting = _set(recipe, processes, _choose_lengths(recipe, measured), options)
    course = simulate_course(setting, options.repeats)
    if not measured:
        return TrainingPlan(setting, course, "priors.yaml, unmeasured")
    same = _set(measured.recipe, measured.processes, measured.lengths, options)
    factors = measured.compare(simulate_course(same, options.repeats))
    return TrainingPlan(setting, course.scale(factors), f"{measured.folder}, measured")


def _check(recipe: GrpoRecipe, measured: MeasuredTraining | None) -> None:
    """Check that there is enough to plan from. Raises RecipeError."""
    if int(recipe.trainer.get("max_steps") or 0) < 1:
        raise RecipeError("trainer.max_steps: set it, a plan needs the number of steps")
    if not measured and recipe.trainer.get("use_cpu"):
        raise RecipeError("trainer.use_cpu=true: no speed of a processor is assumed; name a finished run with --like")
    if measured and (name := measured.recipe.domain.name) != recipe.domain.name:
        problem = f"it has domain.name={name}, the recipe has {recipe.domain.name}"
        raise RecipeError(f"--like {measured.folder}: {problem}; name another run")


def _choose_lengths(recipe: GrpoRecipe, measured: MeasuredTraining | None) -> Lengths:
    most = int(recipe.trainer.get("max_completion_length") or 512)
    if measured is None:
        return lengths.assume(recipe.domain.name, most)
    return Lengths(measured.lengths.median, measured.lengths.spread, most)


def _set(recipe: GrpoRecipe, processes: int, drawn: Lengths, options: argparse.Namespace) -> Setting:
    """Gather what decides how long a training takes. Raises RecipeError, SpeedError."""
    divide_batch(recipe.prompts_per_step, recipe.trainer, processes)  # raises if the processes cannot share a step
    shape = read_shape(recipe.model, recipe.lora)
    stated = read_speeds(options.speed)
    student = stated.pop(STUDENT, None) or _assume_speed(recipe, shape)
    engines = 1 if is_apart(recipe) else max(1, processes // count_parallel(recipe.trainer))
    room = _count_room(estimate_memory(recipe, shape, processes), drawn) * engines
    station = Station(replace(student, caches=True), engines, room, count_parallel(recipe.trainer))
    stations = {STUDENT: station, **_build_judge(recipe, stated, options.like)}
    sizes = {name: count_examples(recipe.dataset, name, recipe.domain.name) for name in recipe.evaluate}
    limit = recipe.evaluate_examples or max(sizes.values(), default=0)
    return Setting(recipe, shape, processes, drawn, stations, {name: min(n, limit) for name, n in sizes.items() if n})


def _assume_speed(recipe: GrpoRecipe, shape: ModelShape) -> ReplicaSpeed:
    if recipe.model in PRIORS["speeds"]:
        return speed.assume(STUDENT, Endpoint(recipe.model))
    return speed.derive(shape, read_size(recipe))


def _count_room(memory: Memory, drawn: Lengths) -> int:
    """Count the sequences that one engine holds at once on an H100; without a limit if it runs on a GPU of its own."""
    tokens = PRIORS["tokens"][Role.WEAK_SOLVER][0] + drawn.mean
    total = PRIORS["gpu"]["memory_gb"]["H100"] * _GB
    return memory.count_sequences(total, tokens) if memory.engine_share else sys.maxsize


def _build_judge(recipe: GrpoRecipe, stated: Mapping[str, ReplicaSpeed], like: Path | None) -> dict[str, Station]:
    judge = recipe.models.judge
    endpoints = {judge.endpoint: recipe.models.endpoints[judge.endpoint]} if judge else {}
    speeds = speed.choose(endpoints, stated, like)
    return {name: make_station(endpoint, speeds[name]) for name, endpoint in endpoints.items()}
