"""The quality verifier's four checks (paper Fig. 9), and those that code makes first."""

import re
from collections.abc import Mapping

from autodata.loop.agents import make_object
from autodata.loop.parsing import ParseError, read_text
from autodata.loop.role_words import SPEAKS_OF_SOLVERS, speaks_of_solvers
from autodata.types import Candidate, Quality

PASSING = {"leakage": "NO_LEAKAGE", "question": "GOOD", "rubric": "PASS", "type": "CONSISTENT"}
_LABELS = {
    "leakage": ["NO_LEAKAGE", "LEAKS_ANSWER"],
    "question": ["GOOD", "TOO_EASY", "RECALL"],
    "rubric": ["PASS", "FAIL"],
    "type": ["CONSISTENT", "INCONSISTENT"],
}
MAX_REASON = 600


def _check(name: str) -> dict[str, object]:
    reason = {"type": "string", "minLength": 1, "maxLength": MAX_REASON}
    return make_object({"reason": reason, "label": {"type": "string", "enum": _LABELS[name]}})


SCHEMA = make_object({**{name: _check(name) for name in PASSING},
                      "feedback": {"type": "string", "maxLength": MAX_REASON}})  # fmt: skip

_SHARED_WORDS = 12  # in a row, of the reference answer and the context: the answer stands in the context
_WORD = re.compile(r"\w+")
_ENGLISH_SHARE = 0.7


def find_faults(candidate: Candidate) -> list[str]:
    """What makes a candidate unfit whatever a verifier says of it."""
    shown = f"{candidate.context}\n{candidate.question}"
    faults = []
    if speaks_of_solvers(shown):
        faults.append(SPEAKS_OF_SOLVERS)
    if _shares_words(candidate.context, candidate.reference_answer):
        faults.append("the context contains the answer word for word")
    if _latin_share(shown) < _ENGLISH_SHARE:
        faults.append("the question is not in English")
    return faults


def read_quality(record: Mapping[str, object], candidate: Candidate) -> Quality:
    """The verdict that follows from the four labels; the verifier's own overall word is not asked for.

    Raises ParseError where a label is missing or none of those it can be.
    """
    labels, reasons = {}, []
    for name, known in _LABELS.items():
        check = record.get(name)
        label = check.get("label") if isinstance(check, dict) else None
        if not isinstance(check, dict) or label not in known:
            raise ParseError(f"check {name!r}: {str(label)[:40]!r} is none of {', '.join(known)}")
        labels[name] = label
        if label != PASSING[name]:
            reasons.append(f"{label}: {read_text(check, 'reason')[:MAX_REASON]}")
    feedback = record.get("feedback")
    if reasons and isinstance(feedback, str) and feedback.strip():
        reasons.append(feedback.strip()[:MAX_REASON])
    return Quality(not reasons, " ".join(reasons), candidate.hash, {"checked_by": "verifier", **labels})


def _shares_words(context: str, answer: str) -> bool:
    words, answered = (_WORD.findall(text.casefold()) for text in (context, answer))
    runs = {tuple(words[i : i + _SHARED_WORDS]) for i in range(len(words) - _SHARED_WORDS + 1)}
    return any(tuple(answered[i : i + _SHARED_WORDS]) in runs for i in range(len(answered) - _SHARED_WORDS + 1))


def _latin_share(text: str) -> float:
    letters = [c for c in text if c.isalpha()]
    return sum(c.isascii() for c in letters) / len(letters) if letters else 0.0
