"""Turns examples and their stored attempts into rows that other trainers read: for SFT, for DPO, and prompts for RL.

The rows have the columns of TRL's conversational formats. Messages are the solver's prompt as generation, training and
evaluation render it; the text with which a strong solver was helped is not part of it.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from autodata.loop import rubric
from autodata.loop.domain import Domain
from autodata.loop.prompts import TAGS
from autodata.types import Attempt, Example, Message, Outcome, Round

Row = dict[str, Any]
# A trainer's tokenizer reads these as turn markers, wherever a chat template puts the text that has them.
_MARKER = re.compile(rf"<[|｜][^\s<>]{{1,60}}[|｜]>|</?(?:{TAGS})>|\[/?INST\]")


@dataclass(frozen=True)
class Task:
    """An example with the round that it was made of, the solver's prompt, and the domain that judges."""

    example: Example
    round: Round
    prompt: tuple[Message, ...]
    domain: Domain


def make_task(example: Example, round: Round, domain: Domain) -> Task:
    """Render the solver's prompt of an example."""
    return Task(example, round, domain.solver_prompt(example.candidate), domain)


def write_messages(task: Task, with_reasoning: bool = False) -> Row | None:
    """Make the row for SFT: the prompt and the best answer of the strong solver; None if it has no right one."""
    best = _choose(task, task.round.strong, with_reasoning)
    if best is None or not _score(task, best):
        return None
    turns, beginning = _split_prompt(task)
    return _describe(task) | {
        "messages": [*turns, _answer(best, beginning, with_reasoning)],
        "score": float(_score(task, best)),
    }


def write_pair(task: Task, with_reasoning: bool = False, margin: float = 0.0) -> Row | None:
    """Make the row for DPO: the strong solver's best answer over the weak solver's worst one.

    None unless both have an answer, in other words, and the first scores more than the second by more than `margin`.
    """
    chosen = _choose(task, task.round.strong, with_reasoning)
    rejected = _choose(task, task.round.weak, with_reasoning, worst=True)
    if chosen is None or rejected is None:
        return None
    gap = _score(task, chosen) - _score(task, rejected)
    if gap <= Fraction(str(margin)):  # 0.3 means 3/10, not its nearest binary number
        return None
    if chosen.answer.strip() == rejected.answer.strip():
        return None  # the judge was of two minds about one text, which is no preference
    turns, beginning = _split_prompt(task)
    return _describe(task) | {
        "prompt": turns,
        "chosen": [_answer(chosen, beginning, with_reasoning)],
        "rejected": [_answer(rejected, beginning, with_reasoning)],
        "chosen_score": float(_score(task, chosen)),
        "rejected_score": float(_score(task, rejected)),
        "margin": float(gap),
    }


def write_prompt(task: Task) -> Row:
    """Make the row for RL: the prompt, with what its reward needs."""
    candidate = task.example.candidate
    return _describe(task) | {
        "prompt": [asdict(message) for message in task.prompt],
        "question": candidate.question,
        "context": candidate.context,
        "reference_answer": candidate.reference_answer,
        "rubric": [{"criterion": line.text, "weight": line.weight} for line in candidate.rubric],
        "weak_scores": list(task.example.weak_scores),
        "strong_scores": list(task.example.strong_scores),
    }


def _describe(task: Task) -> Row:
    """Say where the row comes from, as every format does."""
    example = task.example
    return {"id": example.id, "document_id": example.document_id, "licence": example.provenance.licence}


def _choose(task: Task, attempts: Sequence[Attempt], with_reasoning: bool, worst: bool = False) -> Attempt | None:
    """Choose the best or the worst finished answer, the first of equal ones.

    An answer that was cut off would teach to stop there, and one with a marker of chat templates would open a turn.
    """
    finished = [a for a in attempts if a.outcome is Outcome.ANSWERED and a.is_measured]
    plain = [a for a in finished if not _MARKER.search(a.answer + (a.reasoning if with_reasoning else ""))]
    return min(plain, key=lambda a: _score(task, a) if worst else -_score(task, a), default=None)


def _score(task: Task, attempt: Attempt) -> Fraction:
    """Score a measured attempt exactly, so that a margin is exact too."""
    return rubric.score(task.example.candidate.rubric, attempt.judgement.met)


def _split_prompt(task: Task) -> tuple[list[Row], str]:
    """Split the prompt into its turns and the beginning of the answer that some domains give."""
    *turns, last = task.prompt
    if last.role == "assistant":
        return [asdict(turn) for turn in turns], last.content
    return [asdict(turn) for turn in task.prompt], ""


def _answer(attempt: Attempt, beginning: str, with_reasoning: bool) -> Row:
    """Write an answer as a turn; `reasoning_content` is the key that chat templates of thinking models read."""
    turn = {"role": "assistant", "content": beginning + attempt.answer}
    return turn | ({"reasoning_content": attempt.reasoning} if with_reasoning and attempt.reasoning else {})
