"""Reads the quality verifier's four checks (paper Fig. 9), and makes the checks that code can make first."""

import re
from collections.abc import Mapping
from statistics import fmean

from autodata.loop.agents import make_object, make_text
from autodata.loop.parsing import ParseError, read_text
from autodata.loop.checks.addressing import SPEAKS_OF_SOLVERS, speaks_of_solvers
from autodata.types import Candidate, Quality

_LABELS = {  # the first label of each check passes
    "leakage": ["NO_LEAKAGE", "LEAKS_ANSWER"],
    "question": ["GOOD", "TOO_EASY", "RECALL"],
    "rubric": ["PASS", "FAIL"],
    "type": ["CONSISTENT", "INCONSISTENT"],
}
MAX_REASON = 600
_CHECKS = {
    name: make_object({"reason": make_text(MAX_REASON), "label": {"type": "string", "enum": labels}})
    for name, labels in _LABELS.items()
}
SCHEMA = make_object({**_CHECKS, "feedback": {"type": "string", "maxLength": MAX_REASON}})

_SHARED_WORDS = 12  # the context gives the answer away if it repeats this many of its words in a row
_ENGLISH_SHARE = 0.7  # a question with a smaller share of ASCII letters is not English


def find_faults(candidate: Candidate) -> list[str]:
    """List the faults that make a candidate unfit whatever a verifier says about it."""
    shown = f"{candidate.context}\n{candidate.question}"
    ascii_share = fmean([c.isascii() for c in shown if c.isalpha()] or [0])
    checks = {
        SPEAKS_OF_SOLVERS: speaks_of_solvers(shown),
        "the context contains the answer word for word": _shares_words(candidate.context, candidate.reference_answer),
        "the question is not in English": ascii_share < _ENGLISH_SHARE,
    }
    return [fault for fault, is_found in checks.items() if is_found]


def read_quality(record: Mapping[str, object], candidate: Candidate) -> Quality:
    """Compute the verdict from the four labels: no overall one is asked for. Raises ParseError."""
    labels, reasons = {}, []
    for name, allowed in _LABELS.items():
        check = record.get(name)
        label = check.get("label") if isinstance(check, dict) else None
        if not isinstance(check, dict) or label not in allowed:
            raise ParseError(f"check {name!r}: {str(label)[:40]!r} is none of {', '.join(allowed)}")
        labels[name] = label
        if label != allowed[0]:
            reasons.append(f"{label}: {read_text(check, 'reason')[:MAX_REASON]}")
    feedback = record.get("feedback")
    if reasons and isinstance(feedback, str) and feedback.strip():
        reasons.append(feedback.strip()[:MAX_REASON])
    return Quality(not reasons, " ".join(reasons), candidate.hash, {"checked_by": "verifier", **labels})


def _shares_words(context: str, answer: str) -> bool:
    """Return True if context and answer have _SHARED_WORDS words in a row in common."""
    words, answer_words = (re.findall(r"\w+", text.casefold()) for text in (context, answer))
    runs = {tuple(words[i : i + _SHARED_WORDS]) for i in range(len(words) - _SHARED_WORDS + 1)}
    starts = range(len(answer_words) - _SHARED_WORDS + 1)
    return any(tuple(answer_words[i : i + _SHARED_WORDS]) in runs for i in starts)
