"""Slurm's commands, as far as a campaign needs them."""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

WAITING_OR_RUNNING = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "STOPPED"}


class SlurmError(RuntimeError):
    """A Slurm command failed; the message has what it printed."""


@dataclass(frozen=True)
class Job:
    """A batch job to submit."""

    name: str
    script: Path
    arguments: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)  # of sbatch, without the dashes
    more: tuple[str, ...] = ()  # options, verbatim

    def command(self) -> list[str]:
        """The line that submits it. Partition, account and the like come from SBATCH_* of slurm/site.env."""
        options = [f"--{key}={value}" if value else f"--{key}" for key, value in self.options.items()]
        return [
            "sbatch",
            "--parsable",
            f"--job-name={self.name}",
            *options,
            *self.more,
            str(self.script),
            *self.arguments,
        ]


@dataclass(frozen=True)
class Found:
    """A job that waits or runs."""

    id: str
    name: str
    state: str


def submit(job: Job) -> str:
    """Its number. Raises SlurmError."""
    return _run(job.command()).split(";")[0]


def find(names: Iterable[str]) -> list[Found]:
    """This user's jobs of these names that wait or run. Raises SlurmError."""
    wanted = ",".join(names)
    if not wanted:
        return []
    lines = _run(["squeue", "--noheader", "--me", f"--name={wanted}", "--format=%i|%j|%T"]).splitlines()
    found = [Found(*line.split("|")) for line in lines]
    return [job for job in found if job.state in WAITING_OR_RUNNING]


def cancel(ids: Sequence[str]) -> None:
    """End jobs. One that has ended already is no error."""
    if ids:
        subprocess.run(["scancel", *ids], capture_output=True, check=False)


def ask_to_drain(id: str) -> None:
    """USR1 to a job's batch script: it finishes what it has and ends."""
    subprocess.run(["scancel", "--batch", "--signal=USR1", id], capture_output=True, check=False)


def requeue(id: str) -> None:
    """End a job and put it back into the queue under the same number. Raises SlurmError."""
    _run(["scontrol", "requeue", id])


def find_end(id: str) -> float | None:
    """When a running job's time is over, seconds since the epoch; None where nothing limits it. Raises SlurmError."""
    text = _run(["squeue", "--noheader", f"--jobs={id}", "--format=%e"])
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} not found: run this where Slurm jobs are submitted") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer for two minutes") from None
    if done.returncode:
        raise SlurmError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()
