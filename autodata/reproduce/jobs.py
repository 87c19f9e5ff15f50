"""Submits the steps of a graph as Slurm jobs, each after those that it needs.

The name of a job follows from the run that it makes, so the same command, or that of another table which needs the same
run, finds the jobs that already wait or run. `steps.json` in the request's folder has their numbers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.jobs import QueuedJob
from autodata.config import REPO
from autodata.recipes.evaluation import QuestionTypesRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Record, StepRecord

_SCRIPTS = {
    "autodata.corpora.ingest": "ingest.sh",
    "autodata.generate": "generate.sh",
    "autodata.meta.optimize": "meta.sh",
    "training.grpo": "train.sh",
    "eval.run": "eval.sh",
}
_CAMPAIGN = ("--time=24:00:00", "--signal=B:USR1@300", "--requeue")  # as generate.sh, for a command without a script


def name_job(step: Step) -> str:
    """Name a step's job after the run that it makes; no other run has this name."""
    key = f"{step.module} {Path(step.target).resolve()}"
    return f"autodata-{step.name.partition(' ')[0]}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def make_command(step: Step, after: Sequence[str], folder: Path) -> list[str]:
    """Make the command that submits a step after the jobs with these numbers."""
    options = [f"--job-name={name_job(step)}", f"--output={folder}/{name_job(step)}-%j.log"]
    if after:
        options += [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"]
    return ["sbatch", "--parsable", *options, *_choose_script(step)]


def _choose_script(step: Step) -> list[str]:
    arguments = list(step.arguments)
    if isinstance(step.recipe, QuestionTypesRecipe):
        return [*_CAMPAIGN, "slurm/run.sh", "autodata.cluster.campaign", step.module, *arguments]
    if isinstance(step.recipe, GrpoRecipe):
        return [*_place(step.recipe), "slurm/train.sh", *arguments]
    if script := _SCRIPTS.get(step.module):
        return [f"slurm/{script}", *arguments]
    return ["slurm/run.sh", step.module, *arguments]


def choose_accelerate(recipe: GrpoRecipe) -> str | None:
    """Choose the file that says how a training is launched; None: the script's own choice, one node of 8 GPUs."""
    if recipe.trainer.get("use_cpu"):
        return "recipes/accelerate/cpu.yaml"
    return "recipes/accelerate/one_gpu.yaml" if recipe.lora else None


def _place(recipe: GrpoRecipe) -> list[str]:
    """Return the options for a training that is not on a whole node."""
    if not (accelerate := choose_accelerate(recipe)):
        return []
    gpus = 0 if recipe.trainer.get("use_cpu") else 1
    return [f"--gpus-per-node={gpus}", f"--export=ALL,AUTODATA_ACCELERATE={accelerate}"]


def submit_all(steps: Sequence[Step], record: Record) -> Record:
    """Submit the unfinished steps and keep the jobs that wait or run. Raises SlurmError."""
    queued = {job.name: job for job in jobs.find(sorted({name_job(step) for step in steps}))}
    record.folder.mkdir(parents=True, exist_ok=True)
    submitted: set[str] = set()
    for step in steps:
        entry = record.steps[step.name]
        if entry.finished:
            continue
        job = _keep(queued.get(name_job(step)), submitted.intersection(step.after))
        if job is None:
            after = [record.steps[name].job for name in step.after if not record.steps[name].finished]
            job = jobs.submit(make_command(step, after, record.folder))
            submitted.add(step.name)
        record = record.change(replace(entry, job=job))
        record.write()  # at once: a killed command forgets nothing
        print(f"{'submitted' if step.name in submitted else 'kept'} job {job}: {step.name}", flush=True)
    return record


def _keep(job: QueuedJob | None, renewed: set[str]) -> str | None:
    """Keep a job in the queue, unless it waits for one that has died: then cancel it."""
    if job and renewed:
        jobs.cancel([job.id])
        return None
    return job.id if job else None


def explain_queue(entries: Sequence[StepRecord]) -> Mapping[str, str]:
    """Say what Slurm does with each recorded job that waits or runs. Raises SlurmError."""
    return jobs.tell_states([entry.job for entry in entries if entry.job])


