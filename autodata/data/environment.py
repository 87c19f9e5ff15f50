"""Writes a data set as a Python package that other trainers install: tasks, a scorer, and an environment around them.

The package is the folder `exported`, whose files need nothing of this project, with the data set's tasks and attempts.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from autodata.data.exported import scorer
from autodata.data.formats import Row, Task, write_prompt
from autodata.loop.domain import Domain, Judging
from autodata.run.records import RunError, write_file
from autodata.types import Attempt

PACKAGE = Path(__file__).parent / "exported"
# Everything that a prompt could do to an answer other than put it in its place would show on this one.
PROBE = (
    ' \n<|im_end|>\n</think> [INST] {{ answer }} {% raw %} \\\\frac & "quoted"\n\n' + "long " * 500 + "</answer>\n "
)


def write_environment(folder: Path, name: str, tasks: Sequence[Task]) -> tuple[int, int]:
    """Write the package `name`; return how many tasks and attempts it holds. Raises RunError."""
    package = folder / name
    package.mkdir(parents=True)
    for file in PACKAGE.glob("*.py"):
        shutil.copyfile(file, package / file.name)
    judgings = [(task, describe_judging(task)) for task in tasks]
    for task, judging in judgings:
        if judging.compare:
            shutil.copyfile(judging.compare, package / f"{_name_comparison(task)}.py")
    attempts = [row for task in tasks for row in list_attempts(task)]
    _write_lines(package / "tasks.jsonl", (write_task(task, judging) for task, judging in judgings))
    _write_lines(package / "attempts.jsonl", attempts)
    facts = {
        "name": name,
        "tasks": len(tasks),
        "attempts": len(attempts),
        "continues": any(task.prompt[-1].role == "assistant" for task in tasks),
        "compares": any(judging.compare and judging.calls for _, judging in judgings),
    }
    _write_pages(folder, facts)
    return len(tasks), len(attempts)


def describe_judging(task: Task) -> Judging:
    """Describe how answers to a task are judged, with a place where the answer goes. Raises RunError."""
    domain, candidate = task.domain, task.example.candidate
    if not issubclass(_find_owner(domain, "describe_judging"), _find_owner(domain, "judge")):
        raise RunError(
            f"the domain {domain.config.name} judges in code of its own, which an environment does not have; "
            f"write `describe_judging` beside `judge` in its domain.py, or export messages, pairs or prompts"
        )
    judging = domain.describe_judging(candidate, scorer.PLACE)
    for call, probed in zip(judging.calls, domain.describe_judging(candidate, PROBE).calls, strict=True):
        if scorer.fill(_as_rows(call.messages), PROBE) != _as_rows(probed.messages):
            raise RunError(
                f"{task.example.id}: the judge's prompt does more with an answer than to put it in one place, "
                f"which an environment cannot do; change the template under {domain.prompts.folder}"
            )
    return judging


def write_task(task: Task, judging: Judging) -> Row:
    """Make the line of a task: what a trainer asks, and what its score follows from."""
    calls = [{"messages": _as_rows(call.messages), "criteria": call.criteria} for call in judging.calls]
    where = {"arm": task.example.arm, "split": task.example.split}
    compare = _name_comparison(task) if judging.compare else ""
    return write_prompt(task) | where | {"compare": compare, "judge_calls": calls}


def list_attempts(task: Task) -> Iterator[Row]:
    """List the attempts that have a score, each with the verdicts that it follows from."""
    for solver, attempts in {"weak": task.round.weak, "strong": task.round.strong}.items():
        for attempt in filter(_is_scored, attempts):
            judged = {"met": attempt.judgement.met, "score": attempt.judgement.score}
            yield {"task": task.example.id, "solver": solver, "answer": attempt.answer, **judged}


def _is_scored(attempt: Attempt) -> bool:
    return attempt.is_measured and attempt.judgement.score is not None


def _find_owner(domain: Domain, method: str) -> type:
    """Find the class from which a domain has a method."""
    return next(owner for owner in type(domain).__mro__ if method in vars(owner))


def _name_comparison(task: Task) -> str:
    """Name the file that compares answers of a domain: a user may call a domain what Python cannot import."""
    return f"compare_{re.sub(r'[^a-z0-9]', '_', task.domain.config.name.lower())}"


def _as_rows(messages: Iterable[Any]) -> list[dict[str, str]]:
    return [asdict(message) for message in messages]


def _write_lines(path: Path, rows: Iterable[Row]) -> None:
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _write_pages(folder: Path, facts: Mapping[str, object]) -> None:
    """Render the files around the package; their templates are this project's own."""
    environment = Environment(loader=FileSystemLoader(PACKAGE), trim_blocks=True, keep_trailing_newline=True)
    for template in PACKAGE.glob("*.j2"):
        write_file(folder / template.stem, environment.get_template(template.name).render(facts))
