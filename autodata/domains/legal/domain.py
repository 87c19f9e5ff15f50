"""The legal domain: turns a court opinion into a lay client's question with a rubric (paper Sec. 3.2, App. C.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autodata.domains.legal import extractor, loop_judge, packet, post_filter, writer
from autodata.domains.legal.packet import Packet
from autodata.loop import domain as base
from autodata.loop import rubric
from autodata.loop.agents import attempt_seed, verdict_schema
from autodata.loop.checks import lint
from autodata.loop.checks.addressing import SPEAKS_OF_SOLVERS, list_hints, speaks_of_solvers
from autodata.loop.directing.outline import Outline
from autodata.loop.parsing import ParseError
from autodata.serving.request import Request
from autodata.types import Attempt, Candidate, Document, Failure, Outcome, Quality, Role, Round, Verdict


class Domain(base.Domain):
    """An extractor reads the document, a writer asks, both solvers answer, a loop-judge accepts or wants a better one.

    The paper gives this domain no thresholds, so the loop-judge's verdict is the only one that a model gives. Code
    overrides it in one direction only: a question that the post-filter flags is never accepted, and neither is one on
    which the weak solver's attempts all score the same.
    """

    async def prepare(self, document: Document) -> Document:
        """Add the extract to the document; every round uses it. Raises Unsuitable, JudgeFailed."""
        document = await super().prepare(document)
        extract = await self._extract(document)
        if not extract["suitable_for_synthetic_question"]:
            raise base.Unsuitable(f"doc_not_suitable: {extract['suitability_note']}")
        return replace(document, fields={**document.fields, "preparation": extract})

    async def _extract(self, document: Document) -> dict[str, object]:
        for ask in range(self.config.judge_retries + 1):
            seed = attempt_seed(self.seed, document.id, 0, Role.CHALLENGER, ask)  # 0 stands for before round 1
            request = {"seed": seed, "attempt": ask, "schema": extractor.SCHEMA}
            reply = await self.agents.write(Role.CHALLENGER, "extractor", {"document": document.text}, **request)
            try:
                return extractor.read_extract(self.agents.read(reply, Role.CHALLENGER))
            except ParseError as error:
                problem = error
                self.agents.count_again(Role.CHALLENGER)
        if reply.outcome is Outcome.CUT_OFF:  # a spent token budget says nothing about the document
            raise base.JudgeFailed(f"extractor, {problem}")
        raise base.Unsuitable(f"the extractor's replies could not be read: {problem}")

    def schemas(self) -> dict[Role, list[dict[str, object]]]:
        return {
            Role.CHALLENGER: [extractor.SCHEMA, writer.candidate_schema(self.shape)],
            Role.QUALITY_VERIFIER: [loop_judge.SCHEMA],
            Role.JUDGE: [verdict_schema(self.shape.asked.items[1])],
        }

    def outline(self, document: Document) -> Outline:
        """Show the orchestrating model what the extractor found: an opinion begins with its caption."""
        return Outline(extractor.describe(document.fields["preparation"]))

    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> list[base.Challenge]:
        slots = {
            "document": document.text,
            "extract": document.fields["preparation"],
            "shape": self.shape,
            "bands": writer.BANDS,
            "question_chars": self.config.question_chars,
            "examples": self.config.worked_examples,
            **writer.gather_feedback(rounds),
        }
        return [base.Challenge(slots, writer.candidate_schema(self.shape))]

    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        candidate = writer.read_candidate(record)
        if candidate.hash in {r.candidate.hash for r in rounds if r.candidate}:
            raise ParseError("the same question and rubric as in an earlier round")
        return candidate

    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Check only what code can tell. The loop-judge says how good the candidate is, once it is measured."""
        faults = rubric.find_faults(candidate.rubric, self.shape)
        faults += lint.find_faults(candidate.rubric, lint.lint(candidate.rubric, candidate.question))
        if speaks_of_solvers(candidate.question):
            faults.append(SPEAKS_OF_SOLVERS)
        return Quality(not faults, "; ".join(faults), candidate.hash, {"checked_by": "code"})

    def find_refusal(self, candidate: Candidate) -> str | None:
        """Apply the post-filter before solvers are paid: it needs nothing but the text of the question."""
        flags = post_filter.inspect(candidate.question, self.config.question_chars).flags
        return f"post-filter: {'; '.join(flags)}" if flags else None

    async def assess(
        self, candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt], rounds: Sequence[Round]
    ) -> base.Assessment:
        """Compute each preset's verdict by its thresholds, then by post-filter and loop-judge. Raises JudgeFailed."""
        by_threshold = await super().assess(candidate, weak, strong, rounds)
        is_whole = weak and strong and all(a.is_measured for a in (*weak, *strong))
        # In these cases the thresholds have decided; there is nothing to compare.
        if not is_whole or by_threshold.verdicts[self.config.preset].failure is Failure.CUT_OFF:
            return by_threshold
        findings = post_filter.inspect(candidate.question, self.config.question_chars)
        measured = packet.build(candidate, weak, strong, findings, rounds)
        opinion = await self._ask_loop_judge(candidate, measured, len(rounds) + 1)
        verdicts = {name: combine(verdict, opinion, measured) for name, verdict in by_threshold.verdicts.items()}
        review = {
            "loop_judge": opinion,
            "post_filter_flags": findings.flags,
            "post_filter_overrides": findings.flags if opinion["verdict"] == loop_judge.ACCEPT else [],
            "post_filter_hints": list(findings.hints),
            **measured.numbers(),
        }
        return base.Assessment(verdicts, review)

    async def _ask_loop_judge(self, candidate: Candidate, measured: Packet, number: int) -> dict[str, object]:
        slots = {"question": candidate.question, "targets": candidate.labels["target_capabilities"]} | measured.slots()
        slots["doubts"] = [*list_hints(candidate.question), *map(str, lint.lint(candidate.rubric, candidate.question))]
        seed = attempt_seed(self.seed, candidate.hash, number, Role.QUALITY_VERIFIER, 0)
        messages = self.prompts.render("loop_judge", slots)
        request = Request(Role.QUALITY_VERIFIER, messages, seed, schema=loop_judge.SCHEMA)
        count = len(candidate.rubric)
        try:
            return await self.agents.ask_until_read(request, lambda r: loop_judge.read_review(r, count), self.asks)
        except ParseError as error:
            raise base.JudgeFailed(f"round {number}, loop-judge, {error}") from error


def combine(by_threshold: Verdict, opinion: Mapping[str, object], measured: Packet) -> Verdict:
    """Apply code first, then the loop-judge; good averages never overrule *improve* (paper Sec. 3.2)."""
    if flags := measured.findings.flags:
        return Verdict(False, Failure.IMPROVE, f"post-filter: {'; '.join(flags)}")
    if measured.weak.is_flat:
        same = f"all {len(measured.weak.scores)} weak attempts score {measured.weak.avg}"
        return Verdict(False, Failure.IMPROVE, f"{same}: without a difference there is nothing to learn")
    if opinion["verdict"] == loop_judge.IMPROVE:
        return Verdict(False, Failure.IMPROVE, str(opinion["verdict_reason"]))
    return replace(by_threshold, reason=str(opinion["verdict_reason"])) if by_threshold.accepted else by_threshold
