"""Reads what a finished training measured: the lengths of completions, and the seconds of each group of parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.config import RecipeError, load
from autodata.plan.lengths import Lengths, fit
from autodata.plan.training.course import EVALUATION, REST, STEP, Course
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.training import GrpoRecipe
from autodata.report.curves import LogEntry, read_curves
from autodata.run.folder import require_finished
from autodata.run.records import read_json


@dataclass(frozen=True)
class MeasuredTraining:
    """A finished training. Seconds are totals of the run."""

    folder: Path
    recipe: GrpoRecipe
    processes: int
    lengths: Lengths
    seconds: dict[str, float]  # by group of parts

    def compare(self, course: Course) -> dict[str, float]:
        """Return the factor of each group: what was measured, divided by `course`, the simulation of this training."""
        totals = {group: course.total(group) for group in (STEP, EVALUATION, REST)}
        return {group: self.seconds[group] / total if total else 1.0 for group, total in totals.items()}


def read_training(folder: Path) -> MeasuredTraining:
    """Read a finished training. Raises RecipeError, RunError."""
    manifest = require_finished(str(folder), COMMANDS[GrpoRecipe])
    recipe = load(GrpoRecipe, [str(folder / "recipe.yaml")])
    steps = [entry for entry in read_curves(folder).train if "step_time" in entry]
    if not steps:
        raise RecipeError(f"--like {folder}: its curve.json has no step with a time; name another run")
    seconds = {STEP: sum(entry["step_time"] for entry in steps), EVALUATION: _sum_evaluations(folder)}
    rest = max(0.0, float(manifest["elapsed_s"]) - sum(seconds.values()))
    processes = int(manifest["judged_over"]["processes"])
    return MeasuredTraining(folder, recipe, processes, _fit_lengths(steps, recipe), seconds | {REST: rest})


def _fit_lengths(steps: Sequence[LogEntry], recipe: GrpoRecipe) -> Lengths:
    """Fit lengths to the mean, and to the share that was cut off or, if none was, to the longest of a step."""

    def mean(key: str) -> float:
        return fmean(entry[f"completions/{key}"] for entry in steps)

    most, share = float(recipe.trainer["max_completion_length"]), mean("clipped_ratio")
    completions = recipe.prompts_per_step * int(recipe.trainer.get("num_generations") or 8)
    reached = (most, share) if share else (mean("max_length"), 1 / completions)
    return fit(mean("mean_length"), *reached, most)


def _sum_evaluations(folder: Path) -> float:
    """Sum the seconds of all evaluations of watched sets in the log of the last checkpoint; 0 without a checkpoint."""
    states = list(folder.glob("checkpoints/checkpoint-*/trainer_state.json"))
    if not states:
        return 0.0
    log: list[dict[str, Any]] = read_json(max(states, key=lambda path: int(path.parent.name.split("-")[1])))[
        "log_history"
    ]
    return sum(float(entry.get("eval_runtime", 0.0)) for entry in log)
