"""Finds the campaigns in the queue that no table submitted, and how many GPUs their servers take.

Whoever calls slurm/generate.sh, eval.sh or meta.sh leaves no record. Slurm knows how the script was called, and that
says which recipe it reads.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.cluster.parts import Part, plan_parts, split_recipes
from autodata.cluster.resources import Site
from autodata.eval import campaign
from autodata.reproduce.record import Cost, StepRecord
from autodata.reproduce.request import tidy
from autodata.reproduce.slurm.jobs import CAMPAIGN_SCRIPTS, EVAL
from autodata.types import UserError


@dataclass(frozen=True)
class ByHand:
    """The campaigns that no table submitted."""

    counted: tuple[StepRecord, ...] = ()  # one for each run; several for a job array
    unread: tuple[str, ...] = ()  # jobs whose recipe cannot be read from here, so nobody knows their servers

    @classmethod
    def find(cls, known: Collection[str], site: Site) -> "ByHand":
        """Find them in the queue; `known` has the numbers of the jobs of all tables."""
        counted, unread = [], {}
        for job in _list_campaigns(known):
            try:
                counted += _read(job, site)
            except (UserError, ValueError):
                unread[job.id] = f"job {job.id} ({' '.join(job.command)} in {job.folder})"
        return cls(tuple(counted), tuple(unread.values()))


def name_by_hand(step: str) -> str:
    """Name the campaign of somebody who makes the run of a step by hand."""
    return f"{step} (by hand)"


def _list_campaigns(known: Collection[str]) -> Iterator[jobs.Submission]:
    with suppress(SlurmError):
        for job in jobs.list_submissions():
            if job.id not in known and Path(job.command[0]).name in CAMPAIGN_SCRIPTS:
                yield job


def _read(job: jobs.Submission, site: Site) -> list[StepRecord]:
    """Read the recipes of a campaign. Raises UserError, or ValueError if it was called in another folder."""
    if Path(job.folder).resolve() != Path.cwd():
        raise ValueError(job.folder)
    script, *arguments = job.command
    name = Path(script).name
    recipes = [_fit(recipe) if name == EVAL else recipe for recipe in split_recipes(arguments)]
    parts = plan_parts([[word.replace("%a", "1") for word in recipe] for recipe in recipes], site.gpus_per_node)
    module = CAMPAIGN_SCRIPTS[name]
    return [StepRecord(module, name_by_hand(tidy(str(part.run))), (), _count(part), job=job.id) for part in parts]


def _fit(recipe: Sequence[str]) -> list[str]:
    with suppress(UserError):  # its data are not here, so all replicas are counted
        return campaign.fit([*recipe], is_dry=False)
    return [*recipe]


def _count(part: Part) -> Cost:
    servers = tuple((group.endpoint, group.gpus, group.replicas) for group in part.groups)
    return Cost("submitted by hand", sum(gpus * replicas for _, gpus, replicas in servers), servers=servers)
