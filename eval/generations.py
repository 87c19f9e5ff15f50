"""What an evaluation left: one record for each answer of a model, beside inspect_ai's logs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from autodata.run.records import RunError, read_records
from autodata.types import Outcome
from eval.statistics import Answers

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score

COUNTED = "a refusal, which the recipe counts as wrong"
ANSWERS = "answers.jsonl"  # small, where the logs hold every token: tables are made of it


@dataclass(frozen=True)
class Generation:
    """One answer and what became of it."""

    task: str
    example: str
    document: str
    epoch: int  # from 1
    score: float | None  # the first grader's; None where judging failed
    outcome: Outcome
    has_answer: bool  # final content, outside the reasoning
    tokens: int  # of the completion, reasoning included
    subset: str = ""  # of the task, where it has parts
    graders: dict[str, float | None] = field(default_factory=dict)  # every grader's score, where there are several
    reason: str = ""  # why there is no score

    @property
    def is_measured(self) -> bool:
        """True if the model answered or used up its budget, whether or not a judge could score it."""
        return self.outcome.is_measured or self.score is not None

    @property
    def is_cut_off(self) -> bool:
        return self.outcome is Outcome.CUT_OFF

    def is_right(self, right_from: float) -> bool:
        return self.score is not None and self.score >= right_from


GENERATION = TypeAdapter(Generation)


def read_all(run: Path) -> dict[str, list[Generation]]:
    """The answers of a run folder by task. Raises RunError."""
    if not (run / ANSWERS).exists():
        raise RunError(f"{run}: no {ANSWERS}; evaluate a model with python -m eval.run first")
    tasks: dict[str, list[Generation]] = {}
    for generation in read_records(run / ANSWERS, GENERATION):
        tasks.setdefault(generation.task, []).append(_without_nan(generation))
    return tasks


def read_generations(run: Path, task: str) -> list[Generation]:
    """All answers to one task. Raises RunError, which names the tasks that were done."""
    found = read_all(run)
    if task not in found:
        raise RunError(f"{run}: no answers to {task}; it has {', '.join(sorted(found)) or 'none at all'}")
    return found[task]


def collect(log: EvalLog) -> list[Generation]:
    """The answers of one log, in the order of examples and epochs."""
    samples = sorted(log.samples or [], key=lambda sample: (str(sample.id), sample.epoch))
    return [_read(log.eval.task, sample) for sample in samples]


def _read(task: str, sample: EvalSample) -> Generation:
    reply = sample.metadata.get("reply") or {}
    score = next(iter((sample.scores or {}).values()), None)
    return _without_nan(Generation(
        task=task,
        example=str(sample.id),
        document=str(sample.metadata["document_id"]),
        epoch=sample.epoch,
        score=score.as_float() if score else None,
        outcome=Outcome(reply.get("outcome") or sample.metadata.get("outcome", Outcome.ERROR)),
        has_answer=bool(str(reply.get("content", "")).strip()),
        tokens=int(reply.get("completion_tokens", 0)),
        subset=str(sample.metadata.get("subset", "")),
        graders=dict((score.metadata or {}).get("clipped", {})) if score else {},
        reason=_find_reason(sample, score),
    ))  # fmt: skip


def _find_reason(sample: EvalSample, score: Score | None) -> str:
    """Why a sample has no score; nothing where it has one."""
    if score is not None and not math.isnan(score.as_float()):
        return COUNTED if sample.metadata.get("outcome") == Outcome.REFUSED else ""
    return str(sample.metadata.get("reason") or (score.explanation if score else "") or "")


def _without_nan(generation: Generation) -> Generation:
    """inspect_ai's NaN is an answer without a score; older runs also gave one to what was never answered."""
    is_known = generation.score is not None and not math.isnan(generation.score)
    is_measured = generation.outcome.is_measured or generation.reason == COUNTED
    return generation if is_known and is_measured else replace(generation, score=None)


def graded_by(generations: Sequence[Generation], grader: str) -> list[Generation]:
    """The same answers with the scores of one of several graders; those that it was not asked about are left out."""
    return [replace(g, score=g.graders[grader]) for g in generations if grader in g.graders]


def group_by_example(generations: Sequence[Generation]) -> dict[str, list[Generation]]:
    groups: dict[str, list[Generation]] = {}
    for generation in generations:
        groups.setdefault(generation.example, []).append(generation)
    return groups


def to_answers(generations: Sequence[Generation]) -> dict[str, Answers]:
    """The scores of each example, for the statistics."""
    return {id: Answers(of[0].document, tuple(g.score for g in of))
            for id, of in group_by_example(generations).items()}  # fmt: skip
