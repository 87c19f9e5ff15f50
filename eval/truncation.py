"""Measures how often answers are cut off by their length, and what that costs (the paper's Table 8).

python -m eval.truncation RUN [--task TASK] [--right-from 1.0]

RUN is a run folder of eval.run. Rates at smaller budgets are recomputed from the lengths, without new answers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.run.records import RunError
from autodata.stats.intervals import SHARE, Estimate, estimate_mean
from autodata.stats.writing import write_decimal, write_estimate, write_points
from eval.sampled_answers import SampledAnswer, parse_arguments, read_task
from eval.statistics import mean_of_known


@dataclass(frozen=True)
class Truncation:
    """The truncation of the answers to one task. Scores are means over scored answers; None if there are none."""

    rate: Estimate
    score_finished: float | None
    score_cut_off: float | None
    right_finished: float | None  # share of finished answers that are right
    right_cut_off: float | None
    score_per_1000_tokens: float | None


def measure(sampled: Sequence[SampledAnswer], right_from: float = 1.0) -> Truncation:
    """Measure the truncation of one task. Raises RunError if there are no answers."""
    rate = measure_rate(sampled)
    if rate is None:
        raise RunError("nothing to measure: no answer to this task was received")
    parts = [[g for g in sampled if g.is_cut_off is cut and g.score is not None] for cut in (False, True)]
    scores = [mean_of_known([g.score for g in part]) for part in parts]
    right = [mean_of_known([g.is_right(right_from) for g in part]) for part in parts]
    return Truncation(rate, *scores, *right, measure_efficiency(sampled))


def measure_rate(sampled: Iterable[SampledAnswer]) -> Estimate | None:
    """Estimate the share of cut-off answers, with its interval over documents; None if there are no answers."""
    return estimate_mean(((g.document, float(g.is_cut_off)) for g in sampled if g.is_measured), SHARE)


def rate_at(sampled: Sequence[SampledAnswer], budget: int) -> float:
    """Compute the share that would be cut off at `budget` tokens, which may not exceed the budget they had."""
    measured = [g for g in sampled if g.is_measured]
    return sum(g.is_cut_off or g.tokens > budget for g in measured) / len(measured)


def measure_efficiency(sampled: Sequence[SampledAnswer]) -> float | None:
    """Compute the score per thousand tokens, over scored answers; None without tokens."""
    scored = [g for g in sampled if g.score is not None]
    tokens = sum(g.tokens for g in scored)
    return 1000 * sum(g.score or 0.0 for g in scored) / tokens if tokens else None


def show(sampled: Sequence[SampledAnswer], right_from: float, title: str) -> Table:
    truncation = measure(sampled, right_from)
    table = Table("", "value", title=title)
    table.add_row("cut off, % [95 % interval over documents]", escape(write_estimate(truncation.rate, write_points)))
    for name, value in (
        ("mean score of finished answers", truncation.score_finished),
        ("mean score of cut-off answers", truncation.score_cut_off),
        ("share of finished answers that are right", truncation.right_finished),
        ("share of cut-off answers that are right", truncation.right_cut_off),
        ("score per 1,000 tokens", truncation.score_per_1000_tokens),
    ):
        table.add_row(name, write_decimal(value))
    longest = max(g.tokens for g in sampled)
    for divisor in (4, 2, 1):
        budget = longest // divisor
        table.add_row(f"cut off with a budget of {budget:,} tokens, %", write_points(rate_at(sampled, budget)))
    return table


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of eval.run")
    options = parse_arguments(parser, "measured")
    sampled = read_task(options.run, options.task)
    Console().print(show(sampled, options.right_from, f"{options.run}, {options.task}"))


if __name__ == "__main__":
    main()
