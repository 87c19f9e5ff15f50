"""Writes numbers, estimates, durations and tables, in one way for pages, cards and the terminal."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from autodata.stats.intervals import Estimate

if TYPE_CHECKING:
    from rich.table import Table

DASH = "–"  # shown if there is no number
Writer = Callable[[float], str]


def write_number(value: object) -> str:
    """Writes a count in full and any other number to three digits; text stays as it is."""
    if value is None:
        return DASH
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3g}"


def write_decimal(value: float | None) -> str:
    """Writes a score to three decimals; a number of 10 or more is no score and gets one decimal."""
    if value is None:
        return DASH
    return f"{value:.3f}" if abs(value) < 10 else f"{value:,.1f}"


def write_points(share: float) -> str:
    """Writes a share in points of 100, for a table whose header has the % sign."""
    return f"{100 * share:.2f}"


def write_percent(share: float | None, decimals: int = 0) -> str:
    """Writes a share of 1 as `12 %`."""
    return DASH if share is None else f"{100 * share:.{decimals}f} %"


def write_usd(nano: float | None) -> str:
    """Writes nano-dollars as `$12.35`, below a dollar with three digits: `$0.00512`."""
    if nano is None:
        return DASH
    usd = Decimal(round(nano)) / 10**9
    digits = max(2, 2 - usd.adjusted()) if usd else 2
    return f"${usd:,.{digits}f}"


def write_count(count: int, noun: str, plural: str = "") -> str:
    """Writes `1 document`, `2,323 calls` or, with a plural of its own, `2 replies`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def write_share(count: int, total: int) -> str:
    """Writes `3 of 8 (37.5 %)`."""
    return f"{count:,} of {total:,}" + (f" ({write_percent(count / total, 1)})" if total else "")


def write_duration(seconds: float) -> str:
    """Writes `1 h 05 min`, `3 min 20 s` or `12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def write_estimate(estimate: Estimate | Mapping[str, Any] | None, write: Writer = write_decimal) -> str:
    """Writes a number with its 95 % interval and number of documents; the estimate may come straight from a file."""
    if estimate is None:
        return DASH
    estimate = estimate if isinstance(estimate, Estimate) else Estimate(**estimate)
    return (DASH if estimate.value is None else write(estimate.value)) + write_interval(estimate, write)


def write_difference(estimate: Estimate | None, write: Writer = write_decimal) -> str:
    """Writes an estimate with its sign."""
    sign = "+" if estimate and estimate.value is not None and estimate.value >= 0 else ""
    return sign + write_estimate(estimate, write)


def write_interval(estimate: Estimate, write: Writer) -> str:
    """Writes the interval that follows a number: ` [0.021, 0.412] n=6`, or the reason why there is none."""
    size = "" if estimate.documents is None else f"n={estimate.documents}"
    if estimate.low is not None and estimate.high is not None:
        return f" [{write(estimate.low)}, {write(estimate.high)}] {size}".rstrip()
    return f" ({', '.join(filter(None, (estimate.reason, size)))})" if estimate.reason else ""


def escape_cell(text: str) -> str:
    """Makes a text fit into one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def write_row(cells: Sequence[object], escape: Callable[[str], str] = escape_cell) -> str:
    """Writes one line of a Markdown table; cells may be numbers."""
    return f"| {' | '.join(escape(write_number(cell)) for cell in cells)} |"


def write_table(
    rows: Sequence[Sequence[object]], escape: Callable[[str], str] = escape_cell, *, numbers: bool = False
) -> str:
    """Writes a Markdown table; the first row is its header. `numbers` right-aligns all columns but the first."""
    header, *others = (write_row(row, escape) for row in rows)
    rule = "|---" + ("|---:" if numbers else "|---") * (len(rows[0]) - 1) + "|"
    return "\n".join([header, rule, *others])


def make_table(*heads: str, title: str | None = None) -> "Table":
    """Make a table for the terminal. On a narrow one its cells fold; rich would cut names and numbers off."""
    from rich.table import Column, Table  # slow to import, needed here only

    return Table(*(Column(head, overflow="fold") for head in heads), title=title)
