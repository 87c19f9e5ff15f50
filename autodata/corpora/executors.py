"""Who runs the tasks of an ingest: this machine's cores, or a Slurm array; both with datatrove."""

import multiprocessing
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import dill
from datatrove.executor.local import LocalPipelineExecutor
from datatrove.executor.slurm import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from autodata.config import REPO
from autodata.recipes.corpora import IngestRecipe
from autodata.run.progress import Progress
from autodata.run.records import RunError

# What the command imports: loaded once for all workers of all stages.
_PRELOADED = ["autodata.corpora.pipeline", "autodata.corpora.executors", "autodata.corpora.funnel",
              "datatrove.pipeline.tokens.counter"]  # fmt: skip
_POLL_S = 0.5
_GONE_AFTER = 20  # polls without a job before its tasks are given up; shared file systems lag


@dataclass(frozen=True)
class Stage:
    """What is done to every task, and how large each is, in bytes."""

    name: str
    steps: Sequence[PipelineStep]
    sizes: Sequence[int]


def run_stage(recipe: IngestRecipe, stage: Stage, work: Path, progress: Progress) -> None:
    """All tasks of a stage that are not done yet. Raises RunError.

    What a task raises comes through; on Slurm it stands in the task's log, which the error names.
    """
    logs, tasks = work / "logs" / stage.name, len(stage.sizes)
    with _Watch(stage, logs / "completions", progress):
        if recipe.executor == "slurm":
            _run_on_slurm(_make_array(recipe, stage, logs), logs)
        else:
            workers = min(recipe.workers or _count_cores(), tasks)
            _Local(list(stage.steps), tasks=tasks, workers=workers, logging_dir=str(logs)).run()


class _Local(LocalPipelineExecutor):
    """datatrove's executor with a pool that notices when a worker was killed, and dies with the command."""

    def run(self) -> None:
        ranks = self.get_incomplete_ranks()
        if self.workers == 1:
            for rank in ranks:
                _run_task(dill.dumps(self), rank)
            return
        start = multiprocessing.get_context("forkserver")
        start.set_forkserver_preload(_PRELOADED)
        with ProcessPoolExecutor(self.workers, start, _die_with_parent) as pool:
            tasks = [pool.submit(_run_task, dill.dumps(self), rank) for rank in ranks]
            try:
                for task in as_completed(tasks):
                    task.result()
            except BrokenProcessPool:
                raise RunError("a worker was killed, perhaps for its memory; run the same command again with fewer "
                               "workers=…: finished tasks are kept") from None  # fmt: skip
            finally:
                pool.shutdown(cancel_futures=True)


def _run_task(executor: bytes, rank: int) -> None:
    logger.disable("datatrove")  # what it says of itself; what a task raises comes through
    dill.loads(executor)._run_for_rank(rank)


class _Array(SlurmPipelineExecutor):
    def launch_merge_stats(self) -> None:
        """No job for datatrove's statistics: the tasks' own tallies are read when all are done."""


def _make_array(recipe: IngestRecipe, stage: Stage, logs: Path) -> _Array:
    wanted = recipe.slurm
    programs, repo = shlex.quote(str(Path(sys.executable).parent)), shlex.quote(str(REPO))
    return _Array(
        list(stage.steps), tasks=len(stage.sizes), workers=recipe.workers or -1, qos="",
        logging_dir=str(logs.resolve()), time=wanted.time, partition=wanted.partition, mem_per_cpu_gb=wanted.memory_gb,
        max_array_size=wanted.max_array, job_name=f"ingest-{stage.name}", sbatch_args=dict(wanted.options),
        env_command=f"export PATH={programs}:$PATH PYTHONPATH={repo} TOKENIZERS_PARALLELISM=false",
    )  # fmt: skip


def _run_on_slurm(array: _Array, logs: Path) -> None:
    """Submit, or find the job that an earlier command left, and wait until every task is done."""
    kept = logs / "job"
    job = kept.read_text() if kept.exists() and _is_known(kept.read_text()) else ""
    try:
        if not job:
            array.run()
            if array.job_id == -1:  # nothing left to do
                return
            job = str(array.job_id)
            kept.write_text(job)
        _wait(array, job)
    except KeyboardInterrupt:
        if job or array.job_id:
            subprocess.run(["scancel", job or str(array.job_id)], check=False)
        raise


def _wait(array: _Array, job: str) -> None:
    missed = 0
    while left := len(array.get_incomplete_ranks()):
        missed = 0 if _is_known(job) else missed + 1
        if missed > _GONE_AFTER:
            raise RunError(f"Slurm job {job} ended with {left} of {array.world_size} tasks undone; "
                           f"see {array.slurm_logs_folder}, then run the same command again")  # fmt: skip
        time.sleep(_POLL_S)


def _is_known(job: str) -> bool:
    """Whether a job still waits or runs."""
    seen = subprocess.run(["squeue", "--noheader", f"--jobs={job}"], capture_output=True, text=True)
    return seen.returncode == 0 and bool(seen.stdout.strip())


class _Watch:
    """Tells the progress of a stage by the size of the tasks that are done, which leave a file each."""

    def __init__(self, stage: Stage, completions: Path, progress: Progress):
        self._stage, self._completions, self._progress = stage, completions, progress
        self._before = progress.done
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "_Watch":
        self._progress.facts["stage"] = self._stage.name
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._look()

    def _follow(self) -> None:
        while not self._end.wait(_POLL_S):
            self._look()

    def _look(self) -> None:
        with suppress(OSError, ValueError):
            done, sizes = [int(file.name) for file in self._completions.iterdir()], self._stage.sizes
            self._progress.facts["tasks"] = f"{len(done)} of {len(sizes)}"
            self._progress.done = self._before + sum(sizes[rank] for rank in done)


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _die_with_parent() -> None:
    """Not by a signal of the kernel: a worker's parent is the fork server, which lives as long as any worker."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
