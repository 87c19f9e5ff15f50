"""Calls the Slurm commands that a campaign needs."""

import re
import subprocess
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from autodata.types import UserError

WAITING_OR_RUNNING = {"PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING", "STOPPED"}

_DOWN = ("down", "drain", "fail", "maint")  # how the states of nodes begin that take no jobs


class SlurmError(UserError):
    """A Slurm command failed; the message contains what it printed."""


@dataclass(frozen=True)
class QueuedJob:
    """A job that waits or runs."""

    id: str
    name: str
    end: float  # the time limit, in seconds since the epoch; infinite until the job runs


@dataclass(frozen=True)
class Submission:
    """How a job that waits or runs was submitted; each task of an array is one."""

    id: str  # that of the whole array
    folder: str
    command: tuple[str, ...]  # the script and its arguments; Slurm does not keep their quotation marks


def parse_limit(text: str) -> float:
    """Convert a time limit of sbatch to seconds: m, m:s, h:m:s, d-h, d-h:m or d-h:m:s. Raises SlurmError."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise SlurmError(f"AUTODATA_SERVER_TIME={text}: write a time limit such as 24:00:00 or 2-00:00:00")
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1] or match[4]:
        return ((days * 24 + first) * 60 + second) * 60 + third
    return first * 60 + second


def submit(command: Sequence[str]) -> str:
    """Submit a job by its sbatch command, and return its number. Raises SlurmError."""
    return run(command).split(";")[0]


def find(names: Iterable[str]) -> list[QueuedJob]:
    """Find this user's jobs with these names that wait or run. Raises SlurmError."""
    joined = ",".join(names)
    return _find(joined, WAITING_OR_RUNNING) if joined else []


def find_all() -> list[QueuedJob]:
    """Find all of this user's jobs that wait or run. Raises SlurmError."""
    return _find(None, WAITING_OR_RUNNING)


def find_ending() -> list[QueuedJob]:
    """Find this user's jobs that are over but whose processes still run. Raises SlurmError."""
    return _find(None, {"COMPLETING"})


def _find(names: str | None, states: Collection[str]) -> list[QueuedJob]:
    """Find this user's jobs that are in one of the states; `names` are joined by commas."""
    chosen = [f"--name={names}"] if names else []
    lines = run(["squeue", "--noheader", "--me", *chosen, "--format=%i|%T|%e|%j"]).splitlines()
    listed = [line.split("|", 3) for line in lines]  # a name may contain anything
    return [QueuedJob(id, name, _read_end(state, end)) for id, state, end, name in listed if state in states]


def list_reasons() -> dict[str, tuple[str, str]]:
    """Return state and reason of this user's jobs that wait or run, by their numbers. Raises SlurmError."""
    lines = [line.split("|") for line in run(["squeue", "--noheader", "--me", "--format=%i|%T|%r"]).splitlines()]
    return {id: (state, reason) for id, state, reason in lines if state in WAITING_OR_RUNNING}


def list_submissions() -> list[Submission]:
    """Return how this user's jobs that wait or run were submitted, as far as by a script. Raises SlurmError."""
    lines = run(["squeue", "--noheader", "--me", "--array", "--format=%F|%T|%Z|%o"]).splitlines()
    listed = [line.split("|", 3) for line in lines]
    return [Submission(id, folder, tuple(c.split())) for id, state, folder, c in listed
            if state in WAITING_OR_RUNNING and c.strip()]  # fmt: skip


def list_awaited() -> dict[str, list[str]]:
    """Return for which jobs this user's jobs still wait, by their numbers. Raises SlurmError."""
    lines = [line.split("|") for line in run(["squeue", "--noheader", "--me", "--format=%i|%E"]).splitlines()]
    return {id: numbers for id, text in lines if (numbers := re.findall(r":(\d+)", text))}


def list_nodes(nodelist: str) -> list[str]:
    """List the nodes of a job, which Slurm writes shortened, such as n[1-3]. Raises SlurmError."""
    return run(["scontrol", "show", "hostnames", nodelist]).split()


def count_nodes(gpus: int, partition: str) -> int | None:
    """Count the nodes of a partition that are up and have so many GPUs; None if Slurm cannot be asked from here.

    Without a name, it is the partition that jobs go to by default.
    """
    chosen = [f"--partition={partition}"] if partition else []
    try:
        lines = run(["sinfo", "--noheader", "--Node", *chosen, "--format=%N|%P|%G|%T"]).splitlines()
    except SlurmError:
        return None
    nodes = [line.split("|") for line in lines]
    fitting = [(name, part) for name, part, gres, state in nodes if not state.startswith(_DOWN) and _has(gres, gpus)]
    return len({name for name, part in fitting if partition or part.endswith("*")})


def _has(gres: str, gpus: int) -> bool:
    """True if a node has so many GPUs by what Slurm writes of it, such as gpu:8 or gpu:h200:8(S:0-1),fs:1."""
    return sum(map(int, re.findall(r"(?:^|,)gpu(?::[^:,(]+)?:(\d+)", gres))) >= gpus


def is_alive(id: str) -> bool | None:
    """True if a job waits or runs; None if Slurm cannot be asked from here."""
    try:
        states = run(["squeue", "--noheader", f"--jobs={id}", "--format=%T"])
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
    run(["scontrol", "requeue", id])


def _read_end(state: str, end: str) -> float:
    with suppress(ValueError):  # the job has no time limit
        if state == "RUNNING":
            return datetime.fromisoformat(end).timestamp()
    return float("inf")


def run(command: Sequence[str]) -> str:
    """Run a Slurm command and return what it printed. Raises SlurmError."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        problem = f"{command[0]} not found, so there is no Slurm here"
        raise SlurmError(f"{problem}: run the command where Slurm jobs are submitted") from None
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{command[0]} did not answer for two minutes") from None
    if result.returncode:
        raise SlurmError(f"{' '.join(command)}: {result.stderr.strip() or result.stdout.strip()}")
    return result.stdout.strip()
