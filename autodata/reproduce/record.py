"""Keeps the graph of a request in its folder: the steps, their forecasts and the numbers of their jobs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from autodata.recipes.evaluation import TableRecipe
from autodata.recipes.reading.kinds import MODULES
from autodata.run.records import RunError, read_json, write_file
from autodata.stats.writing import DASH

STEPS = "steps.json"
MARK = "*"
LEGEND = f"{MARK} assumed: it rests on numbers of autodata/plan/priors.yaml, and not on a measurement of these steps."
VERIFY, TABLES = "autodata.verify", MODULES[TableRecipe]  # the two commands that make no run folder


def name_step(module: str, target: str) -> str:
    """Name a step by the last word of its command and by what it makes: `generate runs/cs/agentic`."""
    return f"{module.removesuffix('.run').rpartition('.')[2]} {target}"


def mark(text: str, is_assumed: bool) -> str:
    """Mark a number that rests on assumptions."""
    return f"{text}{MARK}" if is_assumed else text


class Node(Protocol):
    """What a step and the record of a step have in common."""

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def target(self) -> str:
        """The run folder that the step makes, or the file of a table."""

    @property
    def after(self) -> tuple[str, ...]:
        """The names of the steps whose results it reads."""

    @property
    def behind(self) -> tuple[str, ...]:
        """The names of the steps that must be over before it, because nodes for both are missing."""


@dataclass(frozen=True)
class Cost:
    """The forecast for one step; None where there is none, and then `source` says why."""

    source: str
    gpus: int = 0
    seconds: float | None = None
    tokens: float | None = None
    disk_gb: float = 0.0
    assumed: bool = False  # a number rests on priors.yaml
    busy: tuple[tuple[str, float], ...] = ()  # for how many seconds each server works, by its endpoint
    servers: tuple[tuple[str, int, int], ...] = ()  # endpoint, GPUs of a replica, replicas; those of `gpus`

    @property
    def gpu_hours(self) -> float | None:
        return None if self.seconds is None else self.gpus * self.seconds / 3600

    def write(self, value: float | None, text: Callable[[float], str]) -> str:
        """Write one of the numbers, marked if it is assumed; 0 never is, because there is nothing to count."""
        return DASH if value is None else mark(text(value), self.assumed and bool(value))


@dataclass(frozen=True)
class StepRecord:
    """What is known of a step without its recipe."""

    module: str
    target: str
    after: tuple[str, ...]
    cost: Cost
    finished: bool = False
    job: str = ""  # number of its last Slurm job; empty if none was submitted
    behind: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()  # with which that job was submitted; empty if an earlier version submitted it

    @property
    def name(self) -> str:
        return name_step(self.module, self.target)


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


def make_record(folder: Path, steps: Sequence[Node], costs: Mapping[str, Cost], finished: set[str]) -> Record:
    """Make the record of a graph; a job of an earlier command keeps its number and its arguments."""
    earlier = read_record(folder).steps if (folder / STEPS).exists() else {}

    def make(step: Node) -> StepRecord:
        entry = StepRecord(step.module, step.target, step.after, costs[step.name], step.name in finished)
        known = earlier.get(step.name, entry)
        return replace(entry, job=known.job, arguments=known.arguments, behind=step.behind)

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


def read_others(folder: Path) -> list[Record]:
    """Read the records of other requests whose runs lie in the same folder. Raises RunError."""
    return [read_record(path.parent) for path in sorted(folder.parent.glob(f"*/{STEPS}")) if path.parent != folder]
