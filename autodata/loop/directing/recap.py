"""Writes the recap that the orchestrating model reads: a few lines per round, bounded however long the run is."""

from collections import Counter
from collections.abc import Sequence

from autodata.types import Attempt, Round

SHOWN_ROUNDS = 4  # shown in detail; earlier rounds are counted by failure
SHOWN_CHARS = 400  # per question, reason or answer


def list_rounds(rounds: Sequence[Round]) -> list[dict[str, object]]:
    """List the latest rounds, oldest first. Scores are means in [0, 1]; None where nothing was measured."""
    return [
        {
            "number": round.number,
            "question": shorten(round.candidate.question) if round.candidate else "",
            "verdict": _verdict(round),
            "reason": shorten(round.verdict.reason),
            "weak": average(round.weak),
            "strong": average(round.strong),
            "instruction": shorten(round.instruction),
        }
        for round in rounds[-SHOWN_ROUNDS:]
    ]


def count_earlier(rounds: Sequence[Round]) -> dict[str, int]:
    """Count how the rounds before the listed ones ended."""
    return dict(sorted(Counter(_verdict(r) for r in rounds[:-SHOWN_ROUNDS]).items()))


def average(attempts: Sequence[Attempt]) -> float | None:
    """The mean score of the judged attempts, for display only: verdicts use exact fractions."""
    scores = [a.judgement.score for a in attempts if a.judgement.score is not None]
    return round(sum(scores) / len(scores), 3) if scores else None


def shorten(text: str, at_most: int = SHOWN_CHARS) -> str:
    """Return the beginning of a text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= at_most else text[: at_most - 1] + "…"


def _verdict(round: Round) -> str:
    return "accepted" if round.verdict.accepted else str(round.verdict.failure or "not measured")
