"""What an evaluation left: one record for each answer of a model, read from inspect_ai's logs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log

from autodata.store import RunError
from autodata.types import Outcome


@dataclass(frozen=True)
class Generation:
    """One answer and what became of it."""

    task: str
    example: str
    document: str
    epoch: int  # from 1
    score: float | None  # None where judging failed
    outcome: Outcome
    has_answer: bool  # final content, outside the reasoning
    tokens: int  # of the completion, reasoning included

    @property
    def is_cut_off(self) -> bool:
        return self.outcome is Outcome.TRUNCATED

    def is_right(self, right_from: float) -> bool:
        return self.score is not None and self.score >= right_from


def read_generations(folder: Path, task: str) -> list[Generation]:
    """All answers of a task, from the newest finished log of it. Raises RunError."""
    logs = [read_eval_log(info) for info in list_eval_logs(str(folder)) if info.task.replace("-", "_") == task]
    finished = [log for log in logs if log.status == "success"]
    if not finished:
        raise RunError(f"{folder}: no finished log of {task}; evaluate it first")
    return collect(max(finished, key=lambda log: log.eval.created))


def collect(log: EvalLog) -> list[Generation]:
    """The answers of one log, in the order of examples and epochs."""
    samples = sorted(log.samples or [], key=lambda sample: (str(sample.id), sample.epoch))
    return [_read(log.eval.task, sample) for sample in samples]


def _read(task: str, sample: EvalSample) -> Generation:
    reply = sample.metadata.get("reply", {})
    score = next(iter((sample.scores or {}).values()), None)
    value = score.as_float() if score else math.nan
    return Generation(
        task=task,
        example=str(sample.id),
        document=str(sample.metadata["document_id"]),
        epoch=sample.epoch,
        score=None if math.isnan(value) else value,
        outcome=Outcome(reply.get("outcome", Outcome.INFRASTRUCTURE)),
        has_answer=bool(str(reply.get("content", "")).strip()),
        tokens=int(reply.get("completion_tokens", 0)),
    )


def group_by_example(generations: Sequence[Generation]) -> dict[str, list[Generation]]:
    groups: dict[str, list[Generation]] = {}
    for generation in generations:
        groups.setdefault(generation.example, []).append(generation)
    return groups
