"""Counts judgements and costs over all processes and sessions of a training, in one file per process."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autodata.run.progress import read_earlier
from autodata.run.records import RunError, name_file_in_errors, write_file
from autodata.serving.costs import Ledger, add
from autodata.serving.llm import Client

FILES = "counts_*.json"
_EVERY_S = 1.0  # time between writes while judgements are in flight
_REASONS, _REST, _REASON_CHARS = 20, "other reasons", 80  # some reasons quote the judge, so only so many are kept


@dataclass(frozen=True)
class JudgementCounts:
    """The counts of one process over all its sessions, or the sum over several processes."""

    sessions: int = 0  # sessions that judged anything
    processes: int = 1
    judgements: int = 0  # for rewards; a step that is repeated after a kill counts again
    failures: dict[str, int] = field(default_factory=dict)  # number of failures per reason
    ledger: Ledger = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


COUNTS = TypeAdapter(JudgementCounts)


class Books:
    """Keeps this process's counts in its file from session to session, and adds the counts of the other processes.

    `judged` and `failures` count this session only. `clients` may grow after the books were opened. Only the main
    process (rank 0) adds the counts of others.
    """

    def __init__(self, folder: Path, rank: int, clients: Sequence[Client]):
        """Continue from the files of earlier sessions. Raises RunError for a damaged file."""
        self.judged, self.failures = 0, Counter[str]()
        self._folder, self._path, self._clients = folder, folder / FILES.replace("*", str(rank)), clients
        self._in_flight = 0
        self._writing: asyncio.Task[None] | None = None
        self._others = {path: read_counts(path) for path in self._list_others()} if rank == 0 else {}
        if self._path.exists():
            self._earlier = read_counts(self._path)
        else:  # a run older than these files has the main process's ledger in progress.json
            self._earlier = JudgementCounts(ledger=read_earlier(folder)[0] if rank == 0 else {})
        self.write()

    @property
    def failed(self) -> int:
        """The number of judgements of this session that failed."""
        return self.failures.total()

    def count(self, failures: Sequence[str]) -> None:
        """Count a batch of judgements: `failures` has the reason of each that failed, an empty text for the others."""
        self.judged += len(failures)
        for reason in filter(None, failures):
            short = " ".join(reason.split())[:_REASON_CHARS]
            is_listed = short in self.failures or len(self.failures) < _REASONS
            self.failures[short if is_listed else _REST] += 1

    @asynccontextmanager
    async def keep_writing(self) -> AsyncIterator[None]:
        """Write the file every second while judgements are in flight, and when the last has ended. Raises RunError.

        Judgements that run at the same time on one event loop may each enter this.
        """
        self._in_flight += 1
        if self._in_flight == 1:
            self._writing = asyncio.create_task(self._write_often())
        try:
            yield
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._writing.cancel()
                self.write()

    async def _write_often(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            self.write()

    def write(self) -> None:
        """Replace this process's file. Raises RunError."""
        write_file(self._path, COUNTS.dump_json(self._sum_own(), indent=1).decode() + "\n")

    def gather(self) -> JudgementCounts:
        """Add up all processes and sessions, from the files as they are now."""
        for path in self._list_others():
            with suppress(RunError):  # on shared file systems a file may be missing for a moment: keep its last counts
                self._others[path] = read_counts(path)
        return combine([self._sum_own(), *self._others.values()])

    def ledger(self) -> Ledger:
        """Add up the costs of all processes and sessions; other processes' costs are those of the last `gather`."""
        return combine([self._sum_own(), *list(self._others.values())]).ledger

    def _list_others(self) -> list[Path]:
        return [path for path in sorted(self._folder.glob(FILES)) if path != self._path]

    def _sum_own(self) -> JudgementCounts:
        earlier = self._earlier
        return JudgementCounts(
            sessions=earlier.sessions + bool(self.judged),
            judgements=earlier.judgements + self.judged,
            failures=dict(Counter(earlier.failures) + self.failures),
            ledger=add([earlier.ledger, *(client.ledger() for client in list(self._clients))]),
        )


def combine(counts: Sequence[JudgementCounts]) -> JudgementCounts:
    """Add up processes. The main one is in every session, so the largest number of sessions is that of the run.

    GPU-seconds are the largest of any process, because all judge at once, on the same GPUs; None if one is not known.
    """
    ledger = add(process.ledger for process in counts)
    for role, cost in ledger.items():
        seconds = [process.ledger[role].gpu_seconds for process in counts if role in process.ledger]
        ledger[role] = replace(cost, gpu_seconds=None if None in seconds else max(seconds))
    return JudgementCounts(
        sessions=max(process.sessions for process in counts),
        processes=sum(process.processes for process in counts),
        judgements=sum(process.judgements for process in counts),
        failures=dict(sum((Counter(process.failures) for process in counts), Counter())),
        ledger=ledger,
    )


def read_counts(path: Path) -> JudgementCounts:
    """Read the counts of one process. Raises RunError for a damaged file."""
    with name_file_in_errors(path):
        text = path.read_bytes()
    try:
        return COUNTS.validate_json(text)
    except ValidationError as error:
        raise RunError(
            f"{path}: damaged ({error.errors()[0]['msg']}); restore it from a copy or remove it; if it "
            "is removed, the run's numbers lack its counts"
        ) from error
