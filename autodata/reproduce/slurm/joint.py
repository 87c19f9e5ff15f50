"""Joins the evaluations of a table that share servers, so that one job loads a judge of 595 GB once for all of them.

Evaluations share a job if the same table reads them, if they ask the same server, and if equally many steps come one
after the other before them, so that they become ready at about the same time. They then run at the same time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodata.cluster.fleet import find_graders, find_served
from autodata.recipes.models import Endpoint
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import count_nodes
from autodata.reproduce.record import TABLES, Cost
from autodata.reproduce.slurm.jobs import EVAL, choose_script
from autodata.reproduce.slurm.room import Room


def join(
    steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room
) -> tuple[list[Step], dict[str, Cost]]:
    """Join the unfinished evaluations that share servers, as far as their servers have room together.

    Returns all steps, those of a job next to one another, and their forecasts.
    """
    depths, groups = count_depths(steps), _group(steps, finished, costs, room)
    joined = dict(costs)
    places = {step.name: (depths[step.name], number) for number, step in enumerate(steps)}
    changed = {step.name: step for step in steps}
    for group in groups:
        names = tuple(step.name for step in group)
        after = tuple(dict.fromkeys(name for step in group for name in step.after))
        joined.update(share_costs(group, costs))
        changed |= {step.name: replace(step, after=after, beside=names) for step in group}
        places |= {name: (*places[names[0]], number) for number, name in enumerate(names)}
    # All steps of a job have the same depth, so whatever one of them needs is less deep and stands before all.
    return sorted(changed.values(), key=lambda step: places[step.name]), joined


def count_depths(steps: Sequence[Step]) -> dict[str, int]:
    """Count how many steps come one after the other before each step, at most."""
    depths: dict[str, int] = {}
    for step in steps:
        depths[step.name] = max((depths[name] + 1 for name in step.after), default=0)
    return depths


def _group(steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room) -> list[list[Step]]:
    """Group the evaluations of two and more that share a job."""
    depths, groups = count_depths(steps), {}
    for step in steps:
        if step.name in finished or choose_script(step) != EVAL:
            continue
        table = next((other.name for other in steps if other.module == TABLES and step.name in other.after), "")
        alike = groups.setdefault((table, depths[step.name]), [])
        fitting = (group for group in alike if _find_lent(step, group) and _has_room([*group, step], costs, room))
        if group := next(fitting, None):
            group.append(step)
        else:
            alike.append([step])
    return [group for alike in groups.values() for group in alike if len(group) > 1]


def _has_room(group: Sequence[Step], costs: Mapping[str, Cost], room: Room) -> bool:
    shared = share_costs(group, costs)
    return room.nodes is None or sum(count_nodes(cost, room.site) for cost in shared.values()) <= room.nodes


def share_costs(group: Sequence[Step], costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """Forecast evaluations that run at the same time.

    A shared server is counted for the first that asks it. All end when the slowest could end alone, or when a shared
    server has done the work of all.
    """
    shared, seconds = {}, _find_seconds(group, costs)
    is_assumed = any(costs[step.name].assumed for step in group)  # one server's time follows from all of them
    for number, step in enumerate(group):
        lent, cost = _find_lent(step, group[:number]), costs[step.name]
        gpus = sum(gpus * replicas for name, gpus, replicas in cost.servers if name in lent)
        source = f"{cost.source}; shares {', '.join(lent)}" if lent else cost.source
        time = cost.seconds if cost.seconds is None else seconds
        own = tuple(server for server in cost.servers if server[0] not in lent)
        rest = replace(cost, gpus=cost.gpus - gpus, servers=own)
        shared[step.name] = replace(rest, source=source, seconds=time, assumed=is_assumed)
    return shared


def _find_seconds(group: Sequence[Step], costs: Mapping[str, Cost]) -> float:
    work: dict[str, float] = {}
    for step in group:
        names = {name for other in group if other is not step for name in _find_lent(step, [other])}
        for name, seconds in costs[step.name].busy:
            if name in names:
                work[name] = work.get(name, 0.0) + seconds
    return max([*(costs[step.name].seconds or 0.0 for step in group), *work.values()])


def _find_lent(step: Step, others: Sequence[Step]) -> dict[str, Endpoint]:
    """Find the endpoints of a step that one of the others has under the same name and with the same settings."""
    served = [_list_servers(other) for other in others]
    return {n: e for n, e in _list_servers(step).items() if any(known.get(n) == e for known in served)}


def _list_servers(step: Step) -> dict[str, Endpoint]:
    return find_served(step.recipe.models, find_graders(step.recipe))
