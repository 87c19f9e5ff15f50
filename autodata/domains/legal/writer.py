"""Builds what the writer of question and rubric sees, and reads its proposal (paper Fig. 12)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodata.domains.legal.packet import show_version
from autodata.loop.agents import make_object, make_text
from autodata.loop.directing.diagnosis import diagnose_last
from autodata.loop.parsing import ParseError, read_integer, read_items, read_rubric, read_text, read_texts
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
    items = [_mend(item) for item in read_items(record, "rubric")]
    pairs = zip(read_rubric({"rubric": items}), items, strict=True)
    checked = tuple(_check(number, item, criterion) for number, (criterion, item) in enumerate(pairs, 1))
    labels = {"target_capabilities": _read_targets(record.get("target_capabilities"))}
    return Candidate(read_text(record, "question"), "", checked, labels=labels)


def gather_feedback(rounds: Sequence[Round]) -> dict[str, object]:
    """Return the last measured version with review and diagnosis, and the last proposal if it was refused untried."""
    last = next((r for r in reversed(rounds) if r.review and r.candidate), None)
    previous = last and {
        **show_version(last),
        "decided": last.verdict.reason,
        **last.candidate.labels,
        **last.review,
    }
    refused = rounds[-1] if rounds and not rounds[-1].review else None
    return {
        "previous": previous,
        "diagnosis": diagnose_last(rounds),
        "rejected": refused.verdict.reason if refused else "",
        "refused": _show(refused.candidate) if refused and refused.candidate else None,
    }


def _show(candidate: Candidate) -> dict[str, object]:
    """Show a proposal as the writer wrote it, with its rubric in numbered lines."""
    criteria = enumerate(candidate.rubric, 1)
    lines = [f"{number}. ({c.weight:+d}, {c.capability}) {c.text}" for number, c in criteria]
    return {"question": candidate.question, "rubric": "\n".join(lines)}


def _mend(item: Mapping[str, object]) -> dict[str, object]:
    """Return a criterion with near misses of its form mended: cases, and a category that class or weight tell."""
    category, kind = (str(item.get(key, "")).strip().casefold() for key in ("category", "weight_class"))
    is_negative = _is_negative(item.get("weight"))
    if category not in ("positive", "negative") and kind in BANDS:
        category = "negative" if kind == "mistake" else "positive"
    if is_negative and kind == "mistake":
        category = "negative"
    capability = item.get("capability")
    first = capability[0] if isinstance(capability, list) and capability else capability
    return {**item, "category": category, "weight_class": kind, "capability": first}


def _is_negative(weight: object) -> bool:
    try:
        return read_integer(weight) < 0
    except ParseError:  # read_rubric says so, with the number of the criterion
        return False


def _check(number: int, item: Mapping[str, object], criterion: Criterion) -> Criterion:
    """Check the weight against the bands of its category, and write the capability in snake_case. Raises ParseError.

    The weight decides. A weight of 7 that is called critical is important, because the class only names the band.
    """
    bands = [BANDS["mistake"]] if criterion.weight < 0 else [BANDS[name] for name in BANDS if name != "mistake"]
    if not any(lightest <= criterion.weight <= heaviest for lightest, heaviest in bands):
        listed = ", ".join(f"{name} {lightest} to {heaviest}" for name, (lightest, heaviest) in BANDS.items())
        raise ParseError(f"criterion {number}: weight {criterion.weight} is in no class ({listed})")
    if criterion.weight > 0 and item["weight_class"] == "mistake":
        raise ParseError(f"criterion {number}: a mistake of weight {criterion.weight} in category positive")
    # All spellings of one capability are counted together.
    capability = re.sub(r"[^a-z0-9]+", "_", criterion.capability.casefold()).strip("_")
    if not capability:
        raise ParseError(f"criterion {number} names no capability")
    return replace(criterion, capability=capability[:MAX_CAPABILITY_CHARS])


def _read_targets(value: object) -> dict[str, object]:
    """Read the targeted capabilities; a summary may be missing. Raises ParseError."""
    if not isinstance(value, dict):
        raise ParseError("no object `target_capabilities`")
    british = {"penalises_summary": value.get("penalizes_summary"), **value}
    return {key: read_texts(value, key) for key in _TAGS} | {key: str(british.get(key) or "") for key in _SUMMARIES}
