"""Shares names, the key and the heartbeat between a campaign and its server jobs, in the run folder."""

import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

MODELS = "serving/models.yaml"  # the resolved models, so that all jobs of a run serve the same
LEASES = "serving/leases"


VARIABLE = "AUTODATA_SERVER_KEY"  # the value of api_key_env in every served endpoint


def make_key(run: Path) -> None:
    """Put the run's key into the environment. The first call writes it to a file that only its owner can read."""
    path = _locate_key(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass  # a requeued campaign uses its servers again, and so their key
    os.environ[VARIABLE] = path.read_text()


def require_key(run: Path) -> None:
    """Put the run's key into the environment, for this process's calls and for the vLLM servers that it starts."""
    os.environ[VARIABLE] = os.environ["VLLM_API_KEY"] = _locate_key(run).read_text()


def _locate_key(run: Path) -> Path:
    return run / "serving" / "key"


PATIENCE_S = 900.0  # a requeued campaign may wait this long in the queue and still find its servers


def write_beat(run: Path, beat: int) -> None:
    path = _locate_beat(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(str(beat))
    scratch.replace(path)


@dataclass
class OwnerWatch:
    """Tells whether the campaign's heartbeat still changes, by the clock of this machine."""

    run: Path
    patience_s: float = PATIENCE_S
    _last_change: tuple[str, float] = field(default_factory=lambda: ("", time.monotonic()))

    def is_gone(self) -> bool:
        try:
            beat = _locate_beat(self.run).read_text()
        except OSError:
            beat = ""  # not written yet, or the file system is unavailable: patience decides
        if beat and beat != self._last_change[0]:
            self._last_change = (beat, time.monotonic())
        return time.monotonic() - self._last_change[1] > self.patience_s


def _locate_beat(run: Path) -> Path:
    return run / "serving" / "owner"
