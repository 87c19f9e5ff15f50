"""Builds what the writer of question and rubric sees, and reads its proposal (paper Fig. 12)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodata.loop.agents import make_object, make_text
from autodata.loop.parsing import ParseError, read_integer, read_rubric, read_text, read_texts
from autodata.recipes.domain import Shape
from autodata.types import Candidate, Criterion, Round

BANDS = {  # weight class → lightest and heaviest weight (paper Fig. 12); the names are ours
    "critical": (8, 10),
    "important": (5, 7),
    "supporting": (2, 4),
    "mistake": (-10, -1),
}
MAX_CAPABILITY_CHARS = 60
_TAGS = ("primary_focus", "secondary_focus")
_SUMMARIES = ("rewards_summary", "penalises_summary")


def candidate_schema(shape: Shape) -> dict[str, object]:
    """Build the schema of the writer's reply: targeted capabilities, then the question, then the rubric."""
    tag, sentence = make_text(MAX_CAPABILITY_CHARS), make_text(600)
    fewest, most = shape.asked.items
    criterion = make_object(
        {
            "number": {"type": "integer", "minimum": 1, "maximum": most},
            "criterion": sentence,
            "category": {"type": "string", "enum": ["positive", "negative"]},
            "capability": tag,
            "weight_class": {"type": "string", "enum": list(BANDS)},
            "weight": {"type": "integer", "minimum": -shape.weight_at_most, "maximum": shape.weight_at_most},
        }
    )
    focus = make_object(
        {
            "primary_focus": {"type": "array", "items": tag, "minItems": 2, "maxItems": 4},
            "secondary_focus": {"type": "array", "items": tag, "minItems": 1, "maxItems": 3},
            **dict.fromkeys(_SUMMARIES, sentence),
        }
    )
    return make_object(
        {
            "target_capabilities": focus,
            "question": make_text(4000),  # the baseline's questions are long
            "rubric": {"type": "array", "items": criterion, "minItems": fewest, "maxItems": most},
        }
    )


def read_candidate(record: Mapping[str, object]) -> Candidate:
    """Read question, rubric and targeted capabilities; there is no reference answer. Raises ParseError."""
    pairs = zip(read_rubric(record), record["rubric"], strict=True)
    checked = tuple(_check(number, item, criterion) for number, (criterion, item) in enumerate(pairs, 1))
    labels = {"target_capabilities": _read_targets(record.get("target_capabilities"))}
    return Candidate(read_text(record, "question"), "", checked, labels=labels)


def gather_feedback(rounds: Sequence[Round]) -> dict[str, object]:
    """Return the last measured question with its review, and the reason if the last proposal was not measured."""
    last = next((r for r in reversed(rounds) if r.review and r.candidate), None)
    previous = last and {"question": last.candidate.question, **last.candidate.labels, **last.review}
    rejected = rounds[-1].verdict.reason if rounds and not rounds[-1].review else ""
    return {"previous": previous, "rejected": rejected}


def _check(number: int, item: Mapping[str, object], criterion: Criterion) -> Criterion:
    """Check number and weight class, and write the capability in snake_case. Raises ParseError."""
    if read_integer(item.get("number")) != number:
        raise ParseError(f"criterion {number} has the number {str(item.get('number'))[:20]}")
    band = BANDS.get(str(item.get("weight_class")))
    if band is None:
        raise ParseError(f"criterion {number}: weight_class is not one of {', '.join(BANDS)}")
    lightest, heaviest = band
    if not lightest <= criterion.weight <= heaviest:
        raise ParseError(
            f"criterion {number}: weight {criterion.weight} is not {item['weight_class']}, "
            f"which is {lightest} to {heaviest}"
        )
    # All spellings of one capability are counted together.
    capability = re.sub(r"[^a-z0-9]+", "_", criterion.capability.casefold()).strip("_")
    if not capability:
        raise ParseError(f"criterion {number} names no capability")
    return replace(criterion, capability=capability[:MAX_CAPABILITY_CHARS])


def _read_targets(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ParseError("no object `target_capabilities`")
    return {k: read_texts(value, k) for k in _TAGS} | {k: read_text(value, k) for k in _SUMMARIES}
