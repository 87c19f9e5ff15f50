"""Runs the steps of a graph one after the other on this machine. A finished step is skipped."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from autodata.cluster.fleet import find_served
from autodata.cluster.training.placement import Launch
from autodata.recipes.evaluated import EVALUATED
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.finished import find_finished
from autodata.reproduce.graph import Step
from autodata.reproduce.jobs import choose_accelerate
from autodata.types import UserError


class StepFailed(UserError):
    """A step did not succeed; what it printed says why."""


class SharedServers:
    """Keeps up the servers of a generation for the steps after it that ask the same ones."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._step: Step | None = None
        self._values: list[str] = []

    def follow(self, step: Step, later: Sequence[Step]) -> list[str]:
        """Return the values that lead a step to running servers. Start or stop servers as the steps need them."""
        if self._process and not _asks_same(self._step, step):
            if not _is_silent(step):
                self.stop()
            return []
        if not self._process and isinstance(step.recipe, GenerateRecipe) and self._is_shared(step, later):
            self._start(step)
        return self._values

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        self._process, self._step, self._values = None, None, []

    @staticmethod
    def _is_shared(step: Step, later: Sequence[Step]) -> bool:
        """True if a later step asks the same servers before another one needs the machine."""
        for other in later:
            if not _is_silent(other):
                return _asks_same(step, other)
        return False

    def _start(self, step: Step) -> None:
        """Start the servers of a step and wait until they answer. Raises StepFailed."""
        command = [sys.executable, "-m", "autodata.servers", *step.arguments, f"run={self._folder / 'servers'}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._step = step
        for line in self._process.stdout or []:
            print(line, end="", flush=True)
            if line.startswith("models.endpoints."):
                self._values.append(line.strip())
            if len(self._values) == len(_list_servers(step)):
                return
        self.stop()
        raise StepFailed(f"no server; read the logs in {self._folder / 'servers'}")


def _list_servers(step: Step) -> dict[str, object]:
    models = getattr(step.recipe, "models", None)
    return dict(find_served(models)) if models else {}


def _is_silent(step: Step) -> bool:
    """True if a step neither asks a server nor trains, so that servers may stay up beside it."""
    return not _list_servers(step) and not isinstance(step.recipe, GrpoRecipe)


def _asks_same(first: Step | None, second: Step) -> bool:
    """True if the second step asks no other servers than the first, and at least one."""
    servers = _list_servers(second)
    known = _list_servers(first) if first else {}
    is_training = isinstance(second.recipe, GrpoRecipe)
    return bool(servers) and not is_training and all(known.get(n) == e and n != EVALUATED for n, e in servers.items())


def run_all(steps: Sequence[Step], folder: Path) -> None:
    """Run every unfinished step, in order. Raises StepFailed."""
    finished = find_finished(steps)
    todo = [step for step in steps if step.name not in finished]
    servers = SharedServers(folder)
    with ExitStack() as stack:
        stack.callback(servers.stop)
        for step in steps:
            if step.name in finished:
                print(f"up to date: {step.name}")
        for number, step in enumerate(todo):
            print(f"\n== {step.name} ({number + 1} of {len(todo)})", flush=True)
            _run(step, servers.follow(step, todo[number + 1 :]))


def make_command(step: Step, more: Sequence[str] = ()) -> list[str]:
    """Make the command of a step for this machine."""
    if not isinstance(step.recipe, GrpoRecipe):
        return [sys.executable, "-m", step.module, *step.arguments, *more]
    accelerate = choose_accelerate(step.recipe) or Launch.choose(step.recipe).file
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", accelerate]
    return [*launch, "training/grpo.py", *step.arguments, *more]


def _run(step: Step, more: Sequence[str]) -> None:
    command = make_command(step, more)
    if code := subprocess.run(command).returncode:
        raise StepFailed(f"{step.name} ended with exit code {code}; give the same command again to go on from there")
