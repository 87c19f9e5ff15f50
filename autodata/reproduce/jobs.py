"""Submits the steps of a graph as Slurm jobs, each after those that it needs.

The name of a job follows from the run that it makes. So the same command finds the jobs that already wait or run, as
does the command of another table that needs the same run. `steps.json` in the request's folder has their numbers.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from autodata.cluster import jobs
from autodata.cluster.fleet import find_graders, find_served
from autodata.cluster.jobs import QueuedJob
from autodata.recipes.shipped import find_shipped
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Record

_SCRIPTS = {
    "autodata.corpora.ingest": "ingest.sh",
    "autodata.generate": "generate.sh",
    "autodata.meta.optimize": "meta.sh",
    "autodata.training.grpo": "train.sh",
    "autodata.eval.run": "eval.sh",
}
_RUN = "run.sh"
_ACCELERATE = "AUTODATA_ACCELERATE"


def name_job(step: Step) -> str:
    """Name a step's job after the run that it makes; no other run has this name."""
    key = f"{step.module} {Path(step.target).resolve()}"
    return f"autodata-{step.name.partition(' ')[0]}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def make_command(step: Step, after: Sequence[str], folder: Path, ending: str = "") -> list[str]:
    """Make the command that submits a step after the jobs with these numbers; the script chooses the resources.

    `ending` is an earlier job of this step that was cancelled but whose processes still hold the run folder.
    """
    name = name_job(step)
    options = ["--parsable", f"--job-name={name}", f"--output={folder}/{name}-%j.log"]
    waits = [f"afterok:{':'.join(after)}"] * bool(after) + [f"afterany:{ending}"] * bool(ending)
    if waits:
        options += [f"--dependency={','.join(waits)}", "--kill-on-invalid-dep=yes"]
    script = choose_script(step)
    command = ["bash", f"slurm/{script}", *options, *([step.module] if script == _RUN else []), *step.arguments]
    accelerate = choose_accelerate(step.recipe)
    return ["env", f"{_ACCELERATE}={accelerate}", *command] if accelerate else command


def choose_script(step: Step) -> str:
    """Choose the script of a step. Servers that share GPUs run inside the job of their command: run.sh."""
    models = getattr(step.recipe, "models", None)
    served = find_served(models, find_graders(step.recipe)).values() if models else ()
    has_shared = any(endpoint.server and endpoint.server.shares_gpus for endpoint in served)
    is_training = isinstance(step.recipe, GrpoRecipe)  # its job serves the judge
    return _RUN if has_shared and not is_training else _SCRIPTS.get(step.module, _RUN)


def choose_accelerate(recipe: object) -> str | None:
    """Choose the file that launches a training of adapters, which is on one GPU; None: nothing special."""
    is_small = isinstance(recipe, GrpoRecipe) and recipe.lora and not recipe.trainer.get("use_cpu")
    return find_shipped("recipes/accelerate/one_gpu.yaml") if is_small and _ACCELERATE not in os.environ else None


def submit_all(steps: Sequence[Step], record: Record) -> Record:
    """Submit the unfinished steps and keep the jobs that wait or run. Raises SlurmError."""
    names = sorted({name_job(step) for step in steps})
    queued, ending = {job.name: job for job in jobs.find(names)}, jobs.find_ending(names)
    record.folder.mkdir(parents=True, exist_ok=True)
    submitted: set[str] = set()
    for step in steps:
        entry = record.steps[step.name]
        if entry.finished:
            continue
        job = _keep(queued.get(name_job(step)), submitted.intersection(step.after))
        if job is None:
            after = [record.steps[name].job for name in step.after if not record.steps[name].finished]
            job = jobs.submit(make_command(step, after, record.folder, ending.get(name_job(step), "")))
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
