"""Keeps servers up for the steps that follow one another on this machine and ask the same ones."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from autodata.cluster.fleet import find_served
from autodata.recipes.evaluated import EVALUATED
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step
from autodata.reproduce.local.logs import FOLDER, Log
from autodata.serving.vllm import ServerError, die_with_parent


class SharedServers:
    """Keeps up the servers of a generation for the steps after it that ask the same ones."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._step: Step | None = None
        self._values: list[str] = []

    def must_start(self, step: Step, later: Sequence[Step]) -> bool:
        """True if `follow` starts servers for a step, which takes minutes."""
        is_needed = not self._process and isinstance(step.recipe, GenerateRecipe)
        return is_needed and is_shared(step, later)

    def follow(self, step: Step, later: Sequence[Step]) -> list[str]:
        """Return the values that lead a step to running servers. Start or stop servers as the steps need them."""
        if self._process and not asks_same(self._step, step):
            if not _is_silent(step):
                self.close()
            return []
        if self.must_start(step, later):
            self._start(step)
        return self._values

    def close(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
        self._process, self._step, self._values = None, None, []

    def _start(self, step: Step) -> None:
        """Start the servers of a step and wait until they answer. Raises ServerError."""
        command = [sys.executable, "-m", "autodata.servers", *step.arguments, f"run={self._folder / 'servers'}"]
        with Log(self._folder / FOLDER / "servers.log").open(command) as (log, file):
            # In a session of its own, the servers survive a Ctrl-C until the step has finished its calls in flight.
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, start_new_session=True, preexec_fn=die_with_parent
            )
            self._step = step
            self._values = list(read_values(self._process, file, len(_list_servers(step))))
        if len(self._values) < len(_list_servers(step)):
            self.close()
            raise ServerError(f"no server; the end of {log.path}:\n{log.tell_end()}")


def read_values(process: subprocess.Popen[bytes], file: IO[bytes], count: int) -> Iterator[str]:
    """Yield the values that lead to each server as soon as all answer; copy what the command prints to its log."""
    for line in process.stdout or []:
        file.write(line)
        if line.startswith(b"models.endpoints."):
            yield line.decode().strip()
            count -= 1
        if not count:
            return


def is_shared(step: Step, later: Sequence[Step]) -> bool:
    """True if a later step asks the same servers before another one needs the machine."""
    for other in later:
        if not _is_silent(other):
            return asks_same(step, other)
    return False


def asks_same(first: Step | None, second: Step) -> bool:
    """True if the second step asks no other servers than the first, and at least one."""
    servers = _list_servers(second)
    known = _list_servers(first) if first else {}
    is_training = isinstance(second.recipe, GrpoRecipe)
    return bool(servers) and not is_training and all(known.get(n) == e and n != EVALUATED for n, e in servers.items())


def _list_servers(step: Step) -> dict[str, object]:
    models = getattr(step.recipe, "models", None)
    return dict(find_served(models)) if models else {}


def _is_silent(step: Step) -> bool:
    """True if a step neither asks a server nor trains, so that servers may stay up beside it."""
    return not _list_servers(step) and not isinstance(step.recipe, GrpoRecipe)
