"""Forecasts what each step takes: tokens, GPU-hours, wall-clock time and disk, as `autodata.plan` does."""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.data.examples import EXAMPLES
from autodata.plan.commands import estimate_command, estimate_ingest, is_here, measure_corpus
from autodata.plan.evaluation import EvaluationPlan, QuestionTypesPlan
from autodata.plan.generation import GenerationPlan, are_here
from autodata.plan.meta import MetaPlan
from autodata.plan.plan import Plan, make_plan
from autodata.plan.problems import are_counted
from autodata.plan.queues import QueuePlan, list_open, read_speeds
from autodata.plan.simulation import Station
from autodata.plan.speed import CHOSEN, explain_unknown, require_used
from autodata.plan.training.steps import STUDENT
from autodata.plan.training.tables import TrainingPlan
from autodata.plan.workload import PRIORS, UNMEASURED
from autodata.recipes.corpora import IngestRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import (
    count_processes,
    count_step_gpus,
    fit,
    fit_evaluation,
    keep_one_of_each,
    list_servers,
    starts_one_of_each,
)
from autodata.reproduce.record import TABLES, VERIFY, Cost
from autodata.run.folder import read_manifest
from autodata.serving.costs import LEDGER
from autodata.types import UserError

_SAME = ("run", "dataset", "arms", "label", "evaluated", "evaluate_dataset", "journal")  # keys that change no forecast
_WEIGHT, _MOMENTS = 2, 12  # bytes per parameter: bfloat16 weights; float32 weights and both moments of AdamW


@dataclass(frozen=True)
class Evidence:
    """What a forecast may rest on beside priors.yaml."""

    speeds: Sequence[str] = ()  # stated by the user
    finished: Sequence[Step] = ()  # steps whose runs say what they took
    runs: Sequence[Path] = ()  # finished runs whose calls say how fast servers are, the latest first
    is_local: bool = False  # the steps run on this machine, where each server has one replica


def forecast(steps: Sequence[Step], evidence: Evidence = Evidence()) -> dict[str, Cost]:
    """Forecast every step. Two steps that differ only in their data are simulated once. Raises UserError."""
    _check_speeds(steps, evidence.speeds)
    finished = {step.name for step in evidence.finished}
    known: dict[str, Cost] = {}
    costs = {}
    for step in steps:
        if step.name in finished:
            costs[step.name] = measure(step, evidence.is_local)
            continue
        key = _identify(step.recipe)
        if key not in known:
            known[key] = _forecast_step(step, evidence)
        costs[step.name] = known[key]
    return costs


def measure(step: Step, is_local: bool = False) -> Cost:
    """Read what a finished step took, as far as its run says it."""
    gpus = count_step_gpus(fit(step, is_local))
    manifest = read_manifest(Path(step.target)) if step.module not in (VERIFY, TABLES) else None
    if not manifest or not isinstance(seconds := manifest.get("elapsed_s"), int | float):
        return Cost("its run does not say what it took", gpus)
    ledger = LEDGER.validate_python(manifest.get("ledger") or {})
    counts = not isinstance(step.recipe, GrpoRecipe)  # a training's ledger has its judge alone
    tokens = float(sum(cost.tokens for cost in ledger.values())) if counts else None
    source = "measured: this run" if counts else "measured: this run, which does not count the trained model's tokens"
    return Cost(source, gpus, float(seconds), tokens)


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


def _forecast_step(step: Step, evidence: Evidence) -> Cost:
    if isinstance(step.recipe, IngestRecipe):
        size = measure_corpus(step.recipe)
        source = UNMEASURED if is_here(step.recipe) else f"{UNMEASURED}; {size:,g} GB of corpus assumed"
        return Cost(source, 0, estimate_ingest(step.recipe), 0.0, size, assumed=True)
    if seconds := estimate_command(step.module):
        return Cost(UNMEASURED, 0, seconds, 0.0, assumed=True)
    try:
        plan = _plan(step, evidence)
    except UserError as problem:
        recipe = fit(step, evidence.is_local)
        return Cost(f"not planned: {problem}", count_step_gpus(recipe), servers=list_servers(recipe))
    return _forecast_training(plan) if isinstance(plan, TrainingPlan) else _forecast_calls(plan, step.recipe)


def _forecast_training(plan: TrainingPlan) -> Cost:
    recipe = plan.setting.recipe
    parts = [f"{plan.origin}, at trainer.max_steps={recipe.trainer['max_steps']}"]
    if plan.setting.sizes and not (Path(recipe.watched_dataset) / EXAMPLES).exists():
        parts.append(f"{sum(plan.setting.sizes.values()):,} watched problems assumed")
    parts += _tell_speeds({n: s for n, s in plan.setting.stations.items() if n != STUDENT}, plan.origin)
    gpus, seconds, tokens = sum(plan.gpus.values()), plan.course.seconds, plan.course.tokens
    is_assumed = plan.origin == UNMEASURED
    judge = {name: station for name, station in plan.setting.stations.items() if name != STUDENT}
    groups = {name: count for name, count in plan.gpus.items() if name not in judge}  # those that train or sample
    servers = (*((name, 1, count) for name, count in groups.items() if count), *_list_servers(judge))
    cost = Cost("; ".join(parts), gpus, seconds, tokens, _count_disk(plan), assumed=is_assumed)
    return replace(cost, servers=servers)


def _forecast_calls(plan: QueuePlan, recipe: Any) -> Cost:
    """Take tokens and time from a plan of calls; no time if the speed of a server is not known."""
    disk_gb = PRIORS["bytes_per_token"] * plan.sum(o.completion.total() for o in plan.outcomes) / 1e9
    unknown, uncounted = list_open(plan.stations), _tell_uncounted(plan, recipe)
    parts = [plan.origin, *uncounted, *_tell_speeds(plan.stations, plan.origin), *map(explain_unknown, unknown)]
    if warning := plan.warn_of_limit() if isinstance(plan, MetaPlan) else "":
        parts.append(f"an iteration {warning}")
    chosen = [station for station in plan.stations.values() if station.speed and station.speed.origin == CHOSEN]
    is_assumed = bool(plan.origin == UNMEASURED or uncounted or chosen)
    seconds = None if unknown else fmean(plan.seconds)
    busy = () if unknown else tuple((name, plan.utilisation(name) * seconds) for name in sorted(plan.stations))
    servers = _list_servers(plan.stations)
    return Cost("; ".join(parts), plan.gpus, seconds, plan.tokens, disk_gb, is_assumed, busy, servers)


def _list_servers(stations: Mapping[str, Station]) -> tuple[tuple[str, int, int], ...]:
    """List the servers that have a job of their own; those that share their GPUs are in one job with their command."""
    used = {name: station for name, station in stations.items() if station.gpus}
    if any(station.place not in ("", name) for name, station in used.items()):
        return ()
    return tuple((name, station.gpus, station.replicas) for name, station in used.items())


def _tell_uncounted(plan: QueuePlan, recipe: Any) -> list[str]:
    """Say which number of documents or problems is assumed, because the data are not here yet."""
    if isinstance(plan, GenerationPlan) and not are_here(recipe.documents):
        return [f"{plan.total * recipe.documents.per_group:,} documents assumed"]
    if isinstance(plan, EvaluationPlan) and not are_counted(recipe):
        return [f"{sum(problems.count for problems in plan.sets.values()):,} problems assumed"]
    if isinstance(plan, QuestionTypesPlan) and not (Path(recipe.dataset) / EXAMPLES).exists():
        return [f"{plan.total:,} questions assumed"]
    return []


def _tell_speeds(stations: Mapping[str, Station], origin: str) -> list[str]:
    """Say where the speeds of servers come from, unless `origin` says it already."""
    known = {name: station.speed.origin for name, station in stations.items() if station.speed}
    return [f"speed of {name}: {source}" for name, source in known.items() if (source, origin) != (CHOSEN, UNMEASURED)]


def _plan(step: Step, evidence: Evidence) -> Plan:
    """Plan a step like a finished one of its kind, if that can be; else from priors.yaml. Raises UserError."""
    for other in evidence.finished:
        if is_alike(step.recipe, other.recipe):
            with suppress(UserError):  # it has another arm, or too little in it
                return _plan_like(step, _make_options(step, evidence, Path(other.target)), evidence.is_local)
    return _plan_like(step, _make_options(step, evidence, None), evidence.is_local)


def is_alike(recipe: Any, other: Any) -> bool:
    """True if a run of another step says how long the answers of this one are: trained weights are as fast."""
    if type(recipe) is not type(other) or not isinstance(recipe, EvalRecipe | GrpoRecipe):
        return False
    keys = ("domain", "evaluated.endpoint", "evaluated.sampling", "model", "trainer")
    return all(_select(recipe, key) == _select(other, key) for key in keys)


def _select(recipe: Any, key: str) -> Any:
    for name in key.split("."):
        recipe = getattr(recipe, name, None)
    return recipe


def _plan_like(step: Step, options: argparse.Namespace, is_local: bool) -> Plan:
    """Plan a step with the replicas that its job starts. Raises UserError."""
    if starts_one_of_each(step, is_local):
        return make_plan(keep_one_of_each(step.recipe), options)
    plan = make_plan(step.recipe, options)
    fitting = fit_evaluation(step, plan.total) if isinstance(plan, EvaluationPlan) else None
    return make_plan(fitting, options) if fitting else plan


def _make_options(step: Step, evidence: Evidence, like: Path | None) -> argparse.Namespace:
    """Make the options of `autodata.plan` for a step, with only the speeds of the endpoints that it uses."""
    used = {*step.recipe.models.endpoints, STUDENT if isinstance(step.recipe, GrpoRecipe) else ""}
    fitting = [text for text in evidence.speeds if text.partition("=")[0] in used]
    gpus = count_processes(step.recipe) if isinstance(step.recipe, GrpoRecipe) else None
    values = {"like": like, "runs": evidence.runs, "gpus": gpus, "accepted": None, "repeats": 1, "documents": None}
    return argparse.Namespace(recipe=list(step.arguments), speed=fitting, **values)


def _count_disk(plan: TrainingPlan) -> float:
    """Count the gigabytes of a training's models and of the checkpoints that it keeps."""
    recipe, shape = plan.setting.recipe, plan.setting.shape
    models = (1 + len(recipe.save_models_at)) * _WEIGHT * shape.parameters
    checkpoint = _WEIGHT * shape.parameters + _MOMENTS * (shape.adapters or shape.trained)
    return (models + int(recipe.trainer.get("save_total_limit") or 1) * checkpoint) / 1e9
