"""Turns the questions of a domain into an inspect_ai task that asks and judges as generation does."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.hooks import Hooks, SampleEnd, hooks
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from autodata.eval.limits import EvaluationLimits
from autodata.eval.sampled_answers import REFUSALS
from autodata.loop.agents import attempt_seed
from autodata.loop.attempts import judge_reply
from autodata.loop.domain import Domain, solver_slots
from autodata.run.progress import Progress
from autodata.serving.measured import NotMeasured
from autodata.types import CANDIDATE, REPLY, Candidate, Judgement, Outcome, Reply, Role

STOP_REASON = {Outcome.CUT_OFF: "max_tokens", Outcome.REFUSED: "content_filter",
                Outcome.FILTERED: "content_filter", Outcome.CONTEXT_OVERFLOW: "model_length"}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One question to a model, with the reference answer and rubric that its answer is judged by."""

    id: str
    document: str  # source of the problem: problems of one document are not independent
    candidate: Candidate
    subset: str = ""  # part of the task, if it has parts


def question_task(
    name: str, domain: Domain, problems: Sequence[Problem], samples: int, limits: EvaluationLimits
) -> Task:
    """Have the weak solver's endpoint answer each problem `samples` times, each time with another seed."""

    def ask(state: TaskState) -> Awaitable[Reply]:  # with the same template as in generation
        slots = solver_slots(_candidate(state), document="")
        return domain.agents.solve(Role.WEAK_SOLVER, slots, _seed(state, domain), state.epoch)

    dataset, epochs = MemoryDataset([_make_sample(p, domain) for p in problems], name=name), Epochs(samples, "mean")
    return Task(name=name, dataset=dataset, solver=answer(ask, limits), scorer=judge(domain, limits), epochs=epochs)


@solver
def answer(ask: Callable[[TaskState], Awaitable[Reply]], limits: EvaluationLimits) -> Solver:
    """Ask through our own client, with the same journal as in generation.

    The reply, or why there is none, becomes the sample's output. Raises TooLittleMeasured, EndpointError.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            reply = await ask(state)
        except NotMeasured as error:
            limits.check_answer(error)
            state.metadata |= {"outcome": error.outcome.value, "reason": str(error)}
            state.output = ModelOutput.from_content("", "", stop_reason=STOP_REASON.get(error.outcome, "unknown"))
            return state
        stop_reason = STOP_REASON.get(reply.outcome, "stop")
        state.output = ModelOutput.from_content(reply.model, reply.content, stop_reason=stop_reason)
        state.metadata["reply"] = REPLY.dump_python(reply, mode="json")
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def judge(domain: Domain, limits: EvaluationLimits) -> Scorer:
    """Score with the domain's judge. If the answer never came or the judge fails, the sample is unscored, never 0."""

    async def score(state: TaskState, target: Target) -> Score:
        if "reply" not in state.metadata:
            is_counted = is_counted_refusal(state, limits)
            return Score(value=0.0, explanation="refused") if is_counted else leave_unscored(state)
        reply = REPLY.validate_python(state.metadata["reply"])
        try:
            judgement = await judge_reply(domain, _candidate(state), reply, _seed(state, domain))
        except NotMeasured as error:
            judgement = Judgement(None, None, str(error))
        limits.count_judgement(judgement.score is None, judgement.reason)
        if judgement.score is None:
            return Score.unscored(answer=reply.content, explanation=judgement.reason)
        return Score(value=judgement.score, answer=reply.content, explanation=judgement.reason)

    return score


def is_counted_refusal(state: TaskState, limits: EvaluationLimits) -> bool:
    """True if the model, or a filter before it, refused to answer and the recipe counts that as a wrong answer."""
    return limits.count_refusals and state.metadata.get("outcome") in REFUSALS


def leave_unscored(state: TaskState) -> Score:
    """Return the empty score of a sample whose answer never came."""
    return Score.unscored(answer="", explanation=state.metadata["reason"])


def _make_sample(problem: Problem, domain: Domain) -> Sample:
    candidate = CANDIDATE.dump_json(problem.candidate).decode()
    return Sample(
        id=problem.id,
        input="\n\n".join(m.content for m in domain.solver_prompt(problem.candidate)),
        target=problem.candidate.reference_answer,
        metadata={"candidate": candidate, "document_id": problem.document, "subset": problem.subset},
    )


def _candidate(state: TaskState) -> Candidate:
    return CANDIDATE.validate_json(state.metadata["candidate"])


def _seed(state: TaskState, domain: Domain) -> int:
    return attempt_seed(domain.seed, str(state.sample_id), 0, Role.WEAK_SOLVER, state.epoch)


@hooks("autodata_progress", "counts finished samples in the run's progress.json")
class SampleCount(Hooks):
    """Counts finished samples. inspect_ai makes the only instance; `progress` is set before each evaluation."""

    progress: ClassVar[Progress | None] = None

    async def on_sample_end(self, data: SampleEnd) -> None:
        if self.progress:
            self.progress.advance()
