"""Reads the quality verifier's checks (paper Fig. 9), and makes the checks that code can make first."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean

from autodata.loop.agents import make_object, make_text
from autodata.loop.checks.addressing import SPEAKS_OF_SOLVERS, list_hints, speaks_of_solvers
from autodata.loop.checks.leaks import find_leaks
from autodata.loop.checks.lint import find_faults as find_rubric_faults
from autodata.loop.checks.lint import lint
from autodata.loop.checks.sources import PAPER, find_source_reference
from autodata.loop.parsing import ParseError
from autodata.types import Candidate, Quality

_LABELS = {  # the first label of each check passes
    "leakage": ["NO_LEAKAGE", "LEAKS_ANSWER"],
    "question": ["GOOD", "TOO_EASY", "RECALL"],
    "truth": ["SUPPORTED", "CONTRADICTED"],
    "rubric": ["PASS", "FAIL"],
    "type": ["CONSISTENT", "INCONSISTENT"],
    "neutrality": ["NEUTRAL", "STEERS"],
}
MAX_REASON = 600
MAX_ATTEMPT = 1_500
_LEADING = {"leakage": {"attempt": make_text(MAX_ATTEMPT)}}  # written before the reason
_CHECKS = {
    name: make_object(
        {**_LEADING.get(name, {}), "reason": make_text(MAX_REASON), "label": {"type": "string", "enum": labels}}
    )
    for name, labels in _LABELS.items()
}
SCHEMA = make_object({**_CHECKS, "feedback": {"type": "string", "maxLength": MAX_REASON}})

_ENGLISH_SHARE = 0.7  # a question with a smaller share of ASCII letters is not English


def find_faults(candidate: Candidate, context_chars: int = 0, source_words: Sequence[str] = PAPER) -> list[str]:
    """List the faults that make a candidate unfit whatever a verifier says about it."""
    shown = f"{candidate.context}\n{candidate.question}"
    ascii_share = fmean([c.isascii() for c in shown if c.isalpha()] or [0])
    length, source = len(candidate.context.strip()), find_source_reference(candidate, source_words)
    checks = {
        SPEAKS_OF_SOLVERS: speaks_of_solvers(shown),
        "the question is not in English": ascii_share < _ENGLISH_SHARE,
        f"the context has {length} characters; at least {context_chars} are wanted": length < context_chars,
        f"“{source}” refers to the source, which nobody who answers has": bool(source),
    }
    faults = [fault for fault, is_found in checks.items() if is_found]
    flaws = find_rubric_faults(candidate.rubric, lint(candidate.rubric, shown))
    return [*faults, *find_leaks(candidate)[0], *flaws]


def find_hints(candidate: Candidate) -> list[str]:
    """List what code noticed and cannot decide; the verifier is asked to look at it."""
    shown = f"{candidate.context}\n{candidate.question}"
    return [*list_hints(shown), *find_leaks(candidate)[1], *map(str, lint(candidate.rubric, shown))]


def read_quality(record: Mapping[str, object], candidate: Candidate) -> Quality:
    """Compute the verdict from the labels: no overall one is asked for. Raises ParseError."""
    read = {name: _read_check(name, record.get(name), allowed) for name, allowed in _LABELS.items()}
    failed = {name: check for name, check in read.items() if check[0] != _LABELS[name][0]}
    reasons = [f"{label}: {reason}".strip(" :") for label, reason in failed.values()]
    feedback = record.get("feedback")
    if reasons and isinstance(feedback, str) and feedback.strip():
        reasons.append(feedback.strip()[:MAX_REASON])
    labels = {name: label for name, (label, _) in read.items()}
    return Quality(not reasons, " ".join(reasons), candidate.hash, {"checked_by": "verifier", **labels})


def _read_check(name: str, check: object, allowed: list[str]) -> tuple[str, str]:
    """Read label and reason of one check; the label in any case and spelling, such as "No leakage." """
    record = check if isinstance(check, dict) else {"label": check}
    written = record.get("label")
    label = re.sub(r"[^A-Z]+", "_", written.upper()).strip("_") if isinstance(written, str) else ""
    if label not in allowed:
        raise ParseError(f"check {name!r}: {str(written)[:40]!r} is none of {', '.join(allowed)}")
    reason = record.get("reason")
    return label, reason.strip()[:MAX_REASON] if isinstance(reason, str) else ""
