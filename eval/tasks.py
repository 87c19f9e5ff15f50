"""Questions of a domain as an inspect_ai task, asked and judged as in generation."""

from collections.abc import Sequence
from dataclasses import dataclass

from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from autodata.domains.base import Domain, solver_slots
from autodata.request import attempt_seed
from autodata.types import CANDIDATE, REPLY, Candidate, Outcome, Role

STOP_REASON = {Outcome.CUT_OFF: "max_tokens", Outcome.REFUSED: "content_filter",
                Outcome.CONTEXT_OVERFLOW: "model_length"}  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """What a model is asked, and what its answer is judged by."""

    id: str
    document: str  # that it comes from: problems of one are not independent
    candidate: Candidate
    subset: str = ""  # of the task, where it has parts


def question_task(name: str, domain: Domain, problems: Sequence[Problem], samples: int) -> Task:
    """`samples` answers of the weak solver's endpoint to each problem, each with its own seed."""
    dataset = MemoryDataset([_make_sample(p, domain) for p in problems], name=name)
    return Task(
        name=name,
        dataset=dataset,
        solver=answer(domain),
        scorer=judge(domain),
        epochs=Epochs(samples, "mean"),
    )


@solver
def answer(domain: Domain) -> Solver:
    """Ask through our own client: same template, same journal as in generation."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        slots = solver_slots(_candidate(state), document="")
        reply = await domain.agents.solve(Role.WEAK_SOLVER, slots, _seed(state, domain), state.epoch)
        state.output = ModelOutput.from_content(
            reply.model, reply.content, stop_reason=STOP_REASON.get(reply.outcome, "stop")
        )
        state.metadata["reply"] = REPLY.dump_python(reply, mode="json")
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def judge(domain: Domain) -> Scorer:
    """The domain's judge; a failed one leaves the sample unscored, never 0."""

    async def score(state: TaskState, target: Target) -> Score:
        reply = REPLY.validate_python(state.metadata["reply"])
        judgement = await domain.judge_reply(_candidate(state), reply, _seed(state, domain))
        if judgement.score is None:
            return Score.unscored(answer=reply.content, explanation=judgement.reason)
        return Score(value=judgement.score, answer=reply.content, explanation=judgement.reason)

    return score


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
