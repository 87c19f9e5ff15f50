"""What the tables say of a dataset: the rows of the paper's Tables 1 and 3."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from autodata.stats.intervals import DIFFERENCE, SHARE, Bounds, Estimate, estimate_mean
from autodata.stats.writing import write_estimate, write_number
from autodata.types import Example

METRICS = (
    "examples",
    "weak_avg",
    "strong_avg",
    "gap",
    "rounds",
    "question_chars",
    "rubric_items",
    "weak_median_pct",
    "rounds_median",
    "rounds_max",
    "accepted_in_one_round_pct",
    "weak_rollout_std_points",
    "weak_cut_off_pct",
    "strong_cut_off_pct",
    "grpo_suitability_high_pct",
    "grpo_suitability_medium_pct",
    "grpo_suitability_low_pct",
)
_SUITABILITY = ("high", "medium", "low")


def summarize(examples: Sequence[Example]) -> dict[str, float | None]:
    """One column of the paper's tables; None where there is nothing to measure, never 0."""
    if not examples:
        return {"examples": 0} | dict.fromkeys(METRICS[1:])
    weak, strong = [fmean(e.weak_scores) for e in examples], [fmean(e.strong_scores) for e in examples]
    found = {
        "examples": len(examples),
        "weak_avg": fmean(weak),
        "strong_avg": fmean(strong),
        "gap": fmean(strong) - fmean(weak),
        "rounds": fmean(e.rounds for e in examples),
        "question_chars": fmean(len(e.candidate.question) for e in examples),
        "rubric_items": fmean(len(e.candidate.rubric) for e in examples),
        "weak_median_pct": 100 * median(weak),
        "weak_rollout_std_points": _mean_spread(examples),
        **{f"{solver}_cut_off_pct": _mean_cut_off(examples, side) for side, solver in enumerate(("weak", "strong"))},
        **_summarize_rounds([e.rounds for e in examples if e.arm == "agentic"]),
        **_summarize_suitability(examples),
    }
    return {metric: found[metric] for metric in METRICS}


def _summarize_rounds(rounds: Sequence[int]) -> dict[str, float | None]:
    """Of the loop alone; a baseline has no rounds to speak of."""
    return {
        "rounds_median": median(rounds) if rounds else None,
        "rounds_max": max(rounds, default=None),
        "accepted_in_one_round_pct": 100 * fmean(n == 1 for n in rounds) if rounds else None,
    }


def _mean_spread(examples: Sequence[Example]) -> float | None:
    """How far the weak attempts at one question lie apart (population deviation), in points of 100."""
    spreads = [pstdev(e.weak_scores) for e in examples if len(e.weak_scores) > 1]
    return 100 * fmean(spreads) if spreads else None


def _mean_cut_off(examples: Sequence[Example], side: int) -> float | None:
    """Share of attempts that ran into their budget, in %; None where older rows do not say."""
    shares = [share for e in examples if (share := e.evidence.cut_off[side]) is not None]
    return 100 * fmean(shares) if shares else None


def _summarize_suitability(examples: Sequence[Example]) -> dict[str, float | None]:
    """Shares of all examples, as in the paper's Table 3, whose shares leave a rest without a label."""
    labels = [suitability(e.evidence.review) for e in examples]
    shares = {label: 100 * labels.count(label) / len(labels) for label in _SUITABILITY}
    return {f"grpo_suitability_{label}_pct": share if any(labels) else None for label, share in shares.items()}


def suitability(review: Mapping[str, object]) -> str:
    """What the loop-judge said of a question's use for GRPO, where there is one (legal)."""
    said = review.get("loop_judge", review)
    label = said.get("grpo_suitability") if isinstance(said, Mapping) else None
    return label if isinstance(label, str) else ""


# Metrics that are means over examples, and so have intervals; the others are medians and maxima.
MEANS: dict[str, Callable[[Example], float | None]] = {
    "weak_avg": lambda e: fmean(e.weak_scores),
    "strong_avg": lambda e: fmean(e.strong_scores),
    "gap": lambda e: fmean(e.strong_scores) - fmean(e.weak_scores),
    "rounds": lambda e: e.rounds,
    "question_chars": lambda e: len(e.candidate.question),
    "rubric_items": lambda e: len(e.candidate.rubric),
    "weak_rollout_std_points": lambda e: 100 * pstdev(e.weak_scores) if len(e.weak_scores) > 1 else None,
    "accepted_in_one_round_pct": lambda e: 100.0 * (e.rounds == 1),
    **{
        f"grpo_suitability_{label}_pct": lambda e, label=label: 100.0 * (suitability(e.evidence.review) == label)
        for label in _SUITABILITY
    },
}
_BOUNDS: dict[str, Bounds] = {
    "weak_avg": SHARE,
    "strong_avg": SHARE,
    "gap": DIFFERENCE,
    "weak_rollout_std_points": (0.0, 50.0),  # no scores between 0 and 1 lie further apart
    "accepted_in_one_round_pct": (0.0, 100.0),
    **{f"grpo_suitability_{label}_pct": (0.0, 100.0) for label in _SUITABILITY},
}


def estimate_metric(metric: str, examples: Sequence[Example]) -> Estimate | None:
    """A metric that is a mean, with its interval over the documents; None for the others."""
    measure = MEANS.get(metric)
    return estimate_mean(((e.document_id, measure(e)) for e in examples), _BOUNDS.get(metric)) if measure else None


def measure_intervals(examples: Sequence[Example]) -> dict[str, list[float | int | str | None]]:
    """[low, high, documents, reason] of every metric that is a mean."""
    found = {metric: estimate_metric(metric, examples) for metric in MEANS}
    return {metric: [e.low, e.high, e.documents, e.reason] for metric, e in found.items() if e}


def write_metric(value: float | None, interval: Sequence[Any] | None) -> str:
    """Writes a metric for readers: with its interval, as `measure_intervals` gives it, where it is a mean."""
    if value is None or interval is None:
        return write_number(value)
    return write_estimate(Estimate(value, *interval))
