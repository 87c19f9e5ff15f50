"""The numbers of a task, and what they cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autodata.costs import count_gpus
from autodata.intervals import Estimate
from autodata.journal import read_replies
from autodata.recipes import Models
from eval.generations import Generation, to_answers
from eval.statistics import best_at_k, mean_at_k, pass_at_k, unscored_bounds
from eval.truncation import measure_efficiency

RESULTS, PRBENCH = "results.json", "prbench.json"


@dataclass
class Cost:
    """Of one model in a run, over all its resumes, as the journal tells it."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    busy_s: float = 0.0  # with at least one call under way, to a second
    gpus: int | None = None  # that serve it; None where somebody else runs the server

    @property
    def gpu_s(self) -> float | None:
        return None if self.gpus is None else self.busy_s * self.gpus


def summarize(generations: Sequence[Generation]) -> dict[str, object]:
    """Mean, best and pass@k, cut-off answers and length, of the whole and of each subset."""
    subsets = sorted({g.subset for g in generations} - {""})
    parts = {name: _summarize([g for g in generations if g.subset == name]) for name in subsets}
    return _summarize(generations) | ({"subsets": parts} if parts else {})


def _summarize(generations: Sequence[Generation]) -> dict[str, object]:
    answers, measured = list(to_answers(generations).values()), [g for g in generations if g.is_measured]
    written = [g for g in measured if g.outcome.is_measured]  # a refusal that counts is no text
    k = max((len(a.scores) for a in answers), default=0)
    return {
        "examples": len(answers),
        "documents": len({a.document_id for a in answers}),
        "k": k,
        "mean": _as_dict(mean_at_k(answers)),
        "best": _as_dict(best_at_k(answers)),
        "pass": _as_dict(pass_at_k(answers, k)) if k else None,
        "truncation_rate": sum(g.is_cut_off for g in measured) / len(measured) if measured else None,
        "tokens_per_answer": sum(g.tokens for g in written) / len(written) if written else None,
        "score_per_1000_tokens": measure_efficiency(generations),
        "outcomes": dict(sorted(Counter(str(g.outcome) for g in generations).items())),
        "unscored": sum(a.scores.count(None) for a in answers),
        "mean_bounds": unscored_bounds(answers),
    }


def _as_dict(estimate: Estimate | None) -> dict[str, Any] | None:
    return asdict(estimate) if estimate else None


def measure_cost(journal: Path, models: Models) -> dict[str, Cost]:
    """What each model was asked and answered; replies that were replayed on a resume count once.

    GPU-seconds are those with work under way: starting the servers is not in them.
    """
    costs: dict[str, Cost] = {}
    spans: dict[str, list[tuple[float, float]]] = {}
    for reply, at in read_replies(journal):
        cost = costs.setdefault(reply.model, Cost(gpus=_count_gpus(models, reply.model)))
        cost.calls += 1
        cost.prompt_tokens += reply.prompt_tokens
        cost.completion_tokens += reply.completion_tokens
        spans.setdefault(reply.model, []).append((at - reply.latency_s, at))
    for name, cost in costs.items():
        cost.busy_s = round(_cover(spans[name]), 1)
    return costs


def _count_gpus(models: Models, model: str) -> int | None:
    servers = [e.server for e in models.endpoints.values() if e.model == model and e.server]
    return sum(count_gpus(server) * server.replicas for server in servers) if servers else None


def _cover(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one span."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
