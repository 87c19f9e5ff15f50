"""Measures how often answers are cut off by their length, and what that costs (the paper's Table 8).

python -m autodata.eval.truncation RUN [--task TASK] [--right-from 1.0]

RUN is an evaluation. Rates at smaller budgets are recomputed from the lengths, without new answers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.eval.sampled_answers import SampledAnswer, measure_efficiency, parse_arguments, read_task
from autodata.eval.statistics import mean_of_known
from autodata.run.records import RunError
from autodata.stats.intervals import SHARE, Estimate, estimate_mean
from autodata.stats.writing import make_table, write_decimal, write_estimate, write_points


def measure(sampled: Sequence[SampledAnswer], right_from: float = 1.0) -> dict[str, float | None]:
    """Compare finished with cut-off answers to one task; a number is None if none of its answers is scored."""
    finished, cut_off = ([g for g in sampled if g.is_cut_off is cut and g.score is not None] for cut in (False, True))
    return {
        "mean score of finished answers": mean_of_known([g.score for g in finished]),
        "mean score of cut-off answers": mean_of_known([g.score for g in cut_off]),
        "share of finished answers that are right": mean_of_known([g.is_right(right_from) for g in finished]),
        "share of cut-off answers that are right": mean_of_known([g.is_right(right_from) for g in cut_off]),
        "score per 1,000 tokens": measure_efficiency(sampled),
    }


def measure_rate(sampled: Iterable[SampledAnswer]) -> Estimate | None:
    """Estimate the share of cut-off answers, with its interval over documents; None if there are no answers."""
    return estimate_mean(((g.document, float(g.is_cut_off)) for g in sampled if g.is_measured), SHARE)


def rate_at(sampled: Sequence[SampledAnswer], budget: int) -> float:
    """Compute the share that would be cut off at `budget` tokens, which may not exceed the budget they had."""
    measured = [g for g in sampled if g.is_measured]
    return sum(g.is_cut_off or g.tokens > budget for g in measured) / len(measured)


def show(sampled: Sequence[SampledAnswer], right_from: float, title: str) -> Table:
    """Build the table of one task. Raises RunError if there are no answers."""
    rate = measure_rate(sampled)
    if rate is None:
        raise RunError("nothing to measure: no answer to this task was received")
    table = make_table("", "value", title=title)
    table.add_row("cut off, % [95 % interval over documents]", escape(write_estimate(rate, write_points)))
    for name, value in measure(sampled, right_from).items():
        table.add_row(name, write_decimal(value))
    longest = max(g.tokens for g in sampled)
    for divisor in (4, 2, 1):
        budget = longest // divisor
        table.add_row(f"cut off with a budget of {budget:,} tokens, %", write_points(rate_at(sampled, budget)))
    return table


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder of autodata.eval.run")
    options = parse_arguments(parser, "measured")
    sampled = read_task(options.run, options.task)
    Console().print(show(sampled, options.right_from, f"{options.run}, {options.task}"))


if __name__ == "__main__":
    main()
