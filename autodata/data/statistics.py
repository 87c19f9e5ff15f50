"""Computes the statistics of a dataset: the rows of the paper's Tables 1 and 3."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from autodata.stats.intervals import DIFFERENCE, SHARE, Bounds, Estimate, estimate_mean
from autodata.stats.writing import write_estimate, write_number
from autodata.types import Example

METRICS = (
    *("examples", "weak_avg", "strong_avg", "gap", "rounds", "question_chars", "rubric_items", "weak_median_pct"),
    *("rounds_median", "rounds_max", "accepted_in_one_round_pct", "weak_rollout_std_points"),
    *("weak_cut_off_pct", "strong_cut_off_pct"),
    *("grpo_suitability_high_pct", "grpo_suitability_medium_pct", "grpo_suitability_low_pct"),
)
_PLAIN_MEANS = ("weak_avg", "strong_avg", "rounds", "question_chars", "rubric_items")


def summarize(examples: Sequence[Example]) -> dict[str, float | None]:
    """Compute one column of the paper's tables; a metric without data is None, never 0."""
    if not examples:
        return {"examples": 0} | dict.fromkeys(METRICS[1:])
    means = {metric: fmean(map(MEANS[metric][0], examples)) for metric in _PLAIN_MEANS}
    spreads = [
        pstdev(e.weak_scores) for e in examples if len(e.weak_scores) > 1
    ]  # the spread of the attempts at one question
    rounds = [e.rounds for e in examples if e.arm == "agentic"]  # a baseline has no rounds in this sense
    values = {
        "examples": len(examples),
        **means,
        "gap": means["strong_avg"] - means["weak_avg"],
        "weak_median_pct": 100 * median(fmean(e.weak_scores) for e in examples),
        "rounds_median": median(rounds) if rounds else None,
        "rounds_max": max(rounds, default=None),
        "accepted_in_one_round_pct": 100 * fmean(n == 1 for n in rounds) if rounds else None,
        "weak_rollout_std_points": 100 * fmean(spreads) if spreads else None,
        **{f"{solver}_cut_off_pct": _mean_cut_off(examples, side) for side, solver in enumerate(("weak", "strong"))},
        **_summarize_suitability(examples),
    }
    return {metric: values[metric] for metric in METRICS}


def _mean_cut_off(examples: Sequence[Example], side: int) -> float | None:
    """Average the share of attempts that ran into their token budget, in %; None if no row recorded it."""
    shares = [share for e in examples if (share := e.evidence.cut_off[side]) is not None]
    return 100 * fmean(shares) if shares else None


def _summarize_suitability(examples: Sequence[Example]) -> dict[str, float | None]:
    """Compute shares of all examples; as in the paper's Table 3, they need not add up to 100 %."""
    labels = [suitability(e.evidence.review) for e in examples]
    shares = {label: 100 * labels.count(label) / len(labels) for label in ("high", "medium", "low")}
    return {f"grpo_suitability_{label}_pct": share if any(labels) else None for label, share in shares.items()}


def suitability(review: Mapping[str, object]) -> str:
    """Return the loop-judge's rating of a question's suitability for GRPO (legal), or an empty string."""
    verdict = review.get("loop_judge", review)
    label = verdict.get("grpo_suitability") if isinstance(verdict, Mapping) else None
    return label if isinstance(label, str) else ""


_PERCENT: Bounds = (0.0, 100.0)
# Metrics that are means over examples and so have intervals, with their bounds; the others are medians and maxima.
MEANS: dict[str, tuple[Callable[[Example], float | None], Bounds | None]] = {
    "weak_avg": (lambda e: fmean(e.weak_scores), SHARE),
    "strong_avg": (lambda e: fmean(e.strong_scores), SHARE),
    "gap": (lambda e: fmean(e.strong_scores) - fmean(e.weak_scores), DIFFERENCE),
    "rounds": (lambda e: 1 if e.arm == "cot" else e.rounds, None),  # each proposal of cot stands alone
    "question_chars": (lambda e: len(e.candidate.question), None),
    "rubric_items": (lambda e: len(e.candidate.rubric), None),
    "weak_rollout_std_points": (  # scores between 0 and 1 cannot have a spread above 50 points
        lambda e: 100 * pstdev(e.weak_scores) if len(e.weak_scores) > 1 else None,
        (0.0, 50.0),
    ),
    "accepted_in_one_round_pct": (lambda e: 100.0 * (e.rounds == 1), _PERCENT),
    "grpo_suitability_high_pct": (lambda e: 100.0 * (suitability(e.evidence.review) == "high"), _PERCENT),
    "grpo_suitability_medium_pct": (lambda e: 100.0 * (suitability(e.evidence.review) == "medium"), _PERCENT),
    "grpo_suitability_low_pct": (lambda e: 100.0 * (suitability(e.evidence.review) == "low"), _PERCENT),
}


def estimate_metric(metric: str, examples: Sequence[Example]) -> Estimate | None:
    """Estimate a metric that is a mean, with its interval over documents; None for other metrics."""
    measure, bounds = MEANS.get(metric, (None, None))
    return estimate_mean(((e.document_id, measure(e)) for e in examples), bounds) if measure else None


def measure_intervals(examples: Sequence[Example]) -> dict[str, list[float | int | str | None]]:
    """Return [low, high, documents, reason] for every metric that is a mean."""
    estimates = {metric: estimate_metric(metric, examples) for metric in MEANS}
    return {metric: [e.low, e.high, e.documents, e.reason] for metric, e in estimates.items() if e}


def write_metric(value: float | None, interval: Sequence[Any] | None) -> str:
    """Write a metric for readers; a mean gets its interval, as `measure_intervals` returns it."""
    if value is None or interval is None:
        return write_number(value)
    return write_estimate(Estimate(value, *interval))
