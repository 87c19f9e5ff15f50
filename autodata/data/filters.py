"""Applies the final filter, in code, to the candidates that the loop accepted (paper Sec. 3.1)."""

from collections.abc import Sequence

from autodata.loop import rubric
from autodata.loop.checks.sources import PAPER, find_source_reference
from autodata.recipes.data import Filters
from autodata.recipes.domain import Shape
from autodata.types import Round

# The stages of the funnel, in order.
STAGES = ("measured", "final check", "complete", "rubric", "context length", "no source reference")


def find_stage(round: Round, shape: Shape, filters: Filters, source_words: Sequence[str] = PAPER) -> str | None:
    """Return the first stage that drops a round, which must have a candidate; None if it passes all stages."""
    candidate, final = round.candidate, round.final  # the final check is that at generation, if there was one
    texts = [candidate.question, *(c.text for c in candidate.rubric)]
    texts += [candidate.reference_answer] if filters.reference_answer else []
    passed = {
        "measured": not list_unmeasured(round),
        "final check": final is None or (final.passed and final.candidate_hash == candidate.hash),
        "complete": all(text.strip() for text in texts),
        "rubric": not rubric.find_faults(candidate.rubric, shape) and any(c.weight > 0 for c in candidate.rubric),
        "context length": len(candidate.context.strip()) >= (filters.context_chars or 0),
        "no source reference": not (filters.source_references and find_source_reference(candidate, source_words)),
    }
    return next((stage for stage in STAGES if not passed[stage]), None)


def list_unmeasured(round: Round) -> list[str]:
    """List the attempts without a score, as "weak 2: context_overflow"; older runs accepted such rounds."""
    sides = (("weak", round.weak), ("strong", round.strong))
    return [
        f"{solver} {a.index + 1}: {a.outcome}" for solver, attempts in sides for a in attempts if not a.is_measured
    ]
