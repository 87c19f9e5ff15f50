"""Reads what the loop-judge says about a candidate that both solvers have attempted (paper Fig. 13)."""

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


def read_review(record: Mapping[str, object]) -> dict[str, object]:
    """Read the eight fields. Raises ParseError, also if the verdict is *improve* without a suggestion."""
    keys = ("weak_pattern", "strong_pattern", "gap_interpretation")
    review: dict[str, object] = {key: read_text(record, key) for key in keys}
    review["rubric_concerns"] = read_texts(record, "rubric_concerns")
    review["grpo_suitability"] = _read_choice(record, "grpo_suitability", SUITABILITY)
    review["verdict"] = _read_choice(record, "verdict", (ACCEPT, IMPROVE))
    review["verdict_reason"] = read_text(record, "verdict_reason")
    # An accepted candidate needs no suggestion.
    is_needed = review["verdict"] == IMPROVE or record.get("suggestion_for_writer")
    review["suggestion_for_writer"] = read_text(record, "suggestion_for_writer") if is_needed else ""
    return review


def _read_choice(record: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str:
    """Read a field that must be exactly one of the choices. Raises ParseError."""
    chosen = read_text(record, key).casefold()
    if chosen not in choices:
        raise ParseError(f"`{key}` is {chosen[:40]!r}, not one of {', '.join(choices)}")
    return chosen
