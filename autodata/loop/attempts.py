"""Makes the attempts of a solver, and judges each one as soon as its answer is there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autodata.loop import rubric
from autodata.loop.agents import attempt_seed, gather_all
from autodata.loop.domain import Domain, Inconclusive, JudgeFailed, solver_slots
from autodata.serving.measured import NotMeasured
from autodata.types import Attempt, Candidate, Document, Judgement, Outcome, Reply, Role

IsSettled = Callable[[Sequence[Attempt]], bool]


@dataclass(frozen=True)
class SolverStage:
    """The part of a round in which one solver tries the candidate, as often as the recipe says."""

    domain: Domain
    document: Document
    candidate: Candidate
    role: Role
    number: int  # the number of the round, from 1

    async def play(self, is_settled: IsSettled | None = None) -> tuple[Attempt, ...]:
        """Make all attempts at once. With `is_settled`, make one after the other until one settles the verdict.

        An attempt without an answer is returned as not measured; the caller decides whether the round can do without
        it. Raises JudgeFailed, Inconclusive, EndpointError.
        """
        if is_settled is None:
            attempts = await gather_all([self._attempt(index) for index in range(self._count)])
        else:
            attempts = []
            while len(attempts) < self._count and not (attempts and is_settled(attempts)):
                attempts.append(await self._attempt(len(attempts)))
        await self._require_answers(attempts)
        return tuple(attempts)

    async def _attempt(self, index: int) -> Attempt:
        call_number = index + self._reruns * self._count  # a rerun must not replay what an endpoint in trouble said
        seed = attempt_seed(self.domain.seed, self.document.id, self.number, self.role, call_number)
        try:
            reply = await self.domain.agents.solve(self.role, self._slots, seed, call_number)
        except NotMeasured as error:
            if error.outcome is Outcome.FILTERED:
                raise
            missing = judge_missing(self.domain, self.candidate, error)
            return Attempt(index, seed, error.outcome, "", "", 0, 0, missing, missing.met is not None)
        judgement = await judge_reply(self.domain, self.candidate, reply, seed)
        if judgement.met is None and reply.outcome.is_measured:
            raise JudgeFailed(f"round {self.number}, {self.role}: {judgement.reason}")
        tokens = (reply.prompt_tokens, reply.completion_tokens)
        parts = {"cached_tokens": reply.cached_tokens, "reasoning_tokens": reply.reasoning_tokens}
        return Attempt(index, seed, reply.outcome, reply.content, reply.reasoning, *tokens, judgement, **parts)

    async def _require_answers(self, attempts: Sequence[Attempt]) -> None:
        """Ask the endpoint something trivial if every answer is empty. Raises Inconclusive if it answers nothing."""
        if any(a.answer.strip() or a.outcome is Outcome.REFUSED for a in attempts):
            return
        if self.domain.config.sanity_probe and not await self.domain.agents.is_answering(self.role, self._reruns):
            raise Inconclusive(self.role, self.number)

    @property
    def _count(self) -> int:
        config = self.domain.config
        return config.strong_attempts if self.role is Role.STRONG_SOLVER else config.weak_attempts

    @property
    def _reruns(self) -> int:
        """How often this stage was inconclusive before."""
        return self.domain.earlier_failures.get(Inconclusive(self.role, self.number).kind, 0)

    @property
    def _slots(self) -> dict[str, object]:
        is_privileged = self.role is Role.STRONG_SOLVER and self.domain.config.privileged_strong
        document = self.domain.privileged(self.document, self.candidate) if is_privileged else ""
        return solver_slots(self.candidate, document)


async def judge_reply(domain: Domain, candidate: Candidate, reply: Reply, seed: int) -> Judgement:
    """Judge an answer. One that was cut off before any content scores 0 without a judge. Raises EndpointError."""
    if reply.content.strip():
        return await domain.judge(candidate, reply.content, seed)
    if reply.outcome is not Outcome.CUT_OFF:
        return Judgement(None, None, f"no content: {reply.outcome}")
    return rubric.judge(candidate.rubric, [False] * len(candidate.rubric), f"no answer: {reply.outcome}")


def judge_missing(domain: Domain, candidate: Candidate, error: NotMeasured) -> Judgement:
    """Return the judgement without an answer: none, or all wrong for a refusal that the recipe counts."""
    if error.outcome is Outcome.REFUSED and domain.config.count_refusals:
        return rubric.judge(candidate.rubric, [False] * len(candidate.rubric), "refused")
    return Judgement(None, None, str(error))
