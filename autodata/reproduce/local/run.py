"""Runs the steps of a graph one after the other on this machine. A finished step is skipped."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from autodata.cluster.training.placement import Launch
from autodata.command import require_package
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.finished import find_finished
from autodata.reproduce.graph import Step
from autodata.reproduce.local.logs import FOLDER, Log
from autodata.reproduce.local.screen import Screen
from autodata.reproduce.local.servers import SharedServers
from autodata.reproduce.record import Record
from autodata.reproduce.slurm.jobs import choose_accelerate, note_kept
from autodata.serving.vllm import die_with_parent
from autodata.types import UserError

_DRAINING = "stopping; the calls in flight are finished"


class StepFailed(UserError):
    """A step did not succeed; the end of its log says why."""


def run_all(steps: Sequence[Step], record: Record) -> int:
    """Run every unfinished step, in order; return how many there were. Raises StepFailed, ServerError.

    What the steps print goes into their logs. The caller holds the folder of the record, by which `autodata.status`
    knows that its first unfinished step runs.
    """
    finished = find_finished(steps)
    todo = [(number, step) for number, step in enumerate(steps, 1) if step.name not in finished]
    if finished:
        print(f"up to date: {len(finished)} of {len(steps)} steps")
    if todo:
        print(f"logs of the steps: {record.folder / FOLDER}", flush=True)
    with Screen(len(steps)) as screen, closing(SharedServers(record.folder)) as servers:
        note_kept(record, {}).write()  # numbers of earlier jobs say nothing of the steps that run here
        for place, (number, step) in enumerate(todo, 1):
            screen.begin(number, step.name, Path(step.target))
            later = [other for _, other in todo[place:]]
            if servers.must_start(step, later):
                screen.note("starting the servers that it shares with later steps")
            more = servers.follow(step, later)
            screen.note("")
            _run(step, more, Log.of(record.folder, number, step.name), screen)
    return len(todo)


def make_command(step: Step, more: Sequence[str] = ()) -> list[str]:
    """Make the command of a step for this machine."""
    if not isinstance(step.recipe, GrpoRecipe):
        return [sys.executable, "-m", step.module, *step.arguments, *more]
    require_package("accelerate", "train")
    accelerate = choose_accelerate(step.recipe) or Launch.choose(step.recipe).file
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", accelerate]
    return [*launch, "-m", step.module, *step.arguments, *more]


def _run(step: Step, more: Sequence[str], log: Log, screen: Screen) -> None:
    command = make_command(step, more)
    with log.open(command) as (session, file):
        # In a session of its own, a step gets each Ctrl-C once: from here.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        code = _wait(process, screen)
    for line in session.list_warnings():
        print(f"{step.name}: {line}", flush=True)
    if code:
        advice = "give the same command again to go on from there"
        end = f"The end of {session.path}:\n{session.tell_end()}"
        session.note_failure(code)
        raise StepFailed(f"{step.name} ended with exit code {code}; {advice}. {end}")
    screen.end()


def _wait(process: subprocess.Popen[bytes], screen: Screen) -> int:
    """Wait for a process, which gets every Ctrl-C as well: at the first it finishes its calls in flight."""
    interrupt = None
    while process.poll() is None:
        try:
            process.wait()
        except KeyboardInterrupt as signalled:
            interrupt = signalled
            with suppress(ProcessLookupError):  # it has ended at this moment
                os.killpg(process.pid, signal.SIGINT)
            screen.note(_DRAINING)
    if interrupt:
        raise interrupt
    return process.returncode
