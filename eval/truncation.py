"""How often answers are cut off by their length, and what that costs (the paper's Table 8).

python -m eval.truncation RUN [--task TASK] [--right-from 1.0]

RUN is a run folder of eval.run. Rates at smaller budgets are recomputed from the lengths, without new answers.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.run.records import RunError
from autodata.stats.intervals import SHARE, Estimate, estimate_ratio, write_interval
from eval.generations import Generation, read_generations


@dataclass(frozen=True)
class Truncation:
    """Of one task. Scores are means over scored answers; None where there are none."""

    rate: Estimate
    score_finished: float | None
    score_cut_off: float | None
    right_finished: float | None  # share of the right ones
    right_cut_off: float | None
    score_per_1000_tokens: float | None


def measure(generations: Sequence[Generation], right_from: float = 1.0) -> Truncation:
    """Raises RunError when there are no answers."""
    finished, cut_off = ([g for g in generations if g.is_cut_off is cut] for cut in (False, True))
    return Truncation(
        measure_rate(generations),
        _mean_score(finished),
        _mean_score(cut_off),
        _share_right(finished, right_from),
        _share_right(cut_off, right_from),
        measure_efficiency(generations),
    )


def measure_rate(generations: Sequence[Generation]) -> Estimate:
    """The share that is cut off, with its interval over documents. Raises RunError when there are no answers."""
    generations = [g for g in generations if g.is_measured]
    if not generations:
        raise RunError("no answers to measure")
    cut: dict[str, int] = defaultdict(int)
    all_of: dict[str, int] = defaultdict(int)
    for generation in generations:
        all_of[generation.document] += 1
        cut[generation.document] += generation.is_cut_off
    documents = sorted(all_of)
    sums, counts = (numpy.array([of[d] for d in documents]) for of in (cut, all_of))
    return estimate_ratio(sums, counts, SHARE)


def rate_at(generations: Sequence[Generation], budget: int) -> float:
    """The share that would be cut off at `budget` tokens, which is at most the budget they had."""
    measured = [g for g in generations if g.is_measured]
    return sum(g.is_cut_off or g.tokens > budget for g in measured) / len(measured)


def measure_efficiency(generations: Sequence[Generation]) -> float | None:
    """Score per thousand tokens, over scored answers."""
    scored = [g for g in generations if g.score is not None]
    tokens = sum(g.tokens for g in scored)
    return 1000 * sum(g.score or 0.0 for g in scored) / tokens if tokens else None


def count_lengths(generations: Sequence[Generation], bins: int = 20) -> list[tuple[int, int, int]]:
    """The histogram of lengths: up to so many tokens, how many finished, how many cut off."""
    longest = max((g.tokens for g in generations), default=0)
    edges = numpy.linspace(0, max(longest, 1), bins + 1)
    counts = [numpy.histogram([g.tokens for g in generations if g.is_cut_off is cut], edges)[0]
              for cut in (False, True)]  # fmt: skip
    return [(round(edge), int(done), int(cut)) for edge, done, cut in zip(edges[1:], *counts, strict=True)]


def _mean_score(generations: Sequence[Generation]) -> float | None:
    known = [g.score for g in generations if g.score is not None]
    return sum(known) / len(known) if known else None


def _share_right(generations: Sequence[Generation], right_from: float) -> float | None:
    known = [g for g in generations if g.score is not None]
    return sum(g.is_right(right_from) for g in known) / len(known) if known else None


def show(generations: Sequence[Generation], right_from: float, title: str) -> Table:
    found = measure(generations, right_from)
    table = Table("", "value", title=title)
    interval = write_interval(found.rate, lambda end: f"{100 * end:.1f}")
    table.add_row("cut off, % [95 % over documents]", f"{100 * found.rate.value:.2f}{escape(interval)}")
    for name, value in (("mean score, finished", found.score_finished), ("mean score, cut off", found.score_cut_off),
                        ("share right, finished", found.right_finished), ("share right, cut off", found.right_cut_off),
                        ("score per 1,000 tokens", found.score_per_1000_tokens)):  # fmt: skip
        table.add_row(name, "–" if value is None else f"{value:.4f}")
    longest = max(g.tokens for g in generations)
    for share in (4, 2, 1):
        budget = longest // share
        table.add_row(f"cut off at {budget} tokens, %", f"{100 * rate_at(generations, budget):.2f}")
    return table


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run of eval.run")
    parser.add_argument("--task", default="agentic_test", help="whose answers are counted (%(default)s)")
    parser.add_argument("--right-from", type=float, default=1.0, help="the score that counts as right (%(default)s)")
    options = parser.parse_intermixed_args()
    generations = read_generations(options.run, options.task)
    Console().print(show(generations, options.right_from, f"{options.run}, {options.task}"))


if __name__ == "__main__":
    main()
