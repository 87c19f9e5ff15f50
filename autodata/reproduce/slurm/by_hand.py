"""Finds the jobs in the queue that no table submitted: which runs they make, and how many GPUs their servers take.

Whoever calls a script of slurm/ by hand leaves no record. Slurm knows how it was called, and that says which recipe it
reads.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.cluster.parts import Part, plan_parts, split_recipes
from autodata.cluster.resources import Site
from autodata.config import load, schema_for
from autodata.eval import campaign
from autodata.reproduce.record import Cost, StepRecord
from autodata.reproduce.request import tidy
from autodata.reproduce.slurm.jobs import CAMPAIGNS, EVAL, MODULES, RUN
from autodata.types import UserError


@dataclass(frozen=True)
class ByHand:
    """The jobs that no table submitted."""

    counted: tuple[StepRecord, ...] = ()  # one for each run; several for a job array
    unread: tuple[str, ...] = ()  # jobs whose recipe cannot be read from here, so nobody knows their servers

    @classmethod
    def find(cls, known: Collection[str], site: Site) -> "ByHand":
        """Find them in the queue; `known` has the numbers of the jobs of all tables."""
        counted, unread = [], {}
        for job in _list_jobs(known):
            try:
                counted += _read(job, site)
            except (UserError, ValueError, IndexError):
                if _name_script(job) in CAMPAIGNS:  # any other job has no servers of its own
                    unread[job.id] = f"job {job.id} ({' '.join(job.command)} in {job.folder})"
        return cls(tuple(counted), tuple(unread.values()))


def name_by_hand(step: str) -> str:
    """Name the job of somebody who makes the run of a step by hand."""
    return f"{step} (by hand)"


def _list_jobs(known: Collection[str]) -> Iterator[jobs.Submission]:
    with suppress(SlurmError):
        for job in jobs.list_submissions():
            if job.id not in known and _name_script(job) in (*MODULES, RUN):
                yield job


def _name_script(job: jobs.Submission) -> str:
    return Path(job.command[0]).name


def _read(job: jobs.Submission, site: Site) -> list[StepRecord]:
    """Read the recipes of a job. Raises UserError, or ValueError if it was called in another folder."""
    if Path(job.folder).resolve() != Path.cwd():
        raise ValueError(job.folder)
    script, words = _name_script(job), [word.replace("%a", "1") for word in job.command[1:]]
    module = MODULES.get(script) or words.pop(0)
    if script in CAMPAIGNS:
        recipes = [_fit(recipe) if script == EVAL else recipe for recipe in split_recipes(words)]
        made = [(part.run, _count(part)) for part in plan_parts(recipes, site.gpus_per_node)]
    else:
        recipe = load(schema_for(words[0]), words)
        made = [(recipe.run, Cost("submitted by hand"))] if hasattr(recipe, "run") else []  # a table is no run
    return [StepRecord(module, name_by_hand(tidy(str(run))), (), cost, job=job.id) for run, cost in made]


def _fit(recipe: Sequence[str]) -> list[str]:
    with suppress(UserError):  # its data are not here, so all replicas are counted
        return campaign.fit([*recipe], is_dry=False)
    return [*recipe]


def _count(part: Part) -> Cost:
    servers = tuple((group.endpoint, group.gpus, group.replicas) for group in part.groups)
    return Cost("submitted by hand", sum(gpus * replicas for _, gpus, replicas in servers), servers=servers)
