"""From the text of a model to data: tolerant of wrapping, strict about content."""

import json
import re

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


class ParseError(ValueError):
    """A model's reply does not hold what was asked for; the message says what is missing."""


def read_object(text: str) -> dict[str, object]:
    """The JSON object in a reply, alone, in a code fence or between sentences."""
    for chunk in (text, *_FENCE.findall(text), text[text.find("{") :]):
        try:
            value, _ = json.JSONDecoder().raw_decode(chunk.strip())
        except (ValueError, RecursionError):  # ValueError also for numbers of thousands of digits
            continue
        if isinstance(value, dict):
            return value
    raise ParseError("no JSON object in the reply" if text.strip() else "the reply is empty")


def read_verdicts(text: str, count: int) -> tuple[tuple[bool, ...], str]:
    """One boolean per criterion, and the reasons, from a judge's reply.

    The set must be complete and named: criteria 1 to `count`, each exactly once, each `met` a
    boolean. Anything else is a ParseError, so that a broken judge is never read as a score.
    """
    verdicts = read_object(text).get("verdicts")
    if not isinstance(verdicts, list):
        raise ParseError("no list `verdicts` in the judge's reply")
    by_number: dict[int, dict[str, object]] = {}
    for verdict in verdicts:
        number = verdict.get("criterion") if isinstance(verdict, dict) else None
        if type(number) is not int or not isinstance(verdict.get("met"), bool):
            raise ParseError(f"not a verdict: {str(verdict)[:80]}")
        if number in by_number:
            raise ParseError(f"criterion {number} was judged twice")
        by_number[number] = verdict
    if set(by_number) != set(range(1, count + 1)):
        raise ParseError(f"verdicts for criteria {sorted(by_number)} instead of 1 to {count}")
    ordered = [by_number[n] for n in range(1, count + 1)]
    reasons = "\n".join(str(v.get("reason", "")) for v in ordered)
    return tuple(v["met"] is True for v in ordered), reasons
