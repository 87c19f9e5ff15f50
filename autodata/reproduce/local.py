"""Runs the steps of a graph one after the other on this machine. A finished step is skipped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from autodata.cluster.training.placement import Launch
from autodata.command import require_package
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.finished import find_finished
from autodata.reproduce.graph import Step
from autodata.reproduce.jobs import choose_accelerate
from autodata.reproduce.record import Record
from autodata.reproduce.sharing import SharedServers
from autodata.run.folder import hold
from autodata.serving.vllm import die_with_parent
from autodata.stats.writing import write_duration
from autodata.types import UserError


class StepFailed(UserError):
    """A step did not succeed; what it printed says why."""


def run_all(steps: Sequence[Step], record: Record) -> None:
    """Run every unfinished step, in order. Raises StepFailed, ServerError, RunError.

    The folder of the record is locked meanwhile, so that `autodata.status` knows that its first unfinished step runs.
    """
    start, finished = time.monotonic(), find_finished(steps)
    todo = [step for step in steps if step.name not in finished]
    with hold(record.folder), closing(SharedServers(record.folder)) as servers:
        _forget_jobs(record).write()
        for step in steps:
            if step.name in finished:
                print(f"up to date: {step.name}")
        for number, step in enumerate(todo):
            place = f"{number + 1} of {len(todo)}, after {write_duration(time.monotonic() - start)}"
            print(f"\n== {step.name} ({place})", flush=True)
            _run(step, servers.follow(step, todo[number + 1 :]))
    print(f"finished after {write_duration(time.monotonic() - start)}")


def _forget_jobs(record: Record) -> Record:
    """Forget the numbers of earlier jobs, which say nothing of the steps that run here."""
    return replace(record, steps={name: replace(entry, job="") for name, entry in record.steps.items()})


def make_command(step: Step, more: Sequence[str] = ()) -> list[str]:
    """Make the command of a step for this machine."""
    if not isinstance(step.recipe, GrpoRecipe):
        return [sys.executable, "-m", step.module, *step.arguments, *more]
    require_package("accelerate", "train")
    accelerate = choose_accelerate(step.recipe) or Launch.choose(step.recipe).file
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", accelerate]
    return [*launch, "-m", step.module, *step.arguments, *more]


def _run(step: Step, more: Sequence[str]) -> None:
    # In a session of its own, a step gets each Ctrl-C once: from here.
    process = subprocess.Popen(make_command(step, more), start_new_session=True, preexec_fn=die_with_parent)
    if code := _wait(process):
        raise StepFailed(f"{step.name} ended with exit code {code}; give the same command again to go on from there")


def _wait(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process, which gets every Ctrl-C as well: at the first it finishes its calls in flight."""
    interrupt = None
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt as signalled:
            interrupt = signalled
            os.killpg(process.pid, signal.SIGINT)
    if interrupt:
        raise interrupt
    return process.returncode
