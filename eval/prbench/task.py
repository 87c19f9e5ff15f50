"""Turns a split of PRBench into an inspect_ai task, and summarizes its log."""

from collections.abc import Awaitable, Sequence
from dataclasses import asdict, replace
from typing import Any

from inspect_ai import Epochs
from inspect_ai import Task as InspectTask
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

from autodata.eval.limits import EvaluationLimits
from autodata.eval.prbench.data import Split, Task, flatten
from autodata.eval.prbench.grader import Grader, strip_reasoning
from autodata.eval.prbench.rules import group_values, rates_by, score_task, summarize
from autodata.eval.tasks import answer, is_counted_refusal, leave_unscored
from autodata.loop.agents import attempt_seed
from autodata.serving.request import Request
from autodata.stats.agreement import Ratings, compare_judges, compare_repeats
from autodata.stats.intervals import SHARE, Estimate, estimate_mean
from autodata.types import Outcome, Reply, Role

BELOW_ZERO = "no interval: all of it is below 0, where scores are clipped"


def prbench_task(
    split: Split, graders: Sequence[Grader], limits: EvaluationLimits, samples: int, seed: int
) -> InspectTask:
    """Build the task: `samples` answers to each conversation, each graded by every grader."""
    tasks = {task.id: task for task in split.tasks}

    def ask(state: TaskState) -> Awaitable[Reply]:  # as the benchmark does: the fixed earlier turns, no system prompt
        request_seed = attempt_seed(seed, str(state.sample_id), 0, Role.WEAK_SOLVER, state.epoch)
        messages = tasks[str(state.sample_id)].messages
        return limits.client.ask(Request(Role.WEAK_SOLVER, messages, request_seed, state.epoch))

    rows = [Sample(id=t.id, input=flatten(t.messages), metadata={"document_id": t.id}) for t in split.tasks]
    return InspectTask(
        name=f"prbench_{split.name}",
        dataset=MemoryDataset(rows, name=split.name),
        solver=answer(ask, limits),
        scorer=grade(tasks, graders, limits, seed),
        epochs=Epochs(samples, "mean"),
    )


@scorer(metrics=[mean()])
def grade(tasks: dict[str, Task], graders: Sequence[Grader], limits: EvaluationLimits, seed: int) -> Scorer:
    """Score with the first grader's `clipped`; unscored if one of its grades is missing. All verdicts are kept."""

    async def score(state: TaskState, target: Target) -> Score:
        if "reply" not in state.metadata and not is_counted_refusal(state, limits):
            return leave_unscored(state)
        task, text = tasks[str(state.sample_id)], state.output.completion  # a refusal is empty and meets nothing
        if not strip_reasoning(text) and state.metadata.get("reply", {}).get("outcome") == Outcome.ANSWERED:
            state.metadata |= {"reply": None, "outcome": Outcome.EMPTY.value, "reason": "nothing but reasoning"}
            return leave_unscored(state)
        grader_seed = attempt_seed(seed, task.id, 0, Role.JUDGE, state.epoch)
        met = {grader.name: await grader.grade(task, text, grader_seed) for grader in graders}
        clipped = {name: score_task(task.criteria, verdicts).clipped for name, verdicts in met.items()}
        details, first = {"met": met, "clipped": clipped}, next(iter(clipped.values()))
        missing = sum(verdicts.count(None) for verdicts in met.values())
        why = f"missing grades: {missing} ({'; '.join(g.problem for g in graders if g.problem)})"
        limits.count_judgement(missing > 0, why)
        if first is None:
            why = why if missing else "no criterion has a positive weight"
            return Score.unscored(answer=text, explanation=why, metadata=details)
        return Score(value=first, answer=text, metadata=details)

    return score


def summarize_split(log: EvalLog, split: Split) -> dict[str, Any]:
    """Compute PRBench's numbers for each grader, by topic, category and weight class, and how far graders agree.

    Agreement is Krippendorff's alpha over all graders, and for two graders Cohen's kappa too.
    """
    tasks = {task.id: task for task in split.tasks}
    samples = [(tasks[str(s.id)], _read_met(s)) for s in log.samples or []]
    graded = [(task, met) for task, met in samples if met]
    names = list(dict.fromkeys(name for _, met in graded for name in met))
    by_grader = {name: _summarize([(task, met[name]) for task, met in graded]) for name in names}
    agreement = None
    if len(names) > 1:
        ratings = [Ratings(task.id, pair) for task, met in graded for pair in zip(*met.values(), strict=True)]
        agreement = asdict(compare_judges(ratings) if len(names) == 2 else compare_repeats(ratings))
    return {
        "tasks": len(split.tasks),
        "left_out": split.left_out,
        "unanswered": len(samples) - len(graded),
        "graders": by_grader,
        "agreement": agreement,
    }


def _read_met(sample: Any) -> dict[str, list[bool | None]]:
    score = next(iter((sample.scores or {}).values()), None)
    return dict((score.metadata or {}).get("met", {})) if score else {}


def _summarize(graded: Sequence[tuple[Task, list[bool | None]]]) -> dict[str, Any]:
    scores = [score_task(task.criteria, met) for task, met in graded]
    pairs = [(task.criteria, met) for task, met in graded]
    ids = [task.id for task, _ in graded]
    by_topic = zip((task.topic for task, _ in graded), scores, strict=True)
    worst = min((s.negative / s.positive for s in scores if s.positive), default=0.0)
    clipped = estimate_mean(zip(ids, (s.clipped for s in scores), strict=True), (worst, 1.0))
    normalized = estimate_mean(zip(ids, (s.normalized for s in scores), strict=True), SHARE)
    return {
        **summarize(scores),
        "clipped": clipped and asdict(_clip(clipped)),
        "normalized": normalized and asdict(normalized),
        "by_topic": {topic: summarize(group) for topic, group in group_values(by_topic).items()},
        "met_by_category": rates_by(pairs, "category"),
        "met_by_weight_class": rates_by(pairs, "weight_class"),
    }


def _clip(estimate: Estimate) -> Estimate:
    """Clip a mean at 0, as PRBench does, which does not clip scores. An interval wholly below 0 is left out."""
    value = max(0.0, estimate.value)
    if estimate.high is not None and estimate.high <= 0:
        return Estimate(value, documents=estimate.documents, reason=BELOW_ZERO)
    return replace(estimate, value=value, low=estimate.low and max(0.0, estimate.low))
