"""Shares names, the key and the heartbeat between a campaign and its server jobs, in the run folder."""

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from autodata.types import WrongCall

CAMPAIGN = "python -m autodata.cluster.commands"
MODELS = "serving/models.yaml"  # the resolved models, so that all jobs of a run serve the same
LEASES = "serving/leases"
_KEY, _BEAT = "serving/key", "serving/owner"
VARIABLE = "AUTODATA_SERVER_KEY"  # holds the key; api_key_env of every served endpoint names it


def make_key(run: Path, number: int = 0) -> str:
    """Put the run's key into an environment variable and return its name; each run of a campaign has its number.

    The first call writes the key to a file that only its owner can read. A requeued campaign uses its servers again,
    and so their key.
    """
    path = run / _KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(32))
    variable = f"{VARIABLE}_{number}" if number else VARIABLE
    os.environ[variable] = path.read_text()
    return variable


def require_key(run: Path) -> None:
    """Put the run's key into the environment, for this process and the vLLM servers it starts. Raises WrongCall."""
    if not (run / _KEY).is_file():
        raise WrongCall(f"{run}: no campaign has started in this run; start it with {CAMPAIGN}")
    os.environ[VARIABLE] = os.environ["VLLM_API_KEY"] = (run / _KEY).read_text()


def write_beat(run: Path, beat: int) -> None:
    path = run / _BEAT
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".new")
    scratch.write_text(str(beat))
    scratch.replace(path)


@dataclass
class OwnerWatch:
    """Tells whether the campaign's heartbeat still changes, by the clock of this machine."""

    run: Path
    patience_s: float
    _last_change: tuple[str, float] = field(default_factory=lambda: ("", time.monotonic()))

    def is_gone(self) -> bool:
        try:
            beat = (self.run / _BEAT).read_text()
        except OSError:
            beat = ""  # not written yet, or the file system is unavailable: patience decides
        if beat and beat != self._last_change[0]:
            self._last_change = (beat, time.monotonic())
        return time.monotonic() - self._last_change[1] > self.patience_s
