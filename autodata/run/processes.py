"""Runs one command in several processes of this machine: starts them, follows their progress, stops them together."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

from autodata.run.progress import Progress
from autodata.run.snapshot import read_snapshot
from autodata.serving.costs import SUMMED, Ledger, measure_use
from autodata.serving.vllm import RunningServer, die_with_parent
from autodata.types import UserError

LOG = "output.log"  # in the folder of each process: what it prints
_EVERY_S = 0.5  # how often the parent looks at its processes
Urls = Mapping[str, str]  # name of an endpoint → its base_url


class SharedUse:
    """What each process has used of the budget, in memory that all of them see: none may spend a limit alone."""

    def __init__(self, earlier: Sequence[Ledger]):
        """Begin with what the earlier sessions of each process have used."""
        self._array = RawArray("d", len(earlier) * len(SUMMED))
        for number, ledger in enumerate(earlier):
            self.add_up(number, measure_use(ledger))

    def add_up(self, number: int, used: Mapping[str, float]) -> dict[str, float]:
        """Note what one process has used, and return what all of them have used together."""
        for place, kind in enumerate(SUMMED):
            self._array[number * len(SUMMED) + place] = used[kind]
        return {**used, **{kind: sum(self._array[place :: len(SUMMED)]) for place, kind in enumerate(SUMMED)}}


@dataclass
class Worker:
    """A process that does a part of the work, in a folder of its own."""

    folder: Path
    process: BaseProcess
    pipe: connection.Connection
    problem: str | None = None  # why it failed

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def note_end(self, is_stopping: bool) -> None:
        """Read why an ended process failed, if it did."""
        if self.pipe.poll():
            try:
                self.problem = self.pipe.recv()
            except EOFError:
                code = self.process.exitcode
                if code and not is_stopping:
                    self.problem = f"a process ended unexpectedly (exit code {code}); read {self.folder / LOG}"


@contextmanager
def working(folders: Sequence[Path], work: Callable[[int, Urls], None]) -> Iterator[list[Worker]]:
    """Fork a process for each folder, in which `work` is called with its number once `follow` says where servers are.

    They must be forked before this process starts a thread. At the end all of them are stopped.
    """
    workers: list[Worker] = []
    try:
        for number, folder in enumerate(folders):
            here, there = connection.Pipe()
            arguments = (number, folder, work, there)
            # A fork shares what is imported and read: a new interpreter would take a second of processor time.
            process = get_context("fork").Process(target=_run, args=arguments)
            process.start()
            there.close()
            workers.append(Worker(folder, process, here))
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()  # after an error only: their replies are in their journals
            worker.process.join()
            worker.pipe.close()


def follow(workers: Sequence[Worker], urls: Urls, progress: Progress, servers: Sequence[RunningServer]) -> None:
    """Let the processes work, and wait until all have ended. If one fails, the others are stopped gracefully.

    Raises UserError with what the first one says that failed, ServerError.
    """
    for worker in workers:
        worker.pipe.send(urls)
    running, is_stopping = list(workers), False
    with _pass_on_signals(workers) as told:
        while running:
            connection.wait([worker.process.sentinel for worker in running], timeout=_EVERY_S)
            for server in servers:
                server.check()
            for ended in [worker for worker in running if not worker.is_running]:
                running.remove(ended)
                ended.note_end(is_stopping or bool(told))
            _show(workers, progress)
            if not is_stopping and any(worker.problem for worker in workers):
                is_stopping = True
                _stop(workers)
    if problem := next((worker.problem for worker in workers if worker.problem), None):
        raise UserError(problem)


def _show(workers: Sequence[Worker], progress: Progress) -> None:
    """Add up how far the processes are."""
    parts = progress.parts = [part for worker in workers if (part := read_snapshot(worker.folder))]
    progress.done, progress.accepted = sum(part.done for part in parts), sum(part.accepted or 0 for part in parts)
    progress.failures = sum((Counter(part.failures) for part in parts), Counter())


@contextmanager
def _pass_on_signals(workers: Sequence[Worker]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the processes, which finish the calls in flight first; yields the signals."""
    told: list[int] = []

    def pass_on(number: int, _: object) -> None:
        told.append(number)
        _stop(workers)
        if len(told) == 1:
            message = (
                "stopping: calls in flight are finished and their replies kept; press Ctrl-C again to stop at once"
            )
            print(f"\n{message}", file=sys.stderr)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(workers: Sequence[Worker]) -> None:
    for worker in workers:
        if worker.is_running:
            worker.process.terminate()


def _run(number: int, folder: Path, work: Callable[[int, Urls], None], pipe: connection.Connection) -> None:
    """Do the part of one process. What it prints goes to a log, and its error to the parent."""
    die_with_parent()
    os.setsid()  # Ctrl-C must reach the parent alone, which passes it on
    try:
        urls = pipe.recv()
    except EOFError:  # the parent could not start the servers
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    try:
        work(number, urls)
    except UserError as error:
        pipe.send(str(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
