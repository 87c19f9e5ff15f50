"""Starts commands such as `python -m autodata.generate` by a fork, because a new process takes seconds to import.

Each line of input is an Order. The first line of output names the process that carries it out, the second its exit
status. The process calls the command's own `main`, with shorter waits between retries.
"""

import itertools
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).parent.parent.parent
DAY_S = 86_400.0
_CHANGES = ("os.rename", "os.remove", "sqlite3.connect")  # audit events


@dataclass(frozen=True)
class Order:
    """A command to run and the faults to run it under."""

    arguments: list[str]
    log: str
    command: str = "generate"
    clock: int | None = None  # seed of a wall clock that jumps
    room: int | None = None  # bytes that a file may grow to
    dies_at: int | None = None  # kill it before the change to a file with this number, from 0


class Process:
    """One run of the command."""

    def __init__(self, zygote: subprocess.Popen[str], order: Order):
        self._zygote = zygote
        self.log = Path(order.log)
        assert zygote.stdin and zygote.stdout
        zygote.stdin.write(json.dumps(asdict(order)) + "\n")
        zygote.stdin.flush()
        self.pid = int(zygote.stdout.readline())

    def wait(self) -> int:
        """Wait for the process and return its exit status, negative for a signal."""
        assert self._zygote.stdout
        return os.waitstatus_to_exitcode(int(self._zygote.stdout.readline()))

    @property
    def is_over(self) -> bool:
        """True if `wait` would return at once."""
        return bool(select.select([self._zygote.stdout], [], [], 0)[0])

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")


class Driver:
    """Starts processes one after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.faults.driver"]
        self._zygote = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPO,
            env=os.environ | {"PYTHONPATH": str(REPO)},
        )

    def start(self, order: Order) -> Process:
        return Process(self._zygote, order)

    def close(self) -> None:
        assert self._zygote.stdin
        self._zygote.stdin.close()
        self._zygote.wait()


def serve() -> None:
    import autodata.dataset
    import autodata.generate
    import autodata.merge  # noqa: F401  (every order needs it)

    for line in sys.stdin:
        order = Order(**json.loads(line))
        if order.command == "dataset":
            import datasets  # noqa: F401  (the command imports it when it writes)
        pid = os.fork()
        if pid == 0:
            carry_out(order)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


def carry_out(order: Order) -> None:
    """Run the command in this process and exit; never returns."""
    from autodata import dataset, generate, merge
    from autodata.serving.wire import retries

    output = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    retries.backoff = lambda tries: 0.01
    if order.clock is not None:
        jump(random.Random(order.clock))
    if order.room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.room, order.room))
    if order.dies_at is not None:
        die_at(order.dies_at)
    sys.argv = [order.command, *order.arguments]
    status = 0
    try:
        {"generate": generate, "dataset": dataset, "merge": merge}[order.command].main()
    except SystemExit:
        status = 1
    except BaseException as crash:  # a user would see a traceback
        import traceback

        traceback.print_exception(crash)
        status = 2
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def die_at(number: int) -> None:
    """Kill this process with SIGKILL before its change number `number` to a file."""
    changes = itertools.count()

    def look(event: str, arguments: tuple[object, ...]) -> None:
        flags = arguments[2] if event == "open" else 0
        is_write = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if (is_write or event in _CHANGES) and next(changes) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def jump(chance: random.Random) -> None:
    """Make the wall clock jump forth and back by up to years; the monotonic clock stays as it is."""
    real, state = time.time, {"offset": 0.0}

    def leap() -> float:
        if chance.random() < 0.2:
            state["offset"] = chance.uniform(-2_000 * DAY_S, 2_000 * DAY_S)
        return real() + state["offset"]

    time.time = leap


if __name__ == "__main__":
    serve()
