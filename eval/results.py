"""Computes the results of a task from its answers, and the tokens that they took."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from eval.sampled_answers import SampledAnswer, group_by, to_answers
from eval.statistics import best_at_k, mean_at_k, pass_at_k, unscored_bounds
from eval.truncation import measure_efficiency

RESULTS, PRBENCH = "results.json", "prbench.json"


def summarize(sampled: Sequence[SampledAnswer]) -> dict[str, object]:
    """Compute mean, best and pass@k, the share of cut-off answers and the length, of the task and of each subset."""
    parts = {name: _summarize(group) for name, group in sorted(group_by(sampled, "subset").items()) if name}
    return _summarize(sampled) | ({"subsets": parts} if parts else {})


def _summarize(sampled: Sequence[SampledAnswer]) -> dict[str, object]:
    answers, measured = list(to_answers(sampled).values()), [g for g in sampled if g.is_measured]
    written = [g for g in measured if g.outcome.is_measured]  # a refusal has no text, even if it counts as an answer
    k = max((len(a.scores) for a in answers), default=0)
    estimates = {"mean": mean_at_k(answers), "best": best_at_k(answers), "pass": pass_at_k(answers, k) if k else None}
    return {
        "examples": len(answers),
        "documents": len({a.document_id for a in answers}),
        "k": k,
        **{name: estimate and asdict(estimate) for name, estimate in estimates.items()},
        "truncation_rate": sum(g.is_cut_off for g in measured) / len(measured) if measured else None,
        "tokens_per_answer": sum(g.tokens for g in written) / len(written) if written else None,
        "score_per_1000_tokens": measure_efficiency(sampled),
        "outcomes": dict(sorted(Counter(str(g.outcome) for g in sampled).items())),
        "unscored": sum(a.scores.count(None) for a in answers),
        "mean_bounds": unscored_bounds(answers),
    }
