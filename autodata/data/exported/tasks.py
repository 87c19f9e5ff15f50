"""Reads the tasks and the stored attempts that this package was made with."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from .scorer import Task

HERE = Path(__file__).parent
TASKS, ATTEMPTS = HERE / "tasks.jsonl", HERE / "attempts.jsonl"


class StoredVerdicts:
    """A judge that gives the verdicts of a file of attempts, and asks nobody.

    If several attempts gave the same answer, it takes their verdicts in turn.
    """

    def __init__(self, path: Path = ATTEMPTS):
        self._path, self._lock = path, Lock()
        self._met: defaultdict[tuple[str, str], list[list[bool]]] = defaultdict(list)
        for attempt in read_lines(path):
            self._met[_name(attempt["task"], attempt["answer"])].append(attempt["met"])

    def __call__(self, task: Task, answer: str) -> list[bool]:
        """Return one boolean per criterion. Raises LookupError for an answer that is not in the file."""
        with self._lock:
            if not (waiting := self._met.get(_name(task["id"], answer))):
                raise LookupError(f"{self._path}: no verdicts on this answer to task {task['id']}")
            waiting.append(waiting.pop(0))
            return waiting[-1]


def load_tasks(split: str = "", arm: str = "") -> list[Task]:
    """Load the tasks of a split and an arm; an empty word stands for all. Raises ValueError if there are none."""
    tasks = list(read_lines(TASKS))
    chosen = [task for task in tasks if split in ("", task["split"]) and arm in ("", task["arm"])]
    if not chosen:
        there = ", ".join(sorted({f"{task['arm']}/{task['split']}" for task in tasks})) or "none"
        raise ValueError(f"no tasks of arm {arm or 'any'} in split {split or 'any'}; there are: {there}")
    return chosen


def read_lines(path: Path) -> Iterator[Task]:
    """Read the records of a JSONL file."""
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _name(task: str, answer: str) -> tuple[str, str]:
    """Name an answer by its hash, without the space around it, which some trainers strip."""
    return task, hashlib.sha256(answer.strip().encode(errors="replace")).hexdigest()
