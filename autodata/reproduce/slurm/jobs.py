"""Submits the steps of a graph as Slurm jobs, each after those that it needs.

The name of a job follows from the runs that it makes. So the same command finds the jobs that already wait or run, as
does the command of another table that needs the same run. `steps.json` in the request's folder has their numbers.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.fleet import find_graders, find_served
from autodata.cluster.jobs import QueuedJob, SlurmError
from autodata.cluster.parts import AND
from autodata.cluster.training.placement import ACCELERATE
from autodata.recipes.shipped import find_shipped
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Record
from autodata.reproduce.slurm.changes import describe_changes, find_arguments
from autodata.types import WrongCall

EVAL = "eval.sh"
CAMPAIGNS = ("generate.sh", "meta.sh", EVAL)  # their servers have jobs of their own
_SCRIPTS = {
    "autodata.corpora.ingest": "ingest.sh",
    "autodata.generate": "generate.sh",
    "autodata.meta.optimize": "meta.sh",
    "autodata.training.grpo": "train.sh",
    "autodata.eval.run": EVAL,
}
CAMPAIGN_MODULES = tuple(module for module, script in _SCRIPTS.items() if script in CAMPAIGNS)
MODULES = {script: module for module, script in _SCRIPTS.items()}
RUN = "run.sh"

Job = tuple[Step, ...]  # a step, or several evaluations that share servers


def list_jobs(steps: Iterable[Step]) -> list[Job]:
    """List the jobs of steps; those of one job stand next to one another."""
    return [tuple(job) for _, job in groupby(steps, lambda step: step.beside or step.name)]


def name_job(job: Job) -> str:
    """Name a job after the runs that it makes; no other run has a part of this name."""
    return f"autodata-{job[0].name.partition(' ')[0]}-{'-'.join(map(identify, job))}"


def identify(step: Step) -> str:
    """Return the part of a job's name that stands for a step."""
    return hashlib.sha256(f"{step.module} {Path(step.target).resolve()}".encode()).hexdigest()[:10]


def make_command(job: Job, after: Sequence[str], folder: Path, ended: Sequence[str] = ()) -> list[str]:
    """Make the command that submits a job after the jobs with these numbers; the script chooses the resources.

    The jobs `ended` must be over, however they ended: they hold a run folder of this job, or the nodes that it needs.
    """
    step, *_ = job
    options = ["--parsable", f"--job-name={name_job(job)}", f"--output={folder}/{name_job(job[:1])}-%j.log"]
    waits = [f"{kind}:{':'.join(ids)}" for kind, ids in (("afterok", after), ("afterany", ended)) if ids]
    if waits:
        options += [f"--dependency={','.join(waits)}", "--kill-on-invalid-dep=yes"]
    script, *arguments = write_call(job)
    command = ["bash", f"slurm/{script}", *options, *arguments]
    accelerate = choose_accelerate(step.recipe)
    return ["env", f"{ACCELERATE}={accelerate}", *command] if accelerate else command


def write_call(job: Job) -> list[str]:
    """Write the script of a job, and what it is called with."""
    first, *others = job
    script = choose_script(first)
    joined = [*first.arguments, *(word for step in others for word in (AND, *step.arguments))]
    return [script, *([first.module] if script == RUN else []), *joined]


def choose_script(step: Step) -> str:
    """Choose the script of a step. Servers that share GPUs run inside the job of their command: run.sh."""
    models = getattr(step.recipe, "models", None)
    served = find_served(models, find_graders(step.recipe)).values() if models else ()
    has_shared = any(endpoint.server and endpoint.server.shares_gpus for endpoint in served)
    is_training = isinstance(step.recipe, GrpoRecipe)  # its job serves the judge
    return RUN if has_shared and not is_training else _SCRIPTS.get(step.module, RUN)


def choose_accelerate(recipe: object) -> str | None:
    """Choose the file that launches a training of adapters, which is on one GPU; None: nothing special."""
    is_small = isinstance(recipe, GrpoRecipe) and recipe.lora and not recipe.trainer.get("use_cpu")
    return find_shipped("recipes/accelerate/one_gpu.yaml") if is_small and ACCELERATE not in os.environ else None


def submit_all(steps: Sequence[Step], record: Record, others: Mapping[str, str] | None = None) -> Record:
    """Submit the unfinished steps and keep the jobs that wait or run. Raises WrongCall, SlurmError.

    `others` has the numbers of other tables' jobs, by the names of their steps.
    """
    todo = [step for step in steps if not record.steps[step.name].finished]
    queued, ending = _find_by_step(todo, jobs.find_all()), _find_by_step(todo, jobs.find_ending())
    kept, known = _keep(todo, queued), find_arguments(record)
    if problem := describe_changes(todo, kept, known):
        raise WrongCall(f"{problem}\nnothing was submitted")
    jobs.cancel(sorted({job.id for job in queued.values()} - {*kept.values()}))
    record.folder.mkdir(parents=True, exist_ok=True)
    for step in todo:
        if step.name in kept:
            arguments = known.get(kept[step.name], {}).get(step.name, ())
            record = _note(record, {step.name: arguments}, kept[step.name], "kept")
    for job in list_jobs(step for step in todo if step.name not in kept):
        after, ended = find_awaited(job, steps, record, kept, others or {})
        ended += [ending[step.name].id for step in job if step.name in ending]
        id = jobs.submit(make_command(job, after, record.folder, [*dict.fromkeys(ended)]))
        record = _note(record, {step.name: step.arguments for step in job}, id, "submitted")
    return record


def find_kept(steps: Sequence[Step], record: Record) -> dict[str, str]:
    """Find the jobs in the queue that would be kept; none if Slurm cannot be asked from here."""
    todo = [step for step in steps if not record.steps[step.name].finished]
    try:
        return _keep(todo, _find_by_step(todo, jobs.find_all()))
    except SlurmError:
        return {}


def note_kept(record: Record, kept: Mapping[str, str]) -> Record:
    """Leave a record only the numbers of the jobs that are kept."""
    return replace(record, steps={n: replace(entry, job=kept.get(n, "")) for n, entry in record.steps.items()})


def _note(record: Record, job: Mapping[str, tuple[str, ...]], id: str, verb: str) -> Record:
    """Note the number of a job, and the arguments of its steps, at once, so that a killed command forgets nothing."""
    for name, arguments in job.items():
        record = record.change(replace(record.steps[name], job=id, arguments=arguments))
    record.write()
    print(f"{verb} job {id}: {', '.join(job)}", flush=True)
    return record


def find_awaited(
    job: Job, steps: Sequence[Step], record: Record, kept: Iterable[str] = (), others: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Find the numbers of the jobs that must have succeeded before a job, and of those that must only be over.

    A `kept` job does not wait for this one any more. So this one waits for it if there is no room for both.
    """
    names = {step.name for step in job}
    numbers = dict(others or {}) | {name: entry.job for name, entry in record.steps.items() if not entry.finished}
    after = [numbers[name] for step in job for name in step.after if name in numbers]
    behind = [name for step in job for name in step.behind]
    behind += [step.name for step in steps if step.name in kept and names.intersection(step.behind)]
    return [*dict.fromkeys(after)], [*dict.fromkeys(numbers[name] for name in behind if name in numbers)]


def _find_by_step(steps: Sequence[Step], listed: Sequence[QueuedJob]) -> dict[str, QueuedJob]:
    """Find the job of each step, which may also be that of other steps."""
    parts = {part: job for job in listed for part in job.name.split("-")}
    return {step.name: parts[identify(step)] for step in steps if identify(step) in parts}


def _keep(steps: Sequence[Step], queued: Mapping[str, QueuedJob]) -> dict[str, str]:
    """Choose the jobs in the queue that are kept: none of their steps waits for one that must be submitted again."""
    stale: set[str] = set()
    while True:
        kept: dict[str, str] = {}
        for step in steps:
            job, renewed = queued.get(step.name), {other.name for other in steps} - {*kept}
            if job and job.id not in stale and renewed.isdisjoint(step.after):
                kept[step.name] = job.id
        found = {job.id for name, job in queued.items() if name not in kept}
        if found <= stale:
            return kept
        stale |= found
