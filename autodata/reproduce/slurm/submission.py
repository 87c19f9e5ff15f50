"""Submits the steps of a graph to Slurm, or describes what would be submitted."""

from collections.abc import Mapping, Sequence

from autodata.doctor.environment import read_site
from autodata.reproduce import show
from autodata.reproduce.graph import Step
from autodata.reproduce.record import Cost, Record, make_record
from autodata.reproduce.request import Request
from autodata.reproduce.slurm.changes import describe_changes, find_arguments
from autodata.reproduce.slurm.jobs import find_kept, note_kept, submit_all
from autodata.reproduce.slurm.joint import join
from autodata.reproduce.slurm.room import Room, find_too_large, find_unplaced, keep_apart
from autodata.types import WrongCall

Arranged = tuple[Sequence[Step], Record, list[str]]  # steps, their record, and what would stop the submission


def describe_jobs(request: Request, steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost]) -> str:
    """Describe the jobs of all steps before the first is submitted."""
    room = Room.read(read_site(), request.folder)
    steps, record, problems = _arrange(request, steps, finished, costs, room)
    kept, todo = find_kept(steps, record), [step for step in steps if step.name not in finished]
    problems += [problem] if (problem := describe_changes(todo, kept, find_arguments(record))) else []
    return show.describe(request, steps, note_kept(record, kept), room, problems)


def submit(request: Request, steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost]) -> None:
    """Submit the jobs of all steps that are not finished. Raises WrongCall, SlurmError."""
    room = Room.read(read_site(), request.folder)
    steps, record, problems = _arrange(request, steps, finished, costs, room)
    if problems:
        raise WrongCall("\n".join([*problems, "nothing was submitted"]))
    submit_all(steps, record, room.list_jobs())


def _arrange(
    request: Request, steps: Sequence[Step], finished: set[str], costs: Mapping[str, Cost], room: Room
) -> Arranged:
    """Decide which evaluations share a job, and which jobs wait for room."""
    joined, costs = join(steps, finished, costs, room)
    arranged = keep_apart(joined, finished, costs, room)
    record = make_record(request.folder, arranged, costs, finished)
    too_large = find_too_large(arranged, finished, costs, room)
    return arranged, record, [*too_large, *find_unplaced(arranged, finished, room.site)]
