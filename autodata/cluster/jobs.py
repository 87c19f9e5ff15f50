"""Calls the Slurm commands that a campaign needs."""

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from autodata.types import UserError

WAITING_OR_RUNNING = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "STOPPED"}


class SlurmError(UserError):
    """A Slurm command failed; the message contains what it printed."""


@dataclass(frozen=True)
class Job:
    """A batch job to submit."""

    name: str
    script: Path
    arguments: tuple[str, ...] = ()
    options: dict[str, str] = field(default_factory=dict)  # sbatch options, without the dashes
    extra_options: tuple[str, ...] = ()  # passed to sbatch unchanged

    def command(self) -> list[str]:
        """Return the command line that submits the job.

        Partition, account and the like come from the SBATCH_* variables of slurm/site.env.
        """
        options = [f"--{key}={value}" if value else f"--{key}" for key, value in self.options.items()]
        return [
            "sbatch",
            "--parsable",
            f"--job-name={self.name}",
            *options,
            *self.extra_options,
            str(self.script),
            *self.arguments,
        ]


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs."""

    id: str
    name: str
    state: str
    end: float = float("inf")  # the time limit, in seconds since the epoch; known once the job runs


def parse_limit(text: str) -> float:
    """Convert a time limit of sbatch to seconds: m, m:s, h:m:s, d-h, d-h:m or d-h:m:s. Raises SlurmError."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise SlurmError(f"AUTODATA_SERVER_TIME={text}: write a time limit such as 24:00:00 or 2-00:00:00")
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1] or match[4]:
        return ((days * 24 + first) * 60 + second) * 60 + third
    return first * 60 + second


def submit(job: Job) -> str:
    """Submit a job and return its number. Raises SlurmError."""
    return _run(job.command()).split(";")[0]


def find(names: Iterable[str]) -> list[QueuedJob]:
    """Find this user's jobs with these names that wait or run. Raises SlurmError."""
    joined = ",".join(names)
    if not joined:
        return []
    lines = _run(["squeue", "--noheader", "--me", f"--name={joined}", "--format=%i|%j|%T|%e"]).splitlines()
    listed = [_read(line) for line in lines]
    return [job for job in listed if job.state in WAITING_OR_RUNNING]


def is_alive(id: str) -> bool | None:
    """True if a job waits or runs; None if Slurm cannot be asked from here."""
    try:
        states = _run(["squeue", "--noheader", f"--jobs={id}", "--format=%T"])
    except SlurmError as problem:
        return False if "invalid job id" in str(problem).lower() else None
    return not WAITING_OR_RUNNING.isdisjoint(states.split())


def cancel(ids: Sequence[str]) -> None:
    """End jobs. A job that has already ended is no error."""
    if ids:
        subprocess.run(["scancel", *ids], capture_output=True, check=False)


def ask_to_drain(id: str) -> None:
    """Send USR1 to a job's batch script: it finishes the calls in flight and ends."""
    subprocess.run(["scancel", "--batch", "--signal=USR1", id], capture_output=True, check=False)


def requeue(id: str) -> None:
    """End a job and put it back into the queue under the same number. Raises SlurmError."""
    _run(["scontrol", "requeue", id])


def _read(line: str) -> QueuedJob:
    id, name, state, end = line.split("|")
    try:
        end_s = datetime.fromisoformat(end).timestamp() if state == "RUNNING" else float("inf")
        return QueuedJob(id, name, state, end_s)
    except ValueError:  # the job has no time limit
        return QueuedJob(id, name, state)


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise SlurmError(f"{command[0]} not found: run the command where Slurm jobs are submitted") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer for two minutes") from None
    if result.returncode:
        raise SlurmError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout.strip()
