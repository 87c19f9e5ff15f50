"""Keeps one short record for each answer of an evaluated model, and computes the results of a task from them."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from autodata.eval.statistics import Answers, best_at_k, mean_at_k, mean_of_known, pass_at_k, unscored_bounds
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.records import NoSuchRun, read_records
from autodata.types import Outcome, WrongCall

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample
    from inspect_ai.scorer import Score

REFUSALS = (Outcome.REFUSED, Outcome.FILTERED)  # by the model, and by a filter before it: both may count as wrong
COUNTED = "a refusal, which the recipe counts as wrong"
ANSWERS = "answers.jsonl"  # tables read this file: it is small, whereas the logs hold every token
RESULTS, PRBENCH = "results.json", "prbench.json"


@dataclass(frozen=True)
class SampledAnswer:
    """One answer of the evaluated model, how it ended and how it was scored."""

    task: str
    example: str
    document: str
    epoch: int  # index of the sample, from 1
    score: float | None  # the first grader's; None if there is no answer or judging failed
    outcome: Outcome
    has_answer: bool  # True if there is content after the reasoning
    tokens: int  # length of the completion, reasoning included
    subset: str = ""  # part of the task, if it has parts
    graders: dict[str, float | None] = field(default_factory=dict)  # every grader's score, if there are several
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


SAMPLED_ANSWER = TypeAdapter(SampledAnswer)


def read_all(run: Path) -> dict[str, list[SampledAnswer]]:
    """Read the answers of a run folder, by task. Raises RunError."""
    if not (run / ANSWERS).exists():
        raise NoSuchRun(f"{run}: no {ANSWERS}; evaluate a model with {COMMANDS[EvalRecipe]} first")
    return group_by([_without_nan(answer) for answer in read_records(run / ANSWERS, SAMPLED_ANSWER)], "task")


def read_task(run: Path, task: str) -> list[SampledAnswer]:
    """Read all answers to one task. If there are none, raises WrongCall, which names the tasks that have some."""
    tasks = read_all(run)
    if task not in tasks:
        raise WrongCall(f"--task {task}: {run} has no answers to it, only to {', '.join(sorted(tasks)) or 'no task'}")
    return tasks[task]


def collect(log: EvalLog) -> list[SampledAnswer]:
    """Collect the answers of one log, in the order of examples and epochs."""
    samples = sorted(log.samples or [], key=lambda sample: (str(sample.id), sample.epoch))
    return [_read(log.eval.task, sample) for sample in samples]


def _read(task: str, sample: EvalSample) -> SampledAnswer:
    reply = sample.metadata.get("reply") or {}
    score = next(iter((sample.scores or {}).values()), None)
    return _without_nan(
        SampledAnswer(
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
        )
    )


def _find_reason(sample: EvalSample, score: Score | None) -> str:
    """Say why a sample has no score, or that it is a counted refusal; empty for every other sample."""
    if score is not None and not math.isnan(score.as_float()):
        return COUNTED if sample.metadata.get("outcome") in REFUSALS else ""
    return str(sample.metadata.get("reason") or (score.explanation if score else "") or "")


def _without_nan(answer: SampledAnswer) -> SampledAnswer:
    """Set the score to None if it is inspect_ai's NaN, or if an older run scored an answer that never came."""
    is_known = answer.score is not None and not math.isnan(answer.score)
    is_measured = answer.outcome.is_measured or answer.reason == COUNTED
    return answer if is_known and is_measured else replace(answer, score=None)


def join(answers: Mapping[str, Sequence[SampledAnswer]], tasks: Sequence[str]) -> list[SampledAnswer]:
    """Join the answers to several tasks; each example's name then begins with its task, so that none are confused."""
    return [replace(g, example=f"{task} {g.example}") for task in tasks for g in answers.get(task, ())]


def group_by(sampled: Sequence[SampledAnswer], field: str) -> dict[str, list[SampledAnswer]]:
    """Group answers by one of their fields, such as `example`, in the order of first occurrence."""
    groups: dict[str, list[SampledAnswer]] = {}
    for answer in sampled:
        groups.setdefault(getattr(answer, field), []).append(answer)
    return groups


def to_answers(sampled: Sequence[SampledAnswer]) -> dict[str, Answers]:
    """Collect the scores of each example for the statistics."""
    groups = group_by(sampled, "example")
    return {id: Answers(group[0].document, tuple(g.score for g in group)) for id, group in groups.items()}


def summarize(sampled: Sequence[SampledAnswer]) -> dict[str, object]:
    """Compute mean, best and pass@k, the share of cut-off answers and the length, of the task and of each subset."""
    parts = {name: _summarize(group) for name, group in sorted(group_by(sampled, "subset").items()) if name}
    return _summarize(sampled) | ({"subsets": parts} if parts else {})


def _summarize(sampled: Sequence[SampledAnswer]) -> dict[str, object]:
    answers, measured = list(to_answers(sampled).values()), [g for g in sampled if g.is_measured]
    k = max((len(a.scores) for a in answers), default=0)
    estimates = {"mean": mean_at_k(answers), "best": best_at_k(answers), "pass": pass_at_k(answers, k) if k else None}
    return {
        "examples": len(answers),
        "documents": len({a.document_id for a in answers}),
        "k": k,
        **{name: estimate and asdict(estimate) for name, estimate in estimates.items()},
        "truncation_rate": mean_of_known([g.is_cut_off for g in measured]),
        # A refusal has no text, even if it counts as an answer.
        "tokens_per_answer": mean_of_known([g.tokens for g in measured if g.outcome.is_measured]),
        "score_per_1000_tokens": measure_efficiency(sampled),
        "outcomes": dict(sorted(Counter(str(g.outcome) for g in sampled).items())),
        "unscored": sum(a.scores.count(None) for a in answers),
        "mean_bounds": unscored_bounds(answers),
    }


def measure_efficiency(sampled: Sequence[SampledAnswer]) -> float | None:
    """Compute the score per thousand tokens, over scored answers; None without tokens."""
    scored = [g for g in sampled if g.score is not None]
    tokens = sum(g.tokens for g in scored)
    return 1000 * sum(g.score or 0.0 for g in scored) / tokens if tokens else None


def parse_arguments(parser: ArgumentParser, verb: str) -> Namespace:
    """Read the arguments of a command about the answers to one task; `verb` says what it does to them."""
    defaults = "(default: %(default)s)"
    parser.add_argument("--task", default="agentic_test", help=f"task whose answers are {verb} {defaults}")
    parser.add_argument("--right-from", type=float, default=1.0, help=f"lowest score that counts as right {defaults}")
    return parser.parse_intermixed_args()
