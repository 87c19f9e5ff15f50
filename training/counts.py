"""Counts of a training over all its processes and sessions. Each process keeps a file of its own in the run folder."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autodata.run.progress import read_earlier
from autodata.run.records import RunError, naming, write_file
from autodata.serving.costs import Ledger, add
from autodata.serving.llm import Client

FILES = "counts_*.json"
_EVERY_S = 1.0  # while judgements are under way
_REASONS, _REST, _REASON_CHARS = 20, "other reasons", 80  # some reasons quote the judge, so they are without end


@dataclass(frozen=True)
class JudgementCounts:
    """What one process counted in all its sessions, or the sum over several processes."""

    sessions: int = 0  # in which something was judged
    processes: int = 1
    judgements: int = 0  # asked for by a reward; a step that is done again after a kill asks again
    failures: dict[str, int] = field(default_factory=dict)  # by reason
    ledger: Ledger = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


COUNTS = TypeAdapter(JudgementCounts)


class Books:
    """Keeps this process's counts in its file, from session to session, and sums them with the others' files.

    `judged` and `failures` are of this session. `clients` may grow after the books were opened. Only the main process,
    of rank 0, sums.
    """

    def __init__(self, folder: Path, rank: int, clients: Sequence[Client]):
        """Go on from the files of earlier sessions. Raises RunError for a damaged one."""
        self.judged, self.failures = 0, Counter[str]()
        self._folder, self._path, self._clients = folder, folder / FILES.replace("*", str(rank)), clients
        self._others = {path: read_counts(path) for path in self._list_others()} if rank == 0 else {}
        self._earlier = read_counts(self._path) if self._path.exists() else _begin(folder, rank)
        self.write()

    @property
    def failed(self) -> int:
        """Judgements of this session that failed."""
        return self.failures.total()

    def count(self, failures: Sequence[str]) -> None:
        """Add a batch of judgements; a reason for each one that failed, and an empty text for the others."""
        self.judged += len(failures)
        for reason in filter(None, failures):
            short = " ".join(reason.split())[:_REASON_CHARS]
            is_listed = short in self.failures or len(self.failures) < _REASONS
            self.failures[short if is_listed else _REST] += 1

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Write every second while judgements are under way, and once they have ended. Raises RunError."""
        writing = asyncio.create_task(self._write_often())
        try:
            yield
        finally:
            writing.cancel()
            self.write()

    def write(self) -> None:
        """Replace this process's file. Raises RunError."""
        write_file(self._path, COUNTS.dump_json(self._sum_own(), indent=1).decode() + "\n")

    def gather(self) -> JudgementCounts:
        """The sum over all processes of all sessions, from the files as they are now."""
        for path in self._list_others():
            with suppress(RunError):  # a shared file system may lose one that is being replaced: the last one counts
                self._others[path] = read_counts(path)
        return combine([self._sum_own(), *self._others.values()])

    def ledger(self) -> Ledger:
        """Costs of all processes and sessions, those of other processes as of the last `gather`."""
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

    async def _write_often(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            self.write()


def combine(counts: Sequence[JudgementCounts]) -> JudgementCounts:
    """The sum over processes; the main one is there in every session, so the most sessions are all."""
    return JudgementCounts(
        sessions=max(one.sessions for one in counts),
        processes=sum(one.processes for one in counts),
        judgements=sum(one.judgements for one in counts),
        failures=dict(sum((Counter(one.failures) for one in counts), Counter())),
        ledger=_combine_ledgers([one.ledger for one in counts]),
    )


def _combine_ledgers(ledgers: Sequence[Ledger]) -> Ledger:
    """The sum role by role. GPU-seconds are the most that one process had: all judge at once, on the same GPUs."""
    return {role: replace(cost, gpu_seconds=_find_most(one[role].gpu_seconds for one in ledgers if role in one))
            for role, cost in add(ledgers).items()}  # fmt: skip


def _find_most(seconds: Iterable[float | None]) -> float | None:
    """None if one of them is not known."""
    known = list(seconds)
    return None if None in known else max(s for s in known if s is not None)


def read_counts(path: Path) -> JudgementCounts:
    """The counts of one process. Raises RunError for a damaged file."""
    with naming(path):
        text = path.read_bytes()
    try:
        return COUNTS.validate_json(text)
    except ValidationError as error:
        raise RunError(f"{path}: damaged ({error.errors()[0]['msg']}); restore it, or remove it and what it counted "
                       "is missing from the run's numbers") from error  # fmt: skip


def _begin(folder: Path, rank: int) -> JudgementCounts:
    """Nothing yet; a run that is older than these files has the main process's ledger in progress.json."""
    return JudgementCounts(ledger=read_earlier(folder)[0]) if rank == 0 else JudgementCounts()
