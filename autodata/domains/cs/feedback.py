"""Tells the challenger how its earlier questions failed, in bounded length (paper Fig. 7)."""

from collections import Counter
from collections.abc import Sequence

from autodata.loop.directing.diagnosis import diagnose_last
from autodata.loop.directing.recap import average, shorten
from autodata.types import Failure, Round

SHOWN_ROUNDS = 4  # the latest, with their questions; earlier ones are counted by type and outcome
QUESTION_CHARS = 1_500
REASON_CHARS = 1_000
_TYPE_CHARS = 80
# A question that the strong solver nearly always answers is too easy as well, whatever the weak one does. A round that
# ran out of its token budget says nothing about how hard its question is, so it is in no group.
_GROUPS = {
    Failure.TOO_EASY: "too_easy",
    Failure.NO_SIGNAL: "no_signal",
    Failure.TOO_HARD: "failed_on_strong",
    Failure.SMALL_GAP: "failed_on_strong",
    Failure.LOW_QUALITY: "failed_quality_check",
}


def gather_feedback(rounds: Sequence[Round]) -> dict[str, object]:
    """Gather what the challenger may know: questions by outcome, the diagnosis, why a reply was unusable."""
    known = [r for r in rounds if r.candidate and r.verdict.failure in _GROUPS]
    shown = known[-SHOWN_ROUNDS:]
    groups = {
        group: [_describe(r) for r in shown if _GROUPS[r.verdict.failure] == group]
        for group in dict.fromkeys(_GROUPS.values())
    }
    earlier = Counter(f"{_type(r)}: {r.verdict.failure}" for r in known[:-SHOWN_ROUNDS])
    last = rounds[-1] if rounds else None
    malformed = last.verdict.reason if last and not last.candidate else ""
    return {**groups, "earlier": list(earlier.items()), "diagnosis": diagnose_last(rounds), "malformed": malformed}


def _describe(round: Round) -> dict[str, object]:
    return {
        "type": _type(round),
        "question": shorten(round.candidate.question, QUESTION_CHARS) if round.candidate else "",
        "weak": average(round.weak),
        "strong": average(round.strong),
        "kind": str(round.verdict.failure),
        "reason": shorten(round.verdict.reason, REASON_CHARS),
    }


def _type(round: Round) -> str:
    return shorten(str(round.candidate.labels.get("question_type", "")), _TYPE_CHARS) if round.candidate else ""
