"""One file per replica of a server, in a folder that every node sees: where it is and how it is.

A lease is written new and then renamed, by its server job only. No clock is compared across machines: a lease is
stale when its beat has not changed for a while by the reader's own clock.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

STALE_S = 30.0  # by default, about six beats


class State(StrEnum):
    """What a replica does; in the order of its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # finishes what it has, gets nothing new
    ENDED = "ended"


@dataclass(frozen=True)
class Lease:
    """What a server job says of one of its replicas."""

    endpoint: str  # key of models.endpoints
    replica: int  # from 0 within its job
    job: str
    model: str
    url: str  # ends in /v1
    state: State
    beat: int  # grows as long as the job lives
    deadline: float  # when the job's time is over, seconds since the epoch
    detail: str = ""  # how far it has loaded, or why it ended

    @property
    def name(self) -> str:
        return f"{self.endpoint}-{self.job}-{self.replica}.json"


def write_lease(folder: Path, lease: Lease) -> None:
    """Replace the file of a replica, complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".{lease.name}.new"
    scratch.write_text(json.dumps(asdict(lease)), encoding="utf-8")
    scratch.replace(folder / lease.name)


def read_leases(folder: Path) -> list[Lease]:
    """All leases in the order of their names; what is no lease is left out."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [lease for lease in found if lease]


def _read(path: Path) -> Lease | None:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Lease(**values | {"state": State(values["state"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # removed just now, or not ours


@dataclass
class LeaseWatch:
    """Which leases live, by the clock of the one who looks."""

    folder: Path
    stale_s: float = STALE_S
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # name → beat, when it was new

    def look(self) -> list[Lease]:
        """The leases whose beat still changes and that have not ended."""
        now, leases = time.monotonic(), read_leases(self.folder)
        for lease in leases:
            if self._seen.get(lease.name, (-1, 0.0))[0] != lease.beat:
                self._seen[lease.name] = (lease.beat, now)
        return [lease for lease in leases
                if lease.state != State.ENDED and now - self._seen[lease.name][1] <= self.stale_s]  # fmt: skip
