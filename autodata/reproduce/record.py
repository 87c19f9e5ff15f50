"""Keeps the graph of a request in its folder: the steps, their forecasts and the numbers of their jobs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autodata.reproduce.costs import Cost
from autodata.reproduce.graph import Step
from autodata.run.records import RunError, read_json, write_file

STEPS = "steps.json"


@dataclass(frozen=True)
class StepRecord:
    """What is known of a step without its recipe."""

    name: str
    target: str  # the run folder, or the file of a table
    after: tuple[str, ...]
    cost: Cost
    finished: bool = False
    job: str = ""  # number of its last Slurm job; empty if none was submitted


_RECORDS = TypeAdapter(list[StepRecord])


@dataclass(frozen=True)
class Record:
    """The steps of a request by their names, in the order in which they can run."""

    folder: Path
    steps: Mapping[str, StepRecord]

    def change(self, entry: StepRecord) -> "Record":
        return replace(self, steps={**self.steps, entry.name: entry})

    def write(self) -> None:
        text = json.dumps([asdict(entry) for entry in self.steps.values()], indent=1, ensure_ascii=False)
        write_file(self.folder / STEPS, text + "\n")


def make_record(folder: Path, steps: Sequence[Step], costs: Mapping[str, Cost], finished: set[str]) -> Record:
    """Make the record of a graph; a job that an earlier command submitted keeps its number."""
    earlier = read_record(folder).steps if (folder / STEPS).exists() else {}

    def make(step: Step) -> StepRecord:
        job = earlier[step.name].job if step.name in earlier else ""
        return StepRecord(step.name, step.target, step.after, costs[step.name], step.name in finished, job)

    return Record(folder, {step.name: make(step) for step in steps})


def read_record(folder: Path) -> Record:
    """Read the record of a request. Raises RunError."""
    try:
        entries = _RECORDS.validate_python(read_json(folder / STEPS))
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        advice = "remove the file and give the same command of autodata.reproduce again"
        raise RunError(f"{folder / STEPS}: damaged ({problem}); {advice}") from error
    return Record(folder, {entry.name: entry for entry in entries})
