"""Counts which servers a step really starts, their GPUs, and the nodes that all of them need."""

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any

from autodata.cluster.fleet import divide, find_graders, find_served
from autodata.cluster.resources import Site
from autodata.cluster.training.placement import Launch
from autodata.config import load
from autodata.eval.campaign import count_answers, fit_replicas
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Cost, Node
from autodata.reproduce.slurm.jobs import CAMPAIGNS, choose_accelerate, choose_script
from autodata.serving.costs import count_gpus
from autodata.types import UserError


def starts_one_of_each(step: Step, is_local: bool) -> bool:
    """True if a command starts its servers itself: then each has one replica, whatever its recipe says."""
    return is_local or not (choose_script(step) in CAMPAIGNS or isinstance(step.recipe, GrpoRecipe))


def keep_one_of_each(recipe: Any) -> Any:
    """Return a recipe whose servers have one replica each."""
    models = getattr(recipe, "models", None)
    if models is None:
        return recipe
    single = {n: replace(e, server=replace(e.server, replicas=1)) for n, e in models.endpoints.items() if e.server}
    return replace(recipe, models=replace(models, endpoints={**models.endpoints, **single}))


def fit_evaluation(step: Step, answers: int) -> EvalRecipe | None:
    """Read an evaluation again with as many replicas as slurm/eval.sh gives it; None if it keeps those it has."""
    values = [f"{key}={value}" for key, value in fit_replicas(step.recipe, answers).items()]
    return load(EvalRecipe, [*step.arguments, *values]) if values else None


def fit(step: Step, is_local: bool) -> Any:
    """Return the recipe of a step with the replicas that its job starts, as far as its data are here to say it."""
    if starts_one_of_each(step, is_local):
        return keep_one_of_each(step.recipe)
    if isinstance(step.recipe, EvalRecipe):
        with suppress(UserError):  # its data are not here
            return fit_evaluation(step, count_answers(step.recipe)) or step.recipe
    return step.recipe


def count_step_gpus(recipe: Any) -> int:
    """Count the GPUs of the servers that a step starts, and those that a training is on."""
    models = getattr(recipe, "models", None)
    if models is None:
        return 0
    servers = [endpoint.server for endpoint in find_served(models, find_graders(recipe)).values() if endpoint.server]
    alone = sum(server.replicas * count_gpus(server) for server in servers if not server.shares_gpus)
    shared = max((count_gpus(server) for server in servers if server.shares_gpus), default=0)
    return alone + shared + (count_processes(recipe) or 0 if isinstance(recipe, GrpoRecipe) else 0)


def list_servers(recipe: Any) -> tuple[tuple[str, int, int], ...]:
    """List the servers that have a job of their own: endpoint, GPUs of a replica, replicas."""
    models = None if isinstance(recipe, GrpoRecipe) else getattr(recipe, "models", None)
    served = {n: e.server for n, e in find_served(models, find_graders(recipe)).items() if e.server} if models else {}
    if any(server.shares_gpus for server in served.values()):
        return ()
    return tuple((name, count_gpus(server), server.replicas) for name, server in served.items())


def count_processes(recipe: GrpoRecipe) -> int | None:
    """Count the processes that train, each on a GPU, as the job starts them; None on the CPU. Raises WrongCall."""
    if choose_accelerate(recipe):
        return 1
    launch = Launch.choose(recipe)
    return None if launch.on_cpu else launch.processes


def count_nodes(cost: Cost, site: Site) -> int:
    """Count whole nodes; without a GPU a step is one job on a part of a node.

    Each server job is on one node: in the order of their submission, on the first that has room for it.
    """
    per_node = max(1, site.gpus_per_node)  # a site may say that its nodes have none
    if not cost.servers or any(gpus > per_node for _, gpus, _ in cost.servers):
        return math.ceil(cost.gpus / per_node)
    free: list[int] = []
    for gpus in _list_server_jobs(cost.servers, per_node):
        place = next((number for number, left in enumerate(free) if left >= gpus), None)
        if place is None:
            free.append(per_node - gpus)
        else:
            free[place] -= gpus
    return len(free)


def _list_server_jobs(servers: Iterable[tuple[str, int, int]], per_node: int) -> list[int]:
    """List the GPUs of each server job; the first jobs of all endpoints come first."""
    jobs = [[count * gpus for count in divide(replicas, gpus, per_node)] for _, gpus, replicas in servers]
    return list(filter(None, chain.from_iterable(zip_longest(*jobs))))


def schedule(
    steps: Iterable[Node], costs: Mapping[str, Cost], site: Site, nodes: int | None = None
) -> dict[str, tuple[float, float]]:
    """Find when each step begins and ends, in seconds, if it begins as soon as it can.

    It comes after the steps before it and, where the number of `nodes` is known, when as many are free as it needs. A
    step without a forecast takes no time here, and so does a finished one, which is not among `steps`.
    """
    times: dict[str, tuple[float, float]] = {}
    for step in steps:
        ready = max((times[n][1] for n in (*step.after, *step.behind) if n in times), default=0.0)
        length = costs[step.name].seconds or 0.0
        starts = [ready, *sorted(end for _, end in times.values() if end > ready)]
        if nodes is not None:
            left = nodes - min(nodes, count_nodes(costs[step.name], site))
            starts = [s for s in starts if _count_held(times, costs, site, (s, s + length)) <= left]
        times[step.name] = (starts[0], starts[0] + length)
    return times


def _count_held(
    times: Mapping[str, tuple[float, float]], costs: Mapping[str, Cost], site: Site, span: tuple[float, float]
) -> int:
    """Count the nodes that the steps hold at once, at most, from the first moment of a span until its last."""
    first, last = span
    moments = [first, *(start for start, _ in times.values() if first < start < last)]
    held = {name: count_nodes(costs[name], site) for name in times}
    return max(sum(held[name] for name, (start, end) in times.items() if start <= m < end) for m in moments)


def count_most_nodes(times: Mapping[str, tuple[float, float]], costs: Mapping[str, Cost], site: Site) -> int:
    """Count the nodes that are in use at once, at most."""
    return _count_held(times, costs, site, (0.0, math.inf)) if times else 0
