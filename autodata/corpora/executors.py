"""Runs the tasks of an ingest with datatrove: on the cores of this machine or as a Slurm array."""

import multiprocessing
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dill
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from autodata.config import REPO
from autodata.recipes.corpora import IngestRecipe
from autodata.run.progress import Progress
from autodata.run.records import RunError

# Modules that the fork server imports once, for all workers of all stages.
_PRELOADED = [
    "autodata.corpora.pipeline",
    "autodata.corpora.executors",
    "autodata.corpora.funnel",
    "datatrove.pipeline.tokens.counter",
]
_POLL_S = 0.5
_GONE_AFTER = 20  # polls without the job before its missing tasks count as failed; shared file systems lag


@dataclass(frozen=True)
class Stage:
    """One stage of an ingest: the steps that run on every task, and the size of each task in bytes."""

    name: str
    steps: Sequence[PipelineStep]
    sizes: Sequence[int]


def run_stage(recipe: IngestRecipe, stage: Stage, work: Path, progress: Progress) -> None:
    """Run the tasks of a stage that are not done yet. Raises RunError.

    An exception in a local task is raised here; on Slurm it is in the task's log, which the error names.
    """
    logs, tasks = work / "logs" / stage.name, len(stage.sizes)
    with _watch(stage, logs / "completions", progress):
        if recipe.executor == "slurm":
            _run_on_slurm(_make_array(recipe, stage, logs), logs / "job")
        else:
            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            workers = min(recipe.workers or cores, tasks)
            _Local(list(stage.steps), tasks=tasks, workers=workers, logging_dir=str(logs)).run()


class _Local(LocalPipelineExecutor):
    """datatrove's local executor, with a pool that notices a killed worker and ends when the command ends."""

    def run(self) -> None:
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                _run_task(dill.dumps(self), rank)
            return
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        with ProcessPoolExecutor(self.workers, context, _die_with_parent) as pool:
            tasks = [pool.submit(_run_task, dill.dumps(self), rank) for rank in ranks]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BrokenProcessPool:
                raise RunError(
                    "a worker was killed, perhaps because memory ran out; run the same command again with a "
                    "smaller workers=…: finished tasks are kept"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def _run_task(executor: bytes, rank: int) -> None:
    logger.disable("datatrove")  # hides only datatrove's own messages: a task's exception is still raised
    dill.loads(executor)._run_for_rank(rank)


class _Array(SlurmPipelineExecutor):
    def launch_merge_stats(self) -> None:
        """Submit no job for datatrove's statistics: the tasks' own tallies are read when all tasks are done."""

    def get_sbatch_args(self, max_array: int = 1) -> dict[str, Any]:
        """Name a partition only if the recipe does: else that of slurm/site.env holds, or the cluster's default."""
        arguments = super().get_sbatch_args(max_array)
        return {key: value for key, value in arguments.items() if key != "partition" or value}


def _make_array(recipe: IngestRecipe, stage: Stage, logs: Path) -> _Array:
    settings = recipe.slurm
    programs, repo = shlex.quote(str(Path(sys.executable).parent)), shlex.quote(str(REPO))
    return _Array(
        list(stage.steps),
        tasks=len(stage.sizes),
        workers=recipe.workers or -1,
        qos="",
        logging_dir=str(logs.resolve()),
        time=settings.time,
        partition=settings.partition,
        mem_per_cpu_gb=settings.memory_gb,
        max_array_size=settings.max_array,
        job_name=f"ingest-{stage.name}",
        sbatch_args=dict(settings.options),
        env_command=f"export PATH={programs}:$PATH PYTHONPATH={repo} TOKENIZERS_PARALLELISM=false",
    )


def _run_on_slurm(array: _Array, job_file: Path) -> None:
    """Submit the job, or find the one that an earlier command submitted, and wait until every task is done."""
    job = job_file.read_text() if job_file.exists() and _is_known(job_file.read_text()) else ""
    try:
        if not job:
            _submit(array)
            if array.job_id == -1:  # every task is done already
                return
            job = str(array.job_id)
            job_file.write_text(job)
        _wait(array, job)
    except KeyboardInterrupt:
        if job or array.job_id:
            subprocess.run(["scancel", job or str(array.job_id)], check=False)
        raise


def _submit(array: _Array) -> None:
    """Submit the job. Raises RunError if Slurm refuses it; sbatch has then written its reason to standard error."""
    try:
        array.run()
    except (subprocess.CalledProcessError, OSError) as error:
        raise RunError(
            f"Slurm did not take the job ({error}); sbatch's message above says why. "
            "Correct slurm.* of the recipe, or slurm/site.env, and run the same command again"
        ) from None


def _wait(array: _Array, job: str) -> None:
    missed = 0
    while undone := len(array.get_incomplete_ranks()):
        missed = 0 if _is_known(job) else missed + 1
        if missed > _GONE_AFTER:
            raise RunError(
                f"Slurm job {job} ended with {undone} of {array.world_size} tasks unfinished; "
                f"see {array.slurm_logs_folder}, then run the same command again"
            )
        time.sleep(_POLL_S)


def _is_known(job: str) -> bool:
    """True if the job still waits or runs."""
    result = subprocess.run(["squeue", "--noheader", f"--jobs={job}"], capture_output=True, text=True)
    return result.returncode == 0 and bool(result.stdout.strip())


@contextmanager
def _watch(stage: Stage, completions: Path, progress: Progress) -> Iterator[None]:
    """Update the progress of a stage: every finished task leaves a file, and the task's size is added."""
    before, end = progress.done, threading.Event()

    def follow() -> None:
        is_last = False
        while not is_last:
            is_last = end.wait(_POLL_S)
            with suppress(OSError, ValueError):
                done = [int(file.name) for file in completions.iterdir()]
                progress.facts["tasks"] = f"{len(done)} of {len(stage.sizes)}"
                progress.done = before + sum(stage.sizes[rank] for rank in done)

    progress.facts["stage"] = stage.name
    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _die_with_parent() -> None:
    """End this worker when the command ends.

    A signal of the kernel would not do: a worker's parent is the fork server, which lives as long as any worker.
    """

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
