"""Reads what the extractor finds in a document, once, before any question is written (paper Fig. 11)."""

from collections.abc import Mapping

from autodata.loop.agents import make_object
from autodata.loop.parsing import ParseError, read_boolean, read_text, read_texts

MAX_ITEMS = 8
_LINE = {"type": "string", "maxLength": 600}
_LINES = {"type": "array", "items": _LINE, "maxItems": MAX_ITEMS}
_PARAGRAPHS = {"type": "string", "maxLength": 4000}

SCHEMA = make_object(
    {
        "document_type": {"type": "string", "maxLength": 100},
        "topic_keywords": _LINES,
        "suitability_note": _LINE,  # written before the decision, so that the note can shape the decision
        "suitable_for_synthetic_question": {"type": "boolean"},
        "issues": _LINES,
        "facts": _PARAGRAPHS,
        "holdings": _PARAGRAPHS,
    }
)


def read_extract(record: Mapping[str, object]) -> dict[str, object]:
    """Read the seven fields of Fig. 11. An unsuitable document needs only the note. Raises ParseError."""
    suitable = read_boolean(record.get("suitable_for_synthetic_question"))
    if suitable is None:
        raise ParseError("`suitable_for_synthetic_question` is neither true nor false")
    decision = {"suitable_for_synthetic_question": suitable, "suitability_note": read_text(record, "suitability_note")}
    if not suitable:
        return decision
    issues = read_texts(record, "issues")
    if not issues:
        raise ParseError("no issue in `issues`")
    return decision | {
        "document_type": read_text(record, "document_type"),
        "topic_keywords": read_texts(record, "topic_keywords"),
        "issues": issues,
        "facts": read_text(record, "facts"),
        "holdings": read_text(record, "holdings"),
    }


def describe(extract: Mapping[str, object]) -> str:
    """Write an extract as the orchestrating model reads it: the issues first."""
    issues = "\n".join(f"- {issue}" for issue in extract["issues"])
    parts = {"Kind": extract["document_type"], "Facts": extract["facts"], "Holdings": extract["holdings"]}
    return "\n".join([f"Issues:\n{issues}", *(f"{name}: {text}" for name, text in parts.items())])
