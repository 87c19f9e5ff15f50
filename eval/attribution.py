"""Explains why a trained model is right where its base was wrong (the paper's Table 9), and the other way round.

python -m autodata.eval.attribution BASE TRAINED [--task TASK] [--right-from 1.0]

BASE and TRAINED are evaluations. A flip is an answer that was wrong and is right now. It counts as
"truncation fixed" if the base's answer was cut off by its length and the trained model's was not, and as "reasoning
improved" if the base's answer was finished and not empty. All other flips are "other", for example when the trained
model's answer is cut off. Answers that never came are not compared. The paper names the first two causes; the third
holds the rest. Lost flips, right before and wrong now, are split in the same way, with the two models exchanged.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autodata import command
from autodata.eval.sampled_answers import SampledAnswer, group_by, parse_arguments, read_task
from autodata.run.records import RunError
from autodata.stats.intervals import SHARE, Estimate, estimate_ratio
from autodata.stats.writing import make_table, write_estimate, write_points
from autodata.types import Outcome


class Cause(StrEnum):
    """The reason why an answer flipped."""

    TRUNCATION = "truncation"
    REASONING = "reasoning"
    OTHER = "other"


_Flip = tuple[str, Cause, float]  # document, cause and weight of one flip


@dataclass(frozen=True)
class Flips:
    """The flips in one direction: how many by cause, and each cause's share with its interval over documents."""

    counts: dict[Cause, float]  # whole if answers are paired by index; expectations over all pairs
    shares: dict[Cause, Estimate | None]

    @property
    def total(self) -> float:
        return sum(self.counts.values())


@dataclass(frozen=True)
class Attribution:
    """The flips in both directions, under one way of pairing answers."""

    gained: Flips
    lost: Flips
    pairs: float  # number of answers that were compared

    @property
    def net(self) -> float:
        return self.gained.total - self.lost.total


def find_cause(wrong: SampledAnswer, right: SampledAnswer) -> Cause:
    """Decide why one of two answers to the same example is wrong although the other is right."""
    if right.outcome is not Outcome.ANSWERED:
        return Cause.OTHER
    if wrong.is_cut_off:
        return Cause.TRUNCATION
    return Cause.REASONING if wrong.outcome is Outcome.ANSWERED and wrong.has_answer else Cause.OTHER


def attribute(
    base: Sequence[SampledAnswer], trained: Sequence[SampledAnswer], right_from: float = 1.0, all_pairs: bool = False
) -> Attribution:
    """Pair the answers of two models and count the flips by cause.

    A pair has the same example and sample index. With `all_pairs` every base sample is paired with every trained
    sample of its example: the result does not depend on the order of the samples, and the pairs are weighted so that
    both countings are comparable. Unscored answers are in no pair. Raises RunError if nothing can be paired.
    """
    before, after = group_by(base, "example"), group_by(trained, "example")
    gained: list[_Flip] = []
    lost: list[_Flip] = []
    pairs = 0.0
    for example in sorted(before.keys() & after.keys()):
        for old, new, weight in _pair(before[example], after[example], all_pairs):
            pairs += weight
            was_right, is_right = old.is_right(right_from), new.is_right(right_from)
            if is_right and not was_right:
                gained.append((old.document, find_cause(old, new), weight))
            elif was_right and not is_right:
                lost.append((old.document, find_cause(new, old), weight))
    if not pairs:
        raise RunError("nothing to compare: the two runs have no example in common with a scored answer in both")
    return Attribution(_add_up(gained), _add_up(lost), pairs)


def _pair(
    base: Sequence[SampledAnswer], trained: Sequence[SampledAnswer], all_pairs: bool
) -> Iterable[tuple[SampledAnswer, SampledAnswer, float]]:
    old, new = ([g for g in answers if g.score is not None] for answers in (base, trained))
    weight = min(len(old), len(new)) / (len(old) * len(new)) if old and new and all_pairs else 1.0
    return [(one, other, weight) for one in old for other in new if all_pairs or one.epoch == other.epoch]


def _add_up(flips: Iterable[_Flip]) -> Flips:
    weights: dict[str, dict[Cause, float]] = defaultdict(lambda: dict.fromkeys(Cause, 0.0))
    for document, cause, weight in flips:
        weights[document][cause] += weight
    rows = list(weights.values())
    totals = numpy.array([sum(row.values()) for row in rows])
    by_cause = {cause: numpy.array([row[cause] for row in rows]) for cause in Cause}
    counts = {cause: float(column.sum()) for cause, column in by_cause.items()}
    shares = {cause: estimate_ratio(column, totals, SHARE) if rows else None for cause, column in by_cause.items()}
    return Flips(counts, shares)


def show(attribution: Attribution, title: str) -> Table:
    """Build the table of counts and shares in both directions."""
    table = make_table("flips", "count", "share, % [95 % interval over documents]", title=title)
    for name, flips in (("wrong → right", attribution.gained), ("right → wrong", attribution.lost)):
        table.add_row(name, f"{flips.total:g}", "")
        for cause, share in flips.shares.items():
            table.add_row(f"  {cause}", f"{flips.counts[cause]:g}", escape(write_estimate(share, write_points)))
    table.add_row("net", f"{attribution.net:g}", f"{write_points(attribution.net / attribution.pairs)} of all pairs")
    return table


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("base", type=Path, metavar="BASE", help="run folder of the base model's evaluation")
    parser.add_argument("trained", type=Path, metavar="TRAINED", help="run folder of the trained model's evaluation")
    options = parse_arguments(parser, "compared")
    base, trained = (read_task(run, options.task) for run in (options.base, options.trained))
    for all_pairs, pairing in ((False, "paired by sample index"), (True, "expected counts over all pairs of samples")):
        attribution = attribute(base, trained, options.right_from, all_pairs)
        Console().print(show(attribution, f"{options.task}, {pairing}"))


if __name__ == "__main__":
    main()
