"""Keeps campaigns apart that need more nodes together than there are.

Each server of a campaign has a job of its own. Two campaigns that both hold some nodes and wait for more would wait
for each other for ever. So a campaign waits until those beside which it has no room are over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.cluster.resources import Site
from autodata.cluster.submit import Call, write_job
from autodata.recipes.evaluated import EVALUATED
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import count_nodes
from autodata.reproduce.record import STEPS, Cost, StepRecord, read_others, read_record
from autodata.reproduce.slurm.by_hand import ByHand, name_by_hand
from autodata.reproduce.slurm.jobs import CAMPAIGN_MODULES, CAMPAIGNS, Job, choose_script, list_jobs, write_call
from autodata.stats.writing import write_count
from autodata.types import UserError


@dataclass(frozen=True)
class Room:
    """The nodes of the cluster, and the campaigns of other tables that wait or run there."""

    site: Site = field(default_factory=Site)
    nodes: int | None = None  # None: not known, and then everything has room
    others: Sequence[StepRecord] = ()  # with those that were submitted by hand
    unread: Sequence[str] = ()  # campaigns that cannot be counted
    environment: Mapping[str, str] = field(default_factory=dict)  # the site file, with what goes over it

    @classmethod
    def count(cls, environment: Mapping[str, str]) -> "Room":
        """Count the nodes that the site file, or else Slurm, says there are."""
        site = Site.read(environment)
        nodes = site.nodes or jobs.count_nodes(site.gpus_per_node, find_partition(site, environment))
        return cls(site, nodes, environment=environment)

    @classmethod
    def read(cls, environment: Mapping[str, str], folder: Path) -> "Room":
        """Read the site file and ask Slurm, if it can be asked; `folder` has the record of the request."""
        counted, records = cls.count(environment), read_others(folder)
        own = [read_record(folder)] if (folder / STEPS).exists() else []
        by_hand = ByHand.find(
            {entry.job for record in (*records, *own) for entry in record.steps.values()}, counted.site
        )
        try:
            queued = jobs.list_reasons()
        except SlurmError:
            return counted
        entries = (entry for record in records for entry in record.steps.values())
        others = {(e.name, e.job): e for e in entries if e.module in CAMPAIGN_MODULES and e.job in queued}
        return replace(counted, others=[*others.values(), *by_hand.counted], unread=by_hand.unread)

    def list_jobs(self) -> dict[str, str]:
        """Return the numbers of others' jobs by the names of their steps, joined by colons as sbatch takes them."""
        numbers: dict[str, dict[str, None]] = {}
        for entry in self.others:
            numbers.setdefault(entry.name, {})[entry.job] = None
        return {name: ":".join(ids) for name, ids in numbers.items()}

    def describe(self) -> str:
        if self.nodes is None:
            return "How many nodes there are is not known here; AUTODATA_NODES=8 shows the jobs for eight nodes."
        head = f"GPUs of a node: {self.site.gpus_per_node}; nodes for servers: {self.nodes}."
        lines = [f"{head} A job whose servers have no room beside those of earlier jobs waits for their end."]
        if self.others:
            lines.append("Jobs outside this table that count as earlier ones, with the nodes of their servers:")
            lines += [f"- job {e.job} ({e.name}): {count_nodes(e.cost, self.site)}" for e in self.others]
        if self.unread:
            lines.append("Not counted, because their recipes cannot be read from here:")
            lines += [f"- {job}" for job in self.unread]
        return "\n".join(lines)


def find_partition(site: Site, environment: Mapping[str, str]) -> str:
    """Find the partition of server jobs: that of their own options, else that of all jobs; empty: the default one."""
    named = re.findall(r"(?:^| )(?:--partition[= ]|-p ?)(\S+)", " ".join(site.options))
    return named[-1] if named else environment.get("SBATCH_PARTITION", "")


def keep_apart(steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room) -> list[Step]:
    """Let each unfinished campaign wait for earlier ones until it has room beside all others that may run then.

    Steps that it needs, or that need it, are never beside it.
    """
    before, makers = find_before(steps), {name_by_hand(step.name): step.name for step in steps}
    own, same = {*makers.values()}, {entry.name for entry in room.others if entry.name in makers}
    rivals = [((entry.name,), count_nodes(entry.cost, room.site)) for entry in room.others if entry.name not in own]
    # Whoever makes a run by hand holds its folder, and its step begins with the nodes that are then free again.
    changed = {step.name: replace(step, behind=tuple(same & {name_by_hand(step.name)})) for step in steps}
    todo = [] if room.nodes is None else [step for step in steps if step.name not in finished]
    for job in list_jobs(todo):
        by_hand = {name_by_hand(step.name) for step in job}
        held = max((nodes for names, nodes in rivals if not by_hand.isdisjoint(names)), default=0)
        rivals = [rival for rival in rivals if by_hand.isdisjoint(rival[0])]  # this job waits for it anyway
        if nodes := count_job_nodes(job, costs, room.site):
            beside = [rival for rival in rivals if before[job[0].name].isdisjoint(rival[0])]
            behind = tuple(_find_behind(beside, room.nodes - nodes))
            changed |= {s.name: replace(s, behind=(*changed[s.name].behind, *behind)) for s in job}
            rivals.append((tuple(step.name for step in job), max(nodes, held)))
    return [*changed.values()]


def _find_behind(rivals: Sequence[tuple[Sequence[str], int]], left: int) -> Iterator[str]:
    """Name the campaigns that do not fit into the nodes that are left; the earliest stay."""
    for names, nodes in rivals:
        if nodes <= left:
            left -= nodes
        else:
            yield from names


def find_before(steps: Sequence[Step]) -> dict[str, set[str]]:
    """Find all steps that come before each step, however far."""
    before: dict[str, set[str]] = {}
    for step in steps:
        before[step.name] = {*step.after}.union(*(before[name] for name in step.after))
    return before


def count_job_nodes(job: Job, costs: Mapping[str, Cost], site: Site) -> int:
    """Count the nodes of a campaign's servers. Any other job gets all its nodes at once, and blocks nobody."""
    return sum(count_nodes(costs[step.name], site) for step in job) if choose_script(job[0]) in CAMPAIGNS else 0


def find_too_large(steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room) -> list[str]:
    """Say which campaigns would have too few nodes even alone, and what to change."""
    problems: dict[str, str] = {}
    for job in list_jobs(step for step in steps if step.name not in finished):
        nodes, per_node = count_job_nodes(job, costs, room.site), room.site.gpus_per_node
        is_placed = all(gpus <= per_node for step in job for _, gpus, _ in costs[step.name].servers)
        if is_placed and room.nodes is not None and nodes > room.nodes:  # else `find_unplaced` names it
            size = f"{write_count(nodes, 'node')} of {per_node} GPUs"
            problem = f"its servers need {size} and have {room.nodes}; {_advise(job, costs, room)}"
            problems.setdefault(problem, job[0].name)  # arms that share their models have the same problem
    return [f"{name}: {problem}" for problem, name in problems.items()]


def _advise(job: Job, costs: Mapping[str, Cost], room: Room) -> str:
    """Advise what to change so that a campaign fits."""
    if not room.nodes:
        return "sinfo lists none: correct AUTODATA_GPUS_PER_NODE or SBATCH_PARTITION in slurm/site.env"
    servers = [server for step in job for server in costs[step.name].servers]
    name, _, replicas = max(servers, key=lambda server: server[1] * (server[2] - 1), default=("", 0, 1))
    least = tuple((endpoint, gpus, 1) for endpoint, gpus, _ in servers)
    fits = replicas > 1 and count_nodes(Cost("", 1, servers=least), room.site) <= room.nodes
    key = next((s.recipe.evaluated.endpoint for s in job if name == EVALUATED and s.recipe.evaluated), name)
    lower = f"lower models.endpoints.{key}.server.replicas, which is {replicas}," if fits else ""
    smaller = "one replica of each is too much already: choose a smaller file of models,"
    return f"{lower or smaller} or correct AUTODATA_NODES in slurm/site.env"


def find_unplaced(steps: Sequence[Step], finished: set[str], site: Site) -> list[str]:
    """Say which jobs their scripts would refuse, for example because a replica needs more GPUs than a node has."""
    problems: dict[str, str] = {}
    for job in list_jobs(step for step in steps if step.name not in finished):
        script, *arguments = write_call(job)
        try:
            write_job(Call(script, (), tuple(arguments)), site)
        except UserError as error:
            problems.setdefault(str(error), job[0].name)  # arms that share their models have the same problem
    return [f"{name}: {problem}" for problem, name in problems.items()]
