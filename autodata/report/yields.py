"""Computes from the recorded attempts how many documents would have an accepted candidate under other thresholds."""

from bisect import bisect_left, bisect_right
from collections import namedtuple
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import groupby, pairwise, product

import numpy as np

from autodata.loop.acceptance import count_cut_off, decide_measured, mean, scores
from autodata.recipes.domain import DomainConfig, Gate
from autodata.report.charts import Frame, Line, Lines
from autodata.types import Failure, Round

Axis = tuple[float | None, ...]  # values of one threshold; None leaves it as it is
Cell = tuple[slice, slice, slice]
Scores = tuple[Fraction, ...]
KNOBS = {
    "weak": "upper bound of the weak solver's mean",
    "strong": "lower bound of the strong solver's mean",
    "gap": "lower bound of the gap between the two means",
}
_STEPS = [n / 20 for n in range(21)]
_UNCHANGED: Axis = (None,)


@dataclass(frozen=True)
class MeasuredRound:
    """The exact scores of a candidate that the weak solver tried; missing attempts are unknown, not zero."""

    document: int  # rounds of one document follow each other
    weak: Scores
    strong: Scores
    cut_off: tuple[int, int] = (0, 0)  # weak and strong attempts that ran into their budget


@dataclass(frozen=True)
class AcceptedCounts:
    """The least and the most documents that can have an accepted candidate, at each point of the three axes."""

    least: np.ndarray
    most: np.ndarray


# A cell of a table of counts. `ninth` is its colour: the count in ninths of the highest one.
Shade = namedtuple("Shade", "text ninth is_in_force")


class Yields:
    """Computes the yield over the thresholds; bounds that are not varied stay as they are in force."""

    def __init__(self, rounds: Sequence[MeasuredRound], domain: DomainConfig):
        self.in_force = thresholds(domain.presets[domain.preset])
        self.axes = {
            name: tuple(sorted({*_STEPS, *([] if now is None else [now])})) for name, now in self.in_force.items()
        }
        self.plane = count(rounds, domain, (self.axes["weak"], self.axes["strong"], _UNCHANGED))
        self._lines = {
            name: count(rounds, domain, tuple(axis if key == name else _UNCHANGED for key, axis in self.axes.items()))
            for name in KNOBS
        }

    @property
    def charts(self) -> dict[str, Lines]:
        """A chart for each threshold: the yield if only that one is varied."""
        return {name: self._draw(name) for name in KNOBS}

    @property
    def table(self) -> tuple[list[float | None], list[tuple[float | None, list[Shade]]]]:
        """The plane of weak and strong bound: the columns, and the rows from the highest strong bound down."""
        columns, rows = self._shown("weak"), self._shown("strong")
        return [self.axes["weak"][i] for i in columns], [
            (self.axes["strong"][j], [self._shade(i, j) for i in columns]) for j in reversed(rows)
        ]

    def _shown(self, name: str) -> list[int]:
        """Return the indices of every other value, and of the one in force."""
        now = self.in_force[name]
        return [i for i, value in enumerate(self.axes[name]) if value == now or value in _STEPS[::2]]

    def _shade(self, i: int, j: int) -> Shade:
        least, most = int(self.plane.least[i, j, 0]), int(self.plane.most[i, j, 0])
        is_in_force = all(self.axes[name][at] == self.in_force[name] for name, at in (("weak", i), ("strong", j)))
        return Shade(span(least, most), round(9 * least / max(int(self.plane.most.max()), 1)), is_in_force)

    def _draw(self, name: str) -> Lines:
        counts, now = self._lines[name], self.in_force[name]
        band = list(zip(map(int, counts.least.ravel()), map(int, counts.most.ravel()), strict=True))
        desc = (
            f"Documents with an accepted candidate: {span(*band[0])} if the {KNOBS[name]} is 0, "
            f"{span(*band[-1])} if it is 1."
        )
        points = [(x, least) for x, (least, _) in zip(self.axes[name], band, strict=True)]
        mark = None if now is None else (now, f"in force: {now:g}")
        frame = Frame(f"Yield over the {KNOBS[name]}", desc, KNOBS[name], "documents")
        return Lines(frame, [Line("accepted", "accepted", points, band)], mark)


def measure(document: int, round: Round) -> MeasuredRound | None:
    """Return a round's scores; None without attempts or if a reviewer wants another version anyway (legal)."""
    if round.candidate is None or round.verdict.failure is Failure.IMPROVE:
        return None
    sides = (round.weak, round.strong)
    weak, strong = (tuple(scores(round.candidate, [a for a in side if a.is_measured])) for side in sides)
    cut_off = (count_cut_off(round.weak), count_cut_off(round.strong))
    return MeasuredRound(document, weak, strong, cut_off) if weak else None


def thresholds(gate: Gate) -> dict[str, float | None]:
    """Return the three thresholds that are varied, as the gate sets them."""
    weak = gate.weak_mean_below if gate.weak_mean_below is not None else gate.weak_mean_at_most
    return {"weak": weak, "strong": gate.strong_mean_at_least, "gap": gate.gap_at_least}


def count(rounds: Sequence[MeasuredRound], domain: DomainConfig, axes: tuple[Axis, Axis, Axis]) -> AcceptedCounts:
    """Count the accepted documents at every point of the axes weak, strong and gap."""
    planned, gate = (domain.weak_attempts, domain.strong_attempts), domain.presets[domain.preset]
    points = product(*(range(len(axis)) for axis in axes))
    gates = {at: change_thresholds(gate, *values) for at, values in zip(points, product(*axes), strict=True)}

    @cache  # with few attempts, many candidates have the same scores
    def decide(weak: Scores, strong: Scores, cut_off: tuple[int, int]) -> list[tuple[Cell, bool | None]]:
        pairs = ((cell, gates[tuple(part.start for part in cell)]) for cell in _split(axes, weak, strong, planned))
        return [(cell, decide_measured(weak, strong, planned, gate, cut_off).accepted) for cell, gate in pairs]

    shape = tuple(map(len, axes))
    counts = AcceptedCounts(np.zeros(shape, int), np.zeros(shape, int))
    for _, group in groupby(rounds, key=lambda measured: measured.document):
        least, most = np.zeros(shape, bool), np.zeros(shape, bool)
        for measured in group:
            weak, strong = (tuple(sorted(side)) for side in (measured.weak, measured.strong))
            for cell, accepted in decide(weak, strong, measured.cut_off):
                least[cell] |= accepted is True
                most[cell] |= accepted is not False
        counts.least[least] += 1
        counts.most[most] += 1
    return counts


def change_thresholds(gate: Gate, weak: float | None, strong: float | None, gap: float | None) -> Gate:
    """Return the gate with other thresholds; a strict bound stays strict."""
    bound = "weak_mean_below" if gate.weak_mean_below is not None else "weak_mean_at_most"
    changes = {bound: weak, "strong_mean_at_least": strong, "gap_at_least": gap}
    return replace(gate, **{name: value for name, value in changes.items() if value is not None})


def span(least: int, most: int) -> str:
    """Write a count that is known, or else the two it lies between."""
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _split(
    axes: tuple[Axis, ...], weak: Sequence[Fraction], strong: Sequence[Fraction], planned: tuple[int, int]
) -> Iterator[Cell]:
    """Cut the axes into boxes with one verdict each: inside a box every threshold compares alike with the scores."""
    (weak_low, weak_high), (strong_low, strong_high) = (_reach(weak, planned[0]), _reach(strong, planned[1]))
    ends = ((weak_low, weak_high), (strong_low, strong_high), (strong_low - weak_high, strong_high - weak_low))
    return product(*(_stretches(axis, values) for axis, values in zip(axes, ends, strict=True)))


def _reach(scores: Sequence[Fraction], planned: int) -> tuple[Fraction, Fraction]:
    """Return the lowest and the highest mean that the missing attempts can still lead to."""
    missing = planned - len(scores)
    return mean([*scores, *[Fraction(0)] * missing]), mean([*scores, *[Fraction(1)] * missing])


def _stretches(axis: Axis, ends: Sequence[Fraction]) -> list[slice]:
    values = _exact(axis)
    if not values:
        return [slice(0, 1)]
    cuts = sorted({0, len(values), *(cut(values, end) for end in ends for cut in (bisect_left, bisect_right))})
    return [slice(low, high) for low, high in pairwise(cuts)]


@cache
def _exact(axis: Axis) -> list[Fraction]:
    return [Fraction(str(value)) for value in axis if value is not None]
