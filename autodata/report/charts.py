"""Describes charts: what each shows and where its marks lie. templates/charts.j2 draws them as SVG.

A `style` is a name in style.css that gives marks their colour: `accent`, `muted`, or the name of a verdict.
"""

import math
from collections import Counter, namedtuple
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from autodata.stats.intervals import Estimate


@dataclass(frozen=True)
class Scale:
    """A linear axis: values from `low` to `high` are drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_count: bool = False  # every tick is then a whole number

    def at(self, value: float) -> float:
        """Return the position of a value, to a tenth of a unit."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """The values of the ticks: about five round numbers inside the axis."""
        step = _round_step(self.high - self.low, self.is_count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(n * step, 10) for n in range(first, last + 1)]


def cover(values: Iterable[float], start: float, end: float) -> Scale:
    """Make an axis that includes zero and all values and ends at round numbers."""
    numbers = list(values)
    low, high = min([0, *numbers]), max([0, *numbers])
    if high - low < 1e-12:
        high = low + 1
    is_count = all(float(value).is_integer() for value in numbers)
    step = _round_step(high - low, is_count)
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, start, end, is_count)


def _round_step(length: float, is_count: bool) -> float:
    """Return 1, 2 or 5 times a power of ten, the least that is at least a fifth of `length`; for counts at least 1."""
    least = length / 5
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    return max(step, 1) if is_count else step


# The plot area inside a picture of 560 × 290 units.
LEFT, RIGHT, TOP, BOTTOM = 52, 548, 30, 236
_LABELS = 12  # maximum number of labels below the axis
ChartTable = tuple[Sequence[str], Sequence[Sequence[object]]]  # the header and the rows


@dataclass(frozen=True)
class Frame:
    """The texts of a chart: title, description and labels of the axes."""

    title: str
    desc: str  # says what the chart shows, for readers who do not see it
    x_label: str
    y_label: str


@dataclass(frozen=True)
class Series:
    """One of the series that a chart of columns shows, with one value per column."""

    name: str
    style: str
    values: Sequence[float]


Box = namedtuple("Box", "x y width height style note")  # a rectangle to draw


@dataclass(frozen=True)
class Columns:
    """A histogram; with several series, stacked columns."""

    frame: Frame
    labels: Sequence[object]
    series: Sequence[Series]

    @property
    def y(self) -> Scale:
        return cover([sum(values) for values in zip(*(s.values for s in self.series), strict=True)], BOTTOM, TOP)

    @property
    def boxes(self) -> Iterator[Box]:
        """The parts of every column, from the axis upwards."""
        y, width = self.y, min(self._step * 0.72, 44)
        for at, label in enumerate(self.labels):
            below: float = 0
            for series in self.series:
                value = series.values[at]
                if value:
                    high, low = y.at(below + value), y.at(below)
                    left, note = round(self._middle(at) - width / 2, 1), f"{label}, {series.name}: {value:,}"
                    yield Box(left, high, round(width, 1), round(low - high, 1), series.style, note)
                below += value

    @property
    def ticks(self) -> list[tuple[float, object]]:
        """The labels below the axis, no more than fit."""
        every = -(-len(self.labels) // _LABELS)
        return [(round(self._middle(at), 1), label) for at, label in enumerate(self.labels) if at % every == 0]

    @property
    def legend(self) -> list[tuple[str, str]]:
        return [(s.style, s.name) for s in self.series] if len(self.series) > 1 else []

    @property
    def table(self) -> ChartTable:
        rows = [[label, *(s.values[at] for s in self.series)] for at, label in enumerate(self.labels)]
        return [self.frame.x_label, *(s.name for s in self.series)], rows

    @property
    def _step(self) -> float:
        return (RIGHT - LEFT) / max(len(self.labels), 1)

    def _middle(self, at: int) -> float:
        return LEFT + self._step * (at + 0.5)


def draw_histogram(frame: Frame, sides: Iterable[tuple[str, str, Sequence[float]]]) -> Columns:
    """Draw how many scores of each side (its name, style and scores) lie in each tenth of [0, 1]."""
    series = [Series(name, style, count_bins(scores)) for name, style, scores in sides]
    return Columns(frame, [f"{n / 10:g}" for n in range(10)], series)


def count_bins(scores: Sequence[float]) -> list[int]:
    """Count the scores in each tenth of [0, 1]; a score of 1 is in the last."""
    counts = Counter(min(max(int(score * 10 + 1e-9), 0), 9) for score in scores)
    return [counts[n] for n in range(10)]


@dataclass(frozen=True)
class Point:
    """A mark of a scatter plot; its area shows how many items it stands for."""

    x: float
    y: float
    style: str
    note: str
    count: int = 1

    @property
    def radius(self) -> float:
        return round(min(3 + (self.count - 1) ** 0.5, 14), 1)


@dataclass(frozen=True)
class Scatter:
    """A scatter plot of two scores, with a region of the plane marked."""

    frame: Frame
    points: Sequence[Point]
    region: Sequence[tuple[float, float]]  # its corners; empty: no region is marked
    legend: Sequence[tuple[str, str]]  # style and name
    table: ChartTable

    x = Scale(0, 1, LEFT, RIGHT)
    y = Scale(0, 1, BOTTOM, TOP)

    @property
    def corners(self) -> str:
        return " ".join(f"{self.x.at(x)},{self.y.at(y)}" for x, y in self.region)


@dataclass(frozen=True)
class Line:
    """One line of a chart. Values that are not known exactly have a band: the lowest and highest they can be."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()  # lowest and highest, one per point


@dataclass(frozen=True)
class Lines:
    """A chart of lines, each with its band, and a mark on the x axis."""

    frame: Frame
    lines: Sequence[Line]
    mark: tuple[float, str] | None = None  # a value of x that gets a vertical line, and its name
    extra: Sequence[float] = ()  # values that the y axis must reach

    @property
    def x(self) -> Scale:
        every = [x for line in self.lines for x, _ in line.points]
        low, high = min(every, default=0), max(every, default=1)
        return Scale(low, high if high > low else low + 1, LEFT, RIGHT)

    @property
    def y(self) -> Scale:
        every = [y for line in self.lines for pair in (*line.points, *line.band) for y in pair[1:]]
        return cover([*every, *self.extra], BOTTOM, TOP)

    @property
    def legend(self) -> list[tuple[str, str]]:
        return [(line.style, line.name) for line in self.lines] if len(self.lines) > 1 else []

    @property
    def table(self) -> ChartTable:
        """One row per x that any line has; a line without a value there shows a dash."""
        head = [self.frame.x_label]
        xs = sorted({x for line in self.lines for x, _ in line.points})
        cells: dict[float, list[object]] = {x: [x] for x in xs}
        for line in self.lines:
            names = [line.name, f"{line.name}, at least", f"{line.name}, at most"] if line.band else [line.name]
            band = line.band or [()] * len(line.points)
            values = {x: [y, *more] for (x, y), more in zip(line.points, band, strict=True)}
            head += names
            for x, row in cells.items():
                row += values.get(x, [None] * len(names))
        return head, list(cells.values())

    def path(self, line: Line) -> str:
        return "M" + "L".join(f"{self.x.at(x)} {self.y.at(y)}" for x, y in line.points) if line.points else ""

    def area(self, line: Line) -> str:
        """Return the outline of a band: along its lowest values and back along its highest."""
        pairs = list(zip(line.points, line.band, strict=True))
        lowest, highest = ([(x, ends[side]) for (x, _), ends in pairs] for side in (0, 1))
        return " ".join(f"{self.x.at(x)},{self.y.at(y)}" for x, y in [*lowest, *reversed(highest)])


def series_style(number: int) -> str:
    """Return a colour for one of several series that have no colour of their own."""
    return f"series-{number % 6}"


@dataclass(frozen=True)
class Step:
    """One step of a funnel."""

    name: str
    count: int
    style: str = "accent"


def widths(steps: Sequence[Step]) -> list[tuple[Step, float, float | None]]:
    """Return each step with its width in percent of the widest, and its share of the step before."""
    widest = max((step.count for step in steps), default=0) or 1
    shares = [None, *(later.count / earlier.count if earlier.count else None for earlier, later in pairwise(steps))]
    return [(step, round(100 * step.count / widest, 2), share) for step, share in zip(steps, shares, strict=False)]


@dataclass(frozen=True)
class ForestRow:
    """A row of a forest plot: a name and its estimate. Without an estimate the row shows a dash."""

    name: str
    estimate: Estimate | None
    style: str = "accent"
    note: str = ""


@dataclass(frozen=True)
class Forest:
    """A forest plot: estimates with their intervals, one below the other."""

    title: str
    rows: Sequence[ForestRow]
    is_share: bool = True  # the scale then covers at least 0 to 1

    @property
    def x(self) -> Scale:
        estimates = [row.estimate for row in self.rows if row.estimate]
        ends = [end for e in estimates for end in (e.value, e.low, e.high) if end is not None]
        return cover([*ends, *([0, 1] if self.is_share else [])], 0, 100)
