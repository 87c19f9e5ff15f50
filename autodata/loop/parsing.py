"""Reads data from a model's text: tolerant of wrapping, strict about content."""

import json
import re
from collections.abc import Mapping

import json_repair

from autodata.types import Criterion

MAX_CHARS = 20_000  # per field of a candidate
MAX_CRITERION_CHARS = 2_000
_INTEGER = re.compile(r"[+-]?[0-9]{1,4}")
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


class ParseError(ValueError):
    """A model's reply does not hold what was asked for; the message says what is missing."""


def read_object(text: str) -> dict[str, object]:
    """Find the JSON object in a reply: alone, in a code fence, or between sentences. Raises ParseError."""
    for chunk in (text, *_FENCE.findall(text), text[text.find("{") :]):
        try:
            value, _ = json.JSONDecoder().raw_decode(chunk.strip())
        except (ValueError, RecursionError):  # ValueError also for numbers of thousands of digits
            continue
        if isinstance(value, dict):
            return value
    raise ParseError("no JSON object in the reply" if text.strip() else "the reply is empty")


def repair_object(text: str) -> dict[str, object]:
    """Read an object that is not quite JSON, because a quote or a comma is missing. Raises ParseError.

    This is the last resort, and each use is counted. A reply that was cut off is never repaired: that would turn half
    a rubric into a whole one.
    """
    start = text.find("{")
    try:
        value = json_repair.loads(text[start:]) if start >= 0 else None
    except (ValueError, RecursionError) as error:
        raise ParseError("no JSON object in the reply") from error
    if not isinstance(value, dict) or not value:
        raise ParseError("no JSON object in the reply")
    return value


def read_text(record: Mapping[str, object], key: str, at_most: int = MAX_CHARS) -> str:
    """Read a field that must be text, not blank and of bounded length. Raises ParseError."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ParseError(f"no text in `{key}`")
    if len(value) > at_most:
        raise ParseError(f"`{key}` has {len(value)} characters, more than {at_most}")
    return value.strip()


def read_texts(record: Mapping[str, object], key: str) -> list[str]:
    """Read a field that must be a list of texts; blank texts are left out. Raises ParseError."""
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ParseError(f"`{key}` is not a list of texts")
    return [v.strip() for v in value if v.strip()]


def read_integer(value: object) -> int:
    """Read a whole number, even if a model wrote "+8" or 8.0 (paper Sec. 4: such weights broke parsing)."""
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value)
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ParseError(f"{str(value)[:40]!r} is not a whole number")


def read_rubric(record: Mapping[str, object]) -> tuple[Criterion, ...]:
    """Read the list `rubric` of {criterion, weight, category[, capability]}. Raises ParseError.

    The category gives the sign and the weight gives the size, so −5 and 5 mean the same in category negative.
    """
    items = record.get("rubric")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ParseError("no list of criteria in `rubric`")
    rubric = tuple(_read_criterion(item) for item in items)
    if not any(c.weight > 0 for c in rubric):
        raise ParseError("the rubric has no criterion of positive weight")
    texts = [" ".join(c.text.casefold().split()) for c in rubric]
    twice = next((t for t in texts if texts.count(t) > 1), "")
    if twice:
        raise ParseError(f"the same criterion twice: {twice[:80]}")
    return rubric


def _read_criterion(item: Mapping[str, object]) -> Criterion:
    category, weight = item.get("category"), read_integer(item.get("weight"))
    if category not in ("positive", "negative"):
        raise ParseError(f"category {str(category)[:40]!r} is neither positive nor negative")
    if weight == 0 or (category == "positive" and weight < 0):
        raise ParseError(f"weight {weight} in category {category}")
    capability = item.get("capability", "")
    signed = weight if category == "positive" else -abs(weight)
    # A criterion stays on one line, so that it cannot look like two criteria in the judge's list.
    text = " ".join(read_text(item, "criterion", MAX_CRITERION_CHARS).split())
    return Criterion(text, signed, capability if isinstance(capability, str) else "")


def read_verdicts(reply: Mapping[str, object], count: int) -> tuple[tuple[bool, ...], str]:
    """Read one boolean per criterion, and the judge's reasons.

    The set must be complete: criteria 1 to `count`, each exactly once, each with a boolean `met`. Anything else raises
    ParseError, so that a broken judge is never read as a score.
    """
    verdicts = reply.get("verdicts")
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
