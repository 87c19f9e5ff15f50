"""Reads and writes leases: one file per replica of a server, with its URL and state, in a folder that every node sees.

Only the server job writes a lease: to a new file, which it then renames. No clock is compared across machines: a lease
is stale if its beat has not changed for a while by the reader's own clock.
"""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """What a replica is doing, in the order of its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # finishes the calls in flight and gets no new ones
    ENDED = "ended"


@dataclass(frozen=True)
class Lease:
    """What a server job reports about one of its replicas."""

    endpoint: str  # key of models.endpoints
    replica: int  # number within the job, from 0
    job: str
    model: str
    url: str  # ends in /v1
    state: State
    beat: int  # grows as long as the job lives
    deadline: float  # end of the job's time, in seconds since the epoch
    detail: str = ""  # how far it has loaded, or why it ended

    @property
    def name(self) -> str:
        return f"{self.endpoint}-{self.job}-{self.replica}.json"


def write_lease(folder: Path, lease: Lease) -> None:
    """Write the file of a replica. A reader sees the old file or the new one, never a part of it."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{lease.name}.new"
    scratch.write_text(json.dumps(asdict(lease)), encoding="utf-8")
    scratch.replace(folder / lease.name)


def read_leases(folder: Path) -> list[Lease]:
    """Read all leases in the order of their names. A file that is no lease is skipped."""
    leases = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError, KeyError):  # removed meanwhile, or not a lease
            values = json.loads(path.read_text(encoding="utf-8"))
            leases.append(Lease(**values | {"state": State(values["state"])}))
    return leases


@dataclass
class LeaseWatch:
    """Tells which leases are alive, by the clock of the process that looks."""

    folder: Path
    stale_s: float = 30.0  # about six beats
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # name → its beat, and when that was new
    _first: dict[str, int] = field(default_factory=dict)  # name → its beat at the first look

    def look(self) -> list[Lease]:
        """Return the leases whose beat still changes and that have not ended."""
        now, leases = time.monotonic(), read_leases(self.folder)
        for lease in leases:
            if self._seen.get(lease.name, (-1, 0.0))[0] != lease.beat:
                self._seen[lease.name] = (lease.beat, now)
        alive = [lease for lease in leases if now - self._seen[lease.name][1] <= self.stale_s]
        return [lease for lease in alive if lease.state != State.ENDED]

    def look_fresh(self) -> list[Lease]:
        """Return the ready leases whose beat has changed while this process looked.

        A job that was killed leaves its leases behind, and a job that is started again finds them: they never change.
        """
        self._first = {lease.name: lease.beat for lease in read_leases(self.folder)} | self._first
        return [lease for lease in self.look() if lease.state == State.READY and lease.beat != self._first[lease.name]]
