"""The campaign's sign of life, so that its servers do not hold GPUs for nobody."""

import time
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE_S = 900.0  # a requeued campaign may wait as long in the queue and find its servers


def write_beat(run: Path, beat: int) -> None:
    path = _locate_beat(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(str(beat))
    scratch.replace(path)


@dataclass
class OwnerWatch:
    """Whether the sign still changes, by the clock of the one who looks."""

    run: Path
    patience_s: float = PATIENCE_S
    _seen: tuple[str, float] = field(default_factory=lambda: ("", time.monotonic()))

    def is_gone(self) -> bool:
        try:
            beat = _locate_beat(self.run).read_text()
        except OSError:
            beat = ""  # not there yet, or the file system is away: time tells
        if beat and beat != self._seen[0]:
            self._seen = (beat, time.monotonic())
        return time.monotonic() - self._seen[1] > self.patience_s


def _locate_beat(run: Path) -> Path:
    return run / "serving" / "owner"
