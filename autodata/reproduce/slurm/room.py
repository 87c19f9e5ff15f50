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
from autodata.reproduce.graph import Step
from autodata.reproduce.nodes import count_nodes
from autodata.reproduce.record import Cost, StepRecord, read_others
from autodata.reproduce.slurm.jobs import CAMPAIGN_MODULES, CAMPAIGNS, Job, choose_script, list_jobs, write_call
from autodata.types import UserError


@dataclass(frozen=True)
class Room:
    """The nodes of the cluster, and the campaigns of other tables that wait or run there."""

    site: Site = field(default_factory=Site)
    nodes: int | None = None  # None: not known, and then everything has room
    others: Sequence[StepRecord] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str], folder: Path) -> "Room":
        """Read the site file and ask Slurm, if it can be asked; `folder` has the record of the request."""
        site = Site.read(environment)
        nodes = site.nodes or jobs.count_nodes(site.gpus_per_node, find_partition(site, environment))
        try:
            queued = jobs.list_reasons()
        except SlurmError:
            return cls(site, nodes)
        entries = (entry for record in read_others(folder) for entry in record.steps.values())
        return cls(site, nodes, [e for e in entries if e.module in CAMPAIGN_MODULES and e.job in queued])

    def list_jobs(self) -> dict[str, str]:
        """Return the numbers of other tables' jobs by the names of their steps."""
        return {entry.name: entry.job for entry in self.others}

    def describe(self) -> str:
        if self.nodes is None:
            return "How many nodes there are is not known here; AUTODATA_NODES=8 shows the jobs for eight nodes."
        head = f"GPUs of a node: {self.site.gpus_per_node}; nodes for servers: {self.nodes}."
        return f"{head} A job whose servers have no room beside those of earlier jobs waits for their end."


def find_partition(site: Site, environment: Mapping[str, str]) -> str:
    """Find the partition of server jobs: that of their own options, else that of all jobs; empty: the default one."""
    named = re.findall(r"(?:^| )(?:--partition[= ]|-p ?)(\S+)", " ".join(site.options))
    return named[-1] if named else environment.get("SBATCH_PARTITION", "")


def keep_apart(steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room) -> list[Step]:
    """Let each unfinished campaign wait for earlier ones until it has room beside all others that may run then.

    Steps that it needs, or that need it, are never beside it.
    """
    if room.nodes is None:
        return [*steps]
    before, own = find_before(steps), {step.name for step in steps}
    rivals = [((entry.name,), count_nodes(entry.cost, room.site)) for entry in room.others if entry.name not in own]
    changed = {step.name: step for step in steps}
    for job in list_jobs(step for step in steps if step.name not in finished):
        if nodes := count_job_nodes(job, costs, room.site):
            beside = [rival for rival in rivals if before[job[0].name].isdisjoint(rival[0])]
            behind = tuple(_find_behind(beside, room.nodes - nodes))
            changed |= {step.name: replace(step, behind=behind) for step in job}
            rivals.append((tuple(step.name for step in job), nodes))
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


def find_too_large(steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room) -> str:
    """Say which campaign would have too few nodes even alone, and what to change; nothing if all of them fit."""
    for job in list_jobs(step for step in steps if step.name not in finished):
        nodes = count_job_nodes(job, costs, room.site)
        if room.nodes is not None and nodes > room.nodes:
            return (
                f"{job[0].name}: its servers need {nodes} nodes of {room.site.gpus_per_node} GPUs, and there are "
                f"{room.nodes}; lower models.endpoints.….server.replicas, or correct AUTODATA_NODES in slurm/site.env"
            )
    return ""


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
