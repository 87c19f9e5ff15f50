"""Reads PRBench's tasks from a folder of the data set as it was downloaded (ScaleAI/PRBench, CC-BY-4.0)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.corpora.rows import BadRow, read_rows
from autodata.eval.prbench.rules import BadRubric, PrbenchCriterion, read_conversation, read_criterion
from autodata.types import Message

SPLITS = ("legal", "legal_hard", "finance", "finance_hard")


@dataclass(frozen=True)
class Task:
    """One conversation to be answered, and the criteria that its answer is checked for."""

    id: str
    topic: str
    messages: tuple[Message, ...]
    criteria: tuple[PrbenchCriterion, ...]


@dataclass(frozen=True)
class Split:
    """The tasks of a split, and how many of its rows were left out for each reason."""

    name: str
    tasks: tuple[Task, ...]
    left_out: dict[str, int]


def read_split(folder: Path, name: str, limit: int | None = None) -> Split:
    """Read the tasks of a split, or the first `limit` of them. Raises RecipeError if the split has no file."""
    tasks, left_out = [], Counter[str]()
    for row in chain.from_iterable(map(read_rows, find_files(folder, name))):
        if isinstance(row, BadRow):
            left_out[row.reason] += 1
            continue
        try:
            tasks.append(_make_task(row.value))
        except BadRubric as problem:
            left_out[str(problem).partition(": ")[2]] += 1
    return Split(name, tuple(tasks[:limit]), dict(left_out))


def find_files(folder: Path, name: str) -> list[Path]:
    """Find `legal.parquet`, `data/legal-00000-of-00001.parquet` or `legal.jsonl`, for example. Raises RecipeError."""
    names = (f"{name}.parquet", f"{name}.jsonl", f"{name}-[0-9]*.parquet")
    files = [file for place in (folder, folder / "data") for name in names for file in sorted(place.glob(name))]
    if not files:
        raise RecipeError(
            f"{folder}: no file of the split {name}; download ScaleAI/PRBench there "
            "(hf download ScaleAI/PRBench --repo-type dataset --revision … --local-dir …)"
        )
    return files


def _make_task(row: Mapping[str, Any]) -> Task:
    """Make a task from a row of the data set. Raises BadRubric."""
    criteria = tuple(read_criterion(one) for one in row.get("rubric") or [])
    if not criteria:
        raise BadRubric(f"task {row.get('task')}: no rubric")
    return Task(str(row.get("task")), str(row.get("topic") or "unknown"), tuple(read_conversation(row)), criteria)


def flatten(messages: tuple[Message, ...]) -> str:
    """Write the conversation in the form that the grader sees."""
    return "\n\n".join(f"{message.role}: {message.content}" for message in messages)
