"""Writes the recap that the orchestrating model reads: a few lines per round, bounded however long the run is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from autodata.stats.writing import DASH
from autodata.types import Attempt, Candidate, Round

SHOWN_ROUNDS = 4  # in detail; earlier ones are counted by failure
SHOWN_CHARS = 400  # of a question, a reason, an answer
SHOWN_CRITERIA = 25


@dataclass(frozen=True)
class RoundRecap:
    """One closed round. Scores are means in [0, 1]; None where nothing was measured."""

    number: int
    question: str
    verdict: str
    reason: str
    weak: float | None
    strong: float | None
    instruction: str


@dataclass(frozen=True)
class CriterionCount:
    """How many attempts of each solver met a criterion."""

    text: str
    weight: int
    weak: str
    strong: str


def list_rounds(rounds: Sequence[Round]) -> list[RoundRecap]:
    """List the latest rounds, oldest first."""
    return [_recap(r) for r in rounds[-SHOWN_ROUNDS:]]


def count_earlier(rounds: Sequence[Round]) -> dict[str, int]:
    """Count how the rounds before the listed ones ended."""
    return dict(sorted(Counter(_verdict(r) for r in rounds[:-SHOWN_ROUNDS]).items()))


def count_criteria(round: Round | None) -> list[CriterionCount]:
    """Count, for each criterion of a measured round, how many attempts of each solver met it (paper Sec. 3.2)."""
    if round is None or round.candidate is None or not round.weak:
        return []
    return [
        CriterionCount(shorten(criterion.text), criterion.weight, _met(round.weak, i), _met(round.strong, i))
        for i, criterion in enumerate(round.candidate.rubric[:SHOWN_CRITERIA])
    ]


def describe_candidate(candidate: Candidate | None) -> str:
    return shorten(candidate.question) if candidate else ""


def average(attempts: Sequence[Attempt]) -> float | None:
    """The mean score of the judged attempts, for display only: verdicts use exact fractions."""
    scores = [a.judgement.score for a in attempts if a.judgement.score is not None]
    return round(sum(scores) / len(scores), 3) if scores else None


def shorten(text: str, at_most: int = SHOWN_CHARS) -> str:
    """Return the beginning of a text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def _recap(round: Round) -> RoundRecap:
    return RoundRecap(
        number=round.number,
        question=describe_candidate(round.candidate),
        verdict=_verdict(round),
        reason=shorten(round.verdict.reason),
        weak=average(round.weak),
        strong=average(round.strong),
        instruction=shorten(round.instruction),
    )


def _verdict(round: Round) -> str:
    return "accepted" if round.verdict.accepted else str(round.verdict.failure or "not measured")


def _met(attempts: Sequence[Attempt], index: int) -> str:
    judged = [a.judgement.met[index] for a in attempts if a.judgement.met is not None]
    return f"{sum(judged)}/{len(judged)}" if judged else DASH
