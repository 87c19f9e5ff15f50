"""The final filter: what code drops of what the loop accepted (paper Sec. 3.1)."""

import re
from dataclasses import dataclass

from autodata.loop import rubric
from autodata.recipes.domain import Shape
from autodata.types import Candidate, Round

# In the order of the funnel: what is left after each.
STAGES = ("measured", "final check", "complete", "rubric", "context length", "no source reference")

# A question must stand without its source, which no solver sees.
_SOURCE_REFERENCES = re.compile(
    r"\b(?:the|this|these|that|said|present) (?:paper|authors?|study|manuscript|article|preprint)\b"
    r"|\bin this work\b"
    r"|\b(?:section|figure|fig\.|table|appendix|(?-i:Sec\.))\s*\(?(?:\d|(?-i:[A-Z]+)\b)"
    r"|\bas (?:shown|described|discussed|reported|seen|stated) in\b"
    r"(?! the (?:context|question|scenario|problem|setting)\b)"
    r"|\b(?:titled|entitled)\s*[:,]?\s*[\"'“‘]",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ExampleLimits:
    """What an example must have."""

    shape: Shape
    context_chars: int = 0
    source_references: bool = False  # whether they are looked for
    reference_answer: bool = True


def find_stage(tried: Round, candidate: Candidate, limits: ExampleLimits) -> str | None:
    """The first stage that drops a round's candidate, or None when it passes them all."""
    passed = {
        "measured": not list_unmeasured(tried),
        "final check": _passed_final(tried, candidate),
        "complete": not _has_empty_field(candidate, limits.reference_answer),
        "rubric": is_sound(candidate, limits.shape),
        "context length": len(candidate.context.strip()) >= limits.context_chars,
        "no source reference": not (limits.source_references and find_source_reference(candidate)),
    }
    return next((stage for stage in STAGES if not passed[stage]), None)


def list_unmeasured(tried: Round) -> list[str]:
    """The attempts of a round without a score, as "weak 2: context_overflow"; older runs accepted such rounds."""
    sides = (("weak", tried.weak), ("strong", tried.strong))
    return [
        f"{solver} {a.index + 1}: {a.outcome}" for solver, attempts in sides for a in attempts if not a.is_measured
    ]


def find_source_reference(candidate: Candidate) -> str:
    """The first words that point at the source document, or nothing."""
    found = _SOURCE_REFERENCES.search(f"{candidate.context}\n{candidate.question}")
    return found[0] if found else ""


def is_sound(candidate: Candidate, shape: Shape) -> bool:
    """Whether the rubric keeps to its shape and something can be earned, counted here."""
    return not rubric.find_faults(candidate.rubric, shape) and any(c.weight > 0 for c in candidate.rubric)


def _passed_final(tried: Round, candidate: Candidate) -> bool:
    """The second check was made at generation, where the domain asks for one."""
    return tried.final is None or (tried.final.passed and tried.final.candidate_hash == candidate.hash)


def _has_empty_field(candidate: Candidate, needs_reference: bool) -> bool:
    texts = [candidate.question, *(c.text for c in candidate.rubric)]
    return not all(text.strip() for text in texts + [candidate.reference_answer] * needs_reference)
