"""Names the jobs outside a table for whose end its jobs wait, such as those of another table that hold the nodes."""

from collections.abc import Mapping, Sequence

from autodata.cluster import jobs
from autodata.cluster.jobs import SlurmError
from autodata.reproduce.record import Record, StepRecord, mark, read_others
from autodata.stats.writing import write_duration

Entries = Sequence[tuple[str, StepRecord]]  # the steps of a job, each with the name of its table


def find_outside(record: Record) -> dict[str, tuple[str, ...]]:
    """Describe the jobs outside a table that each of its jobs waits for, by the number of the latter. Raises RunError.

    Slurm says what a job still waits for: the record would name jobs behind which a kept job never stood.
    """
    try:
        awaited = jobs.list_awaited()
    except SlurmError:
        return {}
    own = {entry.job for entry in record.steps.values() if entry.job}
    outside = {id: [o for o in dict.fromkeys(others) if o not in own] for id, others in awaited.items() if id in own}
    if not any(outside.values()):
        return {}
    entries = _find_entries(record)
    return {id: tuple(_describe(other, entries.get(other, ())) for other in others) for id, others in outside.items()}


def _find_entries(record: Record) -> Mapping[str, Entries]:
    """Find the steps of the jobs of other tables, by the numbers of the jobs."""
    entries: dict[str, list[tuple[str, StepRecord]]] = {}
    for other in read_others(record.folder):
        for entry in other.steps.values():
            entries.setdefault(entry.job, []).append((other.folder.name, entry))
    return entries


def _describe(id: str, entries: Entries) -> str:
    """Describe a job by its steps, one of its tables and its forecast, as far as they are known."""
    if not entries:
        return f"job {id}"
    names = ", ".join(dict.fromkeys(entry.name for _, entry in entries))
    costs = [entry.cost for _, entry in entries if entry.cost.seconds is not None]
    longest = max(costs, key=lambda cost: cost.seconds or 0.0, default=None)
    time = f": {mark(write_duration(longest.seconds or 0.0), longest.assumed)}" if longest else ""
    return f"job {id} ({names} of {entries[0][0]}{time})"
