"""The computer science domain: turns a paper into research questions with a rubric (paper Sec. 3.1, App. C.1)."""

from collections.abc import Mapping, Sequence

from autodata.domains.cs import verifier
from autodata.domains.cs.feedback import gather_feedback
from autodata.loop import acceptance, rubric
from autodata.loop import domain as base
from autodata.loop.agents import attempt_seed, make_object, make_text, verdict_schema
from autodata.loop.checks.likeness import find_repeat
from autodata.loop.parsing import ParseError, read_rubric, read_text, read_texts
from autodata.recipes.domain import Shape
from autodata.serving.request import Request
from autodata.types import Candidate, Document, Quality, Role, Round

MAX_TAGS = 5  # reasoning skills kept per candidate


class Domain(base.Domain):
    """A challenger writes, a verifier checks, solvers answer without the paper, a judge decides on each criterion."""

    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> list[base.Challenge]:
        slots = {
            "document": document.text,
            "shape": self.shape,
            "gate": acceptance.describe_gate(self.config.presets[self.config.preset]),
            "context_chars": self.config.context_chars,
            "examples": self.config.worked_examples,
            **gather_feedback(rounds),
        }
        return [base.Challenge(slots, candidate_schema(self.shape))]

    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        skills = read_texts(record, "reasoning_skills")[:MAX_TAGS]
        candidate = Candidate(
            question=read_text(record, "question"),
            reference_answer=read_text(record, "reference_answer"),
            rubric=read_rubric(record),
            context=read_text(record, "context"),
            labels={"question_type": read_text(record, "question_type", 200), "reasoning_skills": skills},
        )
        if repeated := find_repeat(candidate, rounds):
            raise ParseError(repeated)
        return candidate

    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Check what code can count, then ask the verifier. Raises JudgeFailed if its replies are unreadable."""
        faults = rubric.find_faults(candidate.rubric, self.shape)
        faults += verifier.find_faults(candidate, self.config.context_chars, self.config.source_words)
        if faults:
            return Quality(False, "; ".join(faults), candidate.hash, {"checked_by": "code"})
        slots = {"document": document.text, "candidate": candidate, "hints": verifier.find_hints(candidate)}
        seed = attempt_seed(self.seed, document.id, attempt, Role.QUALITY_VERIFIER, 0)
        messages = self.prompts.render("quality_verifier", slots)
        request = Request(Role.QUALITY_VERIFIER, messages, seed, attempt * self.asks, verifier.SCHEMA)
        try:
            return await self.agents.ask_until_read(request, lambda r: verifier.read_quality(r, candidate), self.asks)
        except ParseError as error:
            raise base.JudgeFailed(f"quality verifier, {error}") from error

    def schemas(self) -> dict[Role, list[dict[str, object]]]:
        verdicts = verdict_schema(self.shape.asked.items[1])
        return {
            Role.CHALLENGER: [candidate_schema(self.shape)],
            Role.QUALITY_VERIFIER: [verifier.SCHEMA],
            Role.JUDGE: [verdicts],
        }


def candidate_schema(shape: Shape) -> dict[str, object]:
    """Build the schema of a challenger's reply; its order makes it think about weak answers before the rubric."""
    criterion = make_object(
        {
            "criterion": make_text(600),
            "weight": {"type": "integer", "minimum": -shape.weight_at_most, "maximum": shape.weight_at_most},
            "category": {"type": "string", "enum": ["positive", "negative"]},
        }
    )
    fewest, most = shape.asked.items
    return make_object(
        {
            "scratchpad": make_text(6000),
            "question_type": make_text(80),
            "reasoning_skills": {"type": "array", "items": make_text(60), "minItems": 2, "maxItems": 3},
            "context": make_text(6000),
            "question": make_text(3000),
            "reference_answer": make_text(6000),
            "rubric": {"type": "array", "items": criterion, "minItems": fewest, "maxItems": most},
        }
    )
