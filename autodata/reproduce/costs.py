"""Forecasts what each step takes: tokens, GPU-hours, wall-clock time and disk, as `autodata.plan` does."""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from autodata.cluster.fleet import find_graders, find_served
from autodata.cluster.resources import Site
from autodata.config import load
from autodata.eval.campaign import fit_replicas
from autodata.plan.commands import estimate_command, estimate_ingest, measure_corpus
from autodata.plan.evaluation import EvaluationPlan
from autodata.plan.meta import MetaPlan
from autodata.plan.plan import Plan, make_plan
from autodata.plan.problems import are_counted
from autodata.plan.queues import QueuePlan, list_open, read_speeds
from autodata.plan.speed import explain_unknown, require_used
from autodata.plan.training.steps import STUDENT
from autodata.plan.training.tables import TrainingPlan
from autodata.plan.workload import PRIORS, UNMEASURED
from autodata.recipes.corpora import IngestRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Cost, find_ends
from autodata.serving.costs import count_gpus
from autodata.types import UserError

_SAME = ("run", "dataset", "arms", "label", "evaluated", "evaluate_dataset", "journal")  # keys that change no forecast
_WEIGHT, _MOMENTS = 2, 12  # bytes per parameter: bfloat16 weights; float32 weights and both moments of AdamW


def count_nodes(cost: Cost, site: Site) -> int:
    """Count whole nodes; without a GPU a step is one job on a part of a node."""
    return math.ceil(cost.gpus / site.gpus_per_node)


def forecast(steps: Sequence[Step], speeds: Sequence[str] = ()) -> dict[str, Cost]:
    """Forecast every step. Two steps that differ only in their data are simulated once. Raises UserError."""
    _check_speeds(steps, speeds)
    known: dict[str, Cost] = {}
    costs = {}
    for step in steps:
        key = _identify(step.recipe)
        if key not in known:
            known[key] = _forecast_step(step, speeds)
        costs[step.name] = known[key]
    return costs


def _check_speeds(steps: Sequence[Step], speeds: Sequence[str]) -> None:
    """Raise SpeedError for a speed that is malformed, or of an endpoint that no step asks."""
    trained = [STUDENT] if any(isinstance(step.recipe, GrpoRecipe) for step in steps) else []
    asked = {name for step in steps for name in getattr(getattr(step.recipe, "models", None), "endpoints", ())}
    require_used(read_speeds(speeds), [*trained, *sorted(asked)])


def _identify(recipe: Any) -> str:
    values = asdict(recipe) if recipe else {}
    for key in _SAME:
        values.pop(key, None)
    for endpoint in values.get("models", {}).get("endpoints", {}).values():
        if values.get("samples") and endpoint["server"]:  # trained weights are as fast as untrained ones
            endpoint["server"]["weights"] = endpoint["model"] = ""
    return json.dumps([type(recipe).__name__, values], sort_keys=True, default=str)


def _forecast_step(step: Step, speeds: Sequence[str]) -> Cost:
    if isinstance(step.recipe, IngestRecipe):
        return Cost(UNMEASURED, 0, estimate_ingest(step.recipe), 0.0, measure_corpus(step.recipe))
    if seconds := estimate_command(step.module):
        return Cost(UNMEASURED, 0, seconds, 0.0)
    gpus = count_step_gpus(step.recipe)
    try:
        plan = _plan(step, speeds)
    except UserError as problem:
        return Cost(f"not planned: {problem}", gpus)
    if isinstance(plan, TrainingPlan):
        gpus = sum(plan.gpus.values())
        source = f"{plan.origin}, at trainer.max_steps={plan.setting.recipe.trainer['max_steps']}"
        return Cost(source, gpus, plan.course.seconds, plan.course.tokens, _count_disk(plan))
    cost = _forecast_calls(plan)
    is_assumed = isinstance(plan, EvaluationPlan) and not are_counted(step.recipe)
    return (
        replace(cost, source=f"{cost.source}; problems: the paper's number, or the recipe's limit")
        if is_assumed
        else cost
    )


def _forecast_calls(plan: QueuePlan) -> Cost:
    """Take tokens and time from a plan of calls; no time if the speed of a server is not known."""
    disk_gb = PRIORS["bytes_per_token"] * plan.sum(o.completion.total() for o in plan.outcomes) / 1e9
    if unknown := list_open(plan.stations):
        return Cost(f"{plan.origin}; {explain_unknown(unknown[0])}", plan.gpus, None, plan.tokens, disk_gb)
    warning = plan.warn_of_limit() if isinstance(plan, MetaPlan) else ""
    source = f"{plan.origin}; an iteration {warning}" if warning else plan.origin
    seconds = fmean(plan.seconds)
    busy = tuple((name, plan.utilisation(name) * seconds) for name in sorted(plan.stations))
    return Cost(source, plan.gpus, seconds, plan.tokens, disk_gb, busy)


def _plan(step: Step, speeds: Sequence[str]) -> Plan:
    """Plan a step; an evaluation with as many replicas as slurm/eval.sh gives it. Raises UserError."""
    options = _make_options(step, speeds)
    plan = make_plan(step.recipe, options)
    if isinstance(plan, EvaluationPlan) and (fitting := fit_replicas(step.recipe, plan.total)):
        values = [f"{key}={value}" for key, value in fitting.items()]
        return make_plan(load(EvalRecipe, [*step.arguments, *values]), options)
    return plan


def _make_options(step: Step, speeds: Sequence[str]) -> argparse.Namespace:
    """Make the options of `autodata.plan` for a step, with only the speeds of the endpoints that it uses."""
    used = {*step.recipe.models.endpoints, STUDENT if isinstance(step.recipe, GrpoRecipe) else ""}
    fitting = [text for text in speeds if text.partition("=")[0] in used]
    values = {"like": None, "gpus": None, "accepted": None, "repeats": 1, "documents": None}
    return argparse.Namespace(recipe=list(step.arguments), speed=fitting, **values)


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
    servers = [endpoint.server for endpoint in find_served(models, find_graders(recipe)).values() if endpoint.server]
    alone = sum(server.replicas * count_gpus(server) for server in servers if not server.shares_gpus)
    return alone + max((count_gpus(server) for server in servers if server.shares_gpus), default=0)


def count_most_nodes(steps: Sequence[Step], costs: Mapping[str, Cost], site: Site) -> int:
    """Count the nodes that are in use at once, at most, if every step begins as soon as it can."""
    ends = find_ends(steps, costs)
    starts = {name: end - (costs[name].seconds or 0.0) for name, end in ends.items()}
    at_once = ([n for n in starts if starts[n] <= moment < ends[n]] for moment in starts.values())
    return max((sum(count_nodes(costs[name], site) for name in names) for names in at_once), default=0)
