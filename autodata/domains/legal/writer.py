"""Builds what the writer of question and rubric sees, and reads its proposal (paper Fig. 12)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodata.loop.agents import make_object
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
    tag = {"type": "string", "minLength": 1, "maxLength": MAX_CAPABILITY_CHARS}
    summary = {"type": "string", "minLength": 1, "maxLength": 600}
    fewest, most = shape.asked.items
    criterion = make_object(
        {
            "number": {"type": "integer", "minimum": 1, "maximum": most},
            "criterion": {"type": "string", "minLength": 1, "maxLength": 600},
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
            **dict.fromkeys(_SUMMARIES, summary),
        }
    )
    return make_object(
        {
            "target_capabilities": focus,
            "question": {"type": "string", "minLength": 1, "maxLength": 4000},  # the baseline's questions are long
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
    measured = [(r.candidate, r.review) for r in rounds if r.review and r.candidate][-1:]
    previous = [{"question": candidate.question, **candidate.labels, **review} for candidate, review in measured]
    rejected = [r.verdict.reason for r in rounds[-1:] if not r.review]
    return {"previous": next(iter(previous), None), "rejected": "".join(rejected)}


def _check(number: int, item: Mapping[str, object], criterion: Criterion) -> Criterion:
    """Put the criterion on one line and check its number, weight class and capability. Raises ParseError."""
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
    return replace(criterion, text=" ".join(criterion.text.split()), capability=_read_capability(number, criterion))


def _read_capability(number: int, criterion: Criterion) -> str:
    """Write the capability in snake_case, so that all spellings of one capability are counted together."""
    name = re.sub(r"[^a-z0-9]+", "_", criterion.capability.casefold()).strip("_")
    if not name:
        raise ParseError(f"criterion {number} names no capability")
    return name[:MAX_CAPABILITY_CHARS]


def _read_targets(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ParseError("no object `target_capabilities`")
    return {k: read_texts(value, k) for k in _TAGS} | {k: read_text(value, k) for k in _SUMMARIES}
