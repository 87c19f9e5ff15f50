"""Forecasts what a step takes: tokens, GPU-hours, wall-clock time and disk, as `autodata.plan` does."""

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.cluster.fleet import Site, find_served
from autodata.plan.plan import make_plan
from autodata.plan.training.steps import STUDENT
from autodata.plan.training.tables import TrainingPlan
from autodata.plan.workload import PRIORS
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.serving.costs import count_gpus
from autodata.types import UserError

_SAME = ("run", "dataset", "arms", "label", "evaluated", "evaluate_dataset", "journal")  # keys that change no forecast
_WEIGHT, _MOMENTS = 2, 12  # bytes per parameter: bfloat16 weights; float32 weights and both moments of AdamW


@dataclass(frozen=True)
class Cost:
    """The forecast for one step; None where there is none, and then `source` says why."""

    source: str
    gpus: int = 0
    seconds: float | None = None
    tokens: float | None = None
    disk_gb: float = 0.0

    @property
    def gpu_hours(self) -> float | None:
        return None if self.seconds is None else self.gpus * self.seconds / 3600

    def count_nodes(self, site: Site) -> int:
        """Count whole nodes; without a GPU the step is one job on a part of a node."""
        return math.ceil(self.gpus / site.gpus_per_node)


def forecast(steps: Sequence[Step], speeds: Sequence[str] = ()) -> dict[str, Cost]:
    """Forecast every step. Two steps that differ only in their data are simulated once. Raises UserError."""
    known: dict[str, Cost] = {}
    costs = {}
    for step in steps:
        key = _identify(step.recipe)
        if key not in known:
            known[key] = _forecast_step(step, speeds)
        costs[step.name] = known[key]
    return costs


def _identify(recipe: Any) -> str:
    values = asdict(recipe) if recipe else {}
    for key in _SAME:
        values.pop(key, None)
    for endpoint in values.get("models", {}).get("endpoints", {}).values():
        if values.get("samples") and endpoint["server"]:  # trained weights are as fast as untrained ones
            endpoint["server"]["weights"] = endpoint["model"] = ""
    return json.dumps([type(recipe).__name__, values], sort_keys=True, default=str)


def _forecast_step(step: Step, speeds: Sequence[str]) -> Cost:
    gpus = count_step_gpus(step.recipe)
    if not isinstance(step.recipe, GenerateRecipe | GrpoRecipe | EvalRecipe):
        return Cost("not planned" if gpus else "on CPUs, not planned", gpus)
    try:
        plan = make_plan(step.recipe, _make_options(step, speeds))
    except UserError as problem:
        return Cost(f"not planned: {problem}", gpus)
    if isinstance(plan, TrainingPlan):
        gpus = sum(plan.gpus.values())
        return Cost(plan.origin, gpus, plan.course.seconds, plan.course.tokens, _count_disk(plan))
    return Cost(plan.origin, plan.gpus, fmean(plan.seconds), plan.tokens)


def _make_options(step: Step, speeds: Sequence[str]) -> argparse.Namespace:
    """Make the options of `autodata.plan` for a step, with only the speeds of the endpoints that it uses."""
    used = {*step.recipe.models.endpoints, STUDENT if isinstance(step.recipe, GrpoRecipe) else ""}
    fitting = [text for text in speeds if text.partition("=")[0] in used]
    values = {"like": None, "gpus": None, "accepted": None, "repeats": 1, "documents": _count_documents(step.recipe)}
    return argparse.Namespace(recipe=list(step.arguments), speed=fitting, **values)


def _count_documents(recipe: Any) -> int | None:
    """Count the documents of a corpus that is not here yet: as many as the paper has. None: count those here."""
    if not isinstance(recipe, GenerateRecipe) or Path(recipe.documents.path).exists():
        return None
    count = PRIORS["documents"].get(recipe.domain.name)
    return min(count, recipe.documents.limit or count) if count else None


def _count_disk(plan: TrainingPlan) -> float:
    """Count the gigabytes of a training's models and of the checkpoints that it keeps."""
    recipe, shape = plan.setting.recipe, plan.setting.shape
    models = (1 + len(recipe.save_models_at)) * _WEIGHT * shape.parameters
    checkpoint = _WEIGHT * shape.parameters + _MOMENTS * (shape.adapters or shape.trained)
    return (models + int(recipe.trainer.get("save_total_limit") or 1) * checkpoint) / 1e9


def count_step_gpus(recipe: Any) -> int:
    """Count the GPUs of the servers that a step starts."""
    models = getattr(recipe, "models", None)
    if models is None:
        return 0
    graders = {role.endpoint for role in getattr(recipe, "graders", {}).values() if role}
    servers = [endpoint.server for endpoint in find_served(models, graders).values()]
    return sum(server.replicas * count_gpus(server) for server in servers if server)


@dataclass(frozen=True)
class Schedule:
    """When the steps run if every one begins as soon as it can; steps without a forecast take no time in it."""

    ends: Mapping[str, float]
    nodes: int  # most nodes at once

    @property
    def seconds(self) -> float:
        return max(self.ends.values(), default=0.0)


def schedule(steps: Iterable[Step], costs: Mapping[str, Cost], site: Site) -> Schedule:
    """Let every step begin when the last of those before it ends. Steps left out are finished."""
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for step in steps:
        starts[step.name] = max((ends.get(name, 0.0) for name in step.after), default=0.0)
        ends[step.name] = starts[step.name] + (costs[step.name].seconds or 0.0)
    running = [[n for n in starts if starts[n] <= moment < ends[n]] for moment in starts.values()]
    return Schedule(ends, max((sum(costs[n].count_nodes(site) for n in names) for names in running), default=0))
