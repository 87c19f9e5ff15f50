"""Numbers with their intervals beneath each other on one scale; templates/charts.j2 draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

from autodata.report.charts import Scale, cover
from autodata.stats.intervals import Estimate, write_interval


@dataclass(frozen=True)
class Row:
    """A number and whose it is; without a number the row has a dash."""

    name: str
    found: Estimate | None
    style: str = "accent"
    note: str = ""


@dataclass(frozen=True)
class Forest:
    """Rows that are compared."""

    title: str
    rows: Sequence[Row]
    is_share: bool = True  # then the scale goes from 0 to 1 at least

    @property
    def x(self) -> Scale:
        ends = [end for row in self.rows if row.found for end in (row.found.value, row.found.low, row.found.high)]
        return cover([*(end for end in ends if end is not None), *([0, 1] if self.is_share else [])], 0, 100)


def write_estimate(found: Estimate | None) -> str:
    """A number with its 95 % interval and number of documents, to three digits behind the point."""
    if found is None:
        return "–"
    return write_fraction(found.value) + write_interval(found, write_fraction)


def write_difference(found: Estimate | None) -> str:
    """The same with its sign."""
    return ("+" if found and found.value >= 0 else "") + write_estimate(found)


def write_fraction(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"
