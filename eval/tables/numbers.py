"""Writes the numbers of tables: as one text for readers, and in parts that get columns of their own in a CSV file."""

from collections.abc import Mapping
from typing import Any

from autodata.eval.statistics import LEVEL, Difference
from autodata.fidelity import MARK, MARK_MEANS
from autodata.report.curves import write_milestone
from autodata.stats.intervals import Estimate, read_estimate
from autodata.stats.writing import DASH, Writer, write_decimal, write_difference, write_estimate, write_number

PARTS = ("value", "lower", "upper", "n", "p", "step", "note")  # in the order of their columns


class Cell(str):
    """The text of a cell, and its parts by their names in PARTS; every part is text, and empty if it is unknown."""

    parts: Mapping[str, str]

    def __new__(cls, text: str, **parts: str) -> "Cell":
        cell = super().__new__(cls, text)
        cell.parts = parts
        return cell


def split_cell(cell: str) -> Mapping[str, str]:
    """Return the parts of a cell. A cell without parts is its value, and a dash is no value."""
    return cell.parts if isinstance(cell, Cell) else {"value": "" if cell == DASH else cell}


def count(value: float) -> Cell:
    """Write a number without an interval."""
    return Cell(write_number(value), value=_plain(value, write_number))


def estimate(measured: Estimate | Mapping[str, Any] | None, write: Writer = write_decimal) -> Cell:
    """Write an estimate with its interval and number of documents; it may come straight from a file."""
    measured = measured if isinstance(measured, Estimate) else read_estimate(measured)
    return Cell(write_estimate(measured, write), **_split(measured, write))


def difference(comparison: Difference | None, write: Writer = write_decimal) -> Cell:
    """Write a signed difference with its interval and p value."""
    if comparison is None:
        return Cell(DASH, **_split(None, write), p="")
    parts = _split(comparison.estimate, write)
    p, limit = DASH if comparison.p is None else f"{comparison.p:.4f}", _explain_p(comparison)
    text = f"{write_difference(comparison.estimate, write)}, p {p}{f' ({limit})' if limit else ''}"
    note = ", ".join(filter(None, (parts["note"], limit and f"p {limit}")))
    return Cell(text, **parts | {"p": p.strip(DASH), "note": note})


def milestone(point: tuple[int, float] | None) -> Cell:
    """Write a score with the step at which it was reached."""
    if point is None:
        return Cell(DASH, value="", step="")
    step, score = point
    return Cell(write_milestone(point), value=_plain(score, write_decimal), step=str(step))


def papers_number(printed: object, one_reader: bool) -> Cell:
    """Write a number of the paper as it is printed there, with a mark if only one account reports it."""
    if printed is None:
        return Cell("unknown", value="")
    note = {"note": MARK_MEANS} if one_reader else {}
    return Cell(f"{printed}{MARK if one_reader else ''}", value=str(printed), **note)


def _split(measured: Estimate | None, write: Writer) -> dict[str, str]:
    if measured is None:
        return dict.fromkeys(("value", "lower", "upper", "n", "note"), "")
    numbers = {"value": measured.value, "lower": measured.low, "upper": measured.high}
    parts = {name: "" if number is None else _plain(number, write) for name, number in numbers.items()}
    return parts | {"n": "" if measured.documents is None else str(measured.documents), "note": measured.reason}


def _plain(number: float, write: Writer) -> str:
    """Write a number with the digits of the table, but so that programs can read it."""
    return write(number).replace(",", "")


def _explain_p(comparison: Difference) -> str:
    """Say why the p value cannot be small, if so few documents changed."""
    least = 2.0 ** (1 - comparison.changed)  # the p if all documents differ in one direction
    if comparison.p is None or least < LEVEL:
        return ""
    few = {0: "no document differs", 1: "only 1 document differs"}
    return f"cannot be below {LEVEL}: {few.get(comparison.changed, f'only {comparison.changed} documents differ')}"
