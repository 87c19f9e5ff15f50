"""Reads what the loop-judge says about a candidate that both solvers have attempted (paper Fig. 13)."""

import re
from collections.abc import Mapping

from autodata.loop.agents import make_object
from autodata.loop.parsing import ParseError, read_text, read_texts

ACCEPT, IMPROVE = "accept", "improve"
SUITABILITY = ("high", "medium", "low")
_TEXT = {"type": "string", "maxLength": 1200}

SCHEMA = make_object(
    {
        "weak_pattern": _TEXT,  # observations are written first, so that they can shape the verdict
        "strong_pattern": _TEXT,
        "gap_interpretation": _TEXT,
        "rubric_concerns": {"type": "array", "items": {"type": "string", "maxLength": 400}, "maxItems": 8},
        "grpo_suitability": {"type": "string", "enum": list(SUITABILITY)},
        "verdict": {"type": "string", "enum": [ACCEPT, IMPROVE]},
        "verdict_reason": {"type": "string", "maxLength": 600},
        "suggestion_for_writer": _TEXT,
    }
)


_COUNT = re.compile(  # numbers that count something and name no criterion: "4 of 5", "0.24", "12 points", "5 attempts"
    r"[0-9]+\s*(?:/|of|out of)\s*[0-9]+|[0-9]*\.[0-9]+|[0-9]+\s*%"
    r"|[0-9]+\s+(?:(?:weak|strong|real|separate)\s+)?"
    r"(?:points?|percent|per cent|attempts?|answers?|runs?|rollouts?|times|characters?)\b"
    r"|(?:attempts?|answers?|runs?|rollouts?|rounds?|samples?|solvers?|step|part|no\.?)\s+#?[0-9]+"
    r"(?:\s*(?:,|and|or|to|-|\N{EN DASH})\s*[0-9]+)*(?!\s*(?:,|and)?\s*criteri)"
    r"|(?:from|between)\s+[0-9]+\s+(?:to|and)\s+[0-9]+"
    r"|(?:scor\w+|averag\w+|mean|weighs?|weight|worth|gets?|got|reach\w*)\s+(?:of\s+|is\s+|only\s+|about\s+)*[-+]?[0-9]+"
    r"|[0-9]+\s+criteria(?:\s+(?:of|out of)\s+[0-9]+)?",
    re.IGNORECASE,
)
_ALL = re.compile(
    r"\b(?:all|every|each|none of|no|any)\s+(?:of\s+)?(?:the\s+)?(?:\w+\s+)?criteri(?:a|on)\b", re.IGNORECASE
)


def read_review(record: Mapping[str, object], criteria: int) -> dict[str, object]:
    """Read the eight fields of a review of so many criteria.

    Raises ParseError if the verdict is *improve* without a suggestion, or if a pattern names no criterion: adjectives
    alone do not count (paper Fig. 13).
    """
    keys = ("weak_pattern", "strong_pattern", "gap_interpretation")
    review: dict[str, object] = {key: read_text(record, key) for key in keys}
    for key in keys[:2]:
        if not names_criteria(str(review[key]), criteria):
            raise ParseError(f"`{key}` names no criterion by its number from 1 to {criteria}")
    review["rubric_concerns"] = _read_list(record, "rubric_concerns")
    review["grpo_suitability"] = _read_choice(record, "grpo_suitability", SUITABILITY)
    review["verdict"] = _read_choice(record, "verdict", (ACCEPT, IMPROVE))
    review["verdict_reason"] = read_text(record, "verdict_reason")
    # An accepted candidate needs no suggestion.
    is_needed = review["verdict"] == IMPROVE or record.get("suggestion_for_writer")
    review["suggestion_for_writer"] = read_text(record, "suggestion_for_writer") if is_needed else ""
    return review


def names_criteria(text: str, criteria: int) -> bool:
    """Return True if a text names one of so many criteria by its number, or speaks of all or none of them."""
    numbers = re.findall(r"[0-9]+", _COUNT.sub(" ", text))
    return bool(_ALL.search(text)) or any(1 <= int(number) <= criteria for number in numbers if len(number) < 4)


def _read_list(record: Mapping[str, object], key: str) -> list[str]:
    """Read a list of texts; one text alone, nothing at all or "none" are meant as lists too. Raises ParseError."""
    value = record.get(key)
    if value is None or (isinstance(value, str) and value.strip(" .").casefold() in ("", "none")):
        return []
    return read_texts(record, key)


def _read_choice(record: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str:
    """Read a field that must be one of the choices, in any case and with any marks around it. Raises ParseError."""
    chosen = read_text(record, key).strip(" .*_`'\"").casefold()
    if chosen not in choices:
        raise ParseError(f"`{key}` is {chosen[:40]!r}, not one of {', '.join(choices)}")
    return chosen
