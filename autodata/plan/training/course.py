"""Adds up the parts of a whole training: its steps, its evaluations, and what is around them."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autodata.config import RecipeError
from autodata.plan.training.memory import read_size
from autodata.plan.training.steps import Setting, SimulatedRound, choose_device
from autodata.plan.workload import PRIORS
from autodata.recipes.training import GrpoRecipe
from autodata.training.batch import read_sizes

STEP, EVALUATION, REST = "step", "evaluation", "rest"  # groups of parts that a run measures together


@dataclass(frozen=True)
class Part:
    """A part of a training that takes `seconds` each of `count` times."""

    group: str
    name: str
    seconds: float
    count: int

    @property
    def total(self) -> float:
        return self.seconds * self.count


@dataclass(frozen=True)
class Course:
    """A whole training: its parts, its tokens, and the seconds that each endpoint's engines work at best."""

    parts: Sequence[Part]
    tokens: float
    work: Mapping[str, float]

    @property
    def seconds(self) -> float:
        return sum(part.total for part in self.parts)

    def total(self, group: str) -> float:
        """Return the seconds of all parts of a group."""
        return sum(part.total for part in self.parts if part.group == group)

    def scale(self, factors: Mapping[str, float]) -> "Course":
        """Scale each group of parts by its factor."""
        parts = [replace(part, seconds=part.seconds * factors[part.group]) for part in self.parts]
        return replace(self, parts=parts)


def count_evaluations(recipe: GrpoRecipe) -> int:
    """Count how often the watched sets are evaluated."""
    trainer, strategy = recipe.trainer, str(recipe.trainer.get("eval_strategy", "no"))
    if not recipe.evaluate or strategy == "no":
        return 0
    if strategy != "steps":
        raise RecipeError(f"trainer.eval_strategy={strategy}: only `steps` and `no` can be planned")
    every = count_steps(trainer.get("eval_steps") or trainer.get("logging_steps") or 1, int(trainer["max_steps"]))
    return int(trainer["max_steps"]) // every + bool(trainer.get("eval_on_start"))


def count_steps(value: float, steps: int) -> int:
    """Return a number of steps; a value below 1 is a share of all steps, as in transformers."""
    return math.ceil(value * steps) if value < 1 else int(value)


def simulate_course(setting: Setting, repeats: int) -> Course:
    """Simulate a step, an evaluation and the probe `repeats` times, and extend the means to the whole training."""
    recipe, (_, group, watched) = setting.recipe, read_sizes(setting.recipe.trainer)
    generators = [random.Random(int(recipe.trainer.get("seed") or 0) + i) for i in range(repeats)]
    steps = [setting.play(recipe.prompts_per_step, group, rng) for rng in generators]
    looks = [setting.play_sets(watched, rng) for rng in generators]
    probe = setting.play(recipe.preflight.probe, group, generators[0]).seconds if recipe.preflight.probe else 0.0
    parts = [*_list_step(setting, steps), *_list_around(setting, fmean(r.seconds for r in looks), probe)]
    counts = int(recipe.trainer["max_steps"]), count_evaluations(recipe)
    tokens = sum(n * fmean(r.tokens for r in rounds) for n, rounds in zip(counts, (steps, looks), strict=True))
    work = _extend_work(steps, counts[0]) + _extend_work(looks, counts[1])
    return Course(parts, tokens, work)


def _extend_work(rounds: Sequence[SimulatedRound], count: int) -> Counter[str]:
    """Extend the mean work of some rounds to `count` rounds."""
    total = sum((r.work for r in rounds), Counter[str]())
    return Counter({name: seconds * count / len(rounds) for name, seconds in total.items()})


def _list_step(setting: Setting, rounds: Sequence[SimulatedRound]) -> list[Part]:
    """List the parts of a step."""
    trainer, shape = setting.recipe.trainer, setting.shape
    sent = read_size(setting.recipe) * shape.parameters if trainer.get("use_vllm") else 0
    count = int(trainer["max_steps"])
    return [
        Part(STEP, "sampling", fmean(r.sampling for r in rounds), count),
        Part(STEP, "waiting for the judge", fmean(r.judging for r in rounds), count),
        Part(STEP, "update", fmean(r.update for r in rounds), count),
        Part(STEP, "weights to vLLM", sent / PRIORS["sync_gb_s"] / 1e9, count),
    ]


def _list_around(setting: Setting, look: float, probe: float) -> list[Part]:
    """List the parts beside the steps. A checkpoint holds the optimizer, and the weights that it trains."""
    recipe, shape = setting.recipe, setting.shape
    saved = 12 * shape.updated + (0 if shape.adapters else read_size(recipe) * shape.parameters)
    steps = int(recipe.trainer["max_steps"])
    saves = steps // count_steps(recipe.trainer.get("save_steps") or 500, steps)
    return [
        Part(EVALUATION, "evaluation", look, count_evaluations(recipe)),
        Part(REST, "checkpoints", saved / PRIORS["disk_gb_s"] / 1e9, saves),
        Part(REST, "start and probe", choose_device(recipe)["start_s"] + probe, 1),
    ]
