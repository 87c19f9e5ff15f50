"""Writes a table as a CSV file, with a column for each part of its numbers, and as LaTeX that can be pasted."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from autodata.eval.tables.numbers import PARTS, split_cell

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "†": r"\textdagger{}", "·": r"\textperiodcentered{}",
    "–": r"\textendash{}", "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "×": r"$\times$", "\n": " ",
})  # fmt: skip
_MINUS = re.compile(r"(?<![\w.-])-(?=\d)")  # the sign of a number, not a hyphen


def write_csv(rows: Sequence[Sequence[str]]) -> str:
    """Write the table with its numbers alone: lower and upper bounds, n and p have columns of their own."""
    text = io.StringIO()
    columns = [column for cells in zip(*rows, strict=True) for column in _split_column(*cells)]
    csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
    return text.getvalue()


def _split_column(header: str, *cells: str) -> Iterator[list[str]]:
    """Make a column for each part that the cells have; one for notes only if there are any."""
    parts = [split_cell(cell) for cell in cells]
    for name in PARTS:
        values = [cell.get(name, "") for cell in parts]
        if name == "value" or (any(name in cell for cell in parts) and (name != "note" or any(values))):
            yield [header if name == "value" else f"{header} {name}", *values]


def write_latex(rows: Sequence[Sequence[str]], caption: str, label: str) -> str:
    """Write a table with rules of the package booktabs; the first row is its header."""
    header, *others = map(_write_row, rows)
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9.-]+', '-', label)}}}",
        rf"\begin{{tabular}}{{{'l' * len(rows[0])}}}",
        *(r"\toprule", header, r"\midrule", *others, r"\bottomrule"),
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _write_row(cells: Sequence[str]) -> str:
    line = " & ".join(map(escape_latex, cells)) + r" \\"
    return f"{{}}{line}" if line[0] in "[*" else line  # else they would belong to the line break before them


def escape_latex(text: str) -> str:
    """Escape what LaTeX reads as a command, and set the minus of a number as one."""
    return _MINUS.sub("$-$", str(text).translate(_LATEX))
