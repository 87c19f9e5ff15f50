"""Fills the cells of tables: reads runs and writes numbers, intervals and missing values as text."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.eval.sampled_answers import SampledAnswer, read_all
from autodata.eval.tables.numbers import Cell, papers_number
from autodata.fidelity import MARK, MARK_MEANS, PROVENANCE
from autodata.recipes.evaluation import TableRecipe, TableRow
from autodata.run.folder import read_manifest
from autodata.run.records import read_json
from autodata.serving.costs import LEDGER
from autodata.stats.writing import DASH

HELD_OUT = ("cot_test", "agentic_test")
COST = ["thousand tokens", "GPU-seconds"]


@dataclass(frozen=True)
class ResultTable:
    """A table as rows of text, the header first, and the notes to print below it."""

    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    title: str = ""  # set for tables below the main one


def read_finished(row: TableRow) -> dict[str, Any]:
    """Read the manifest of a finished run; empty if the run is missing or unfinished."""
    manifest = read_manifest(Path(row.run)) or {}
    return manifest if manifest.get("finished") else {}


def read_result(row: TableRow, name: str) -> dict[str, Any]:
    """Read a file of a finished run; empty if the run or the file is missing."""
    return (read_json(Path(row.run) / name) or {}) if read_finished(row) else {}


def read_answers(row: TableRow) -> dict[str, list[SampledAnswer]]:
    """Read the answers of a finished run, by task; empty if the run is missing."""
    return read_all(Path(row.run)) if read_finished(row) else {}


def with_papers(recipe: TableRecipe, ours: Sequence[list[str]], columns: Sequence[str]) -> list[list[str]]:
    """Put the paper's row beneath each of our rows that has the same label."""
    rows = []
    for row in ours:
        rows.append(row)
        if recipe.paper.get(row[0]):
            rows.append([f"{row[0]}, the paper's", *(papers(recipe, row[0], column) for column in columns)])
    return rows


def papers(recipe: TableRecipe, label: str, column: str) -> Cell:
    """Write a number of the paper as printed there, with a mark if only one account reports it; or `unknown`."""
    return papers_number(recipe.paper.get(label, {}).get(column), column in recipe.one_reader)


def check_papers(recipe: TableRecipe) -> None:
    """Check that the paper's numbers are written as it prints them. Raises RecipeError."""
    columns = {column for cells in recipe.paper.values() for column in cells}
    if unknown := [column for column in recipe.one_reader if column not in columns]:
        raise RecipeError(f"one_reader: the paper's cells have no {', '.join(unknown)}; choose columns of `paper`")
    for label, cells in recipe.paper.items():
        if column := next((column for column, number in cells.items() if isinstance(number, float)), None):
            raise RecipeError(
                f"paper.{label}.{column}={cells[column]}: write it in quotes, as the paper prints it, because "
                "a number loses the zeros at its end"
            )


def note_papers(recipe: TableRecipe) -> list[str]:
    """Say where the paper's numbers come from, and what the mark on a number means."""
    if not recipe.paper:
        return []
    marked = any(cells.get(column) is not None for cells in recipe.paper.values() for column in recipe.one_reader)
    return [f"The paper's cells are {PROVENANCE}" + (f" {MARK} {MARK_MEANS}" if marked else "")]


def cost(row: TableRow) -> list[str]:
    """Write the thousands of tokens and the GPU-seconds of a run; servers with unknown GPUs are left out."""
    costs = LEDGER.validate_python(read_finished(row).get("ledger", {})).values()
    seconds = [cost.gpu_seconds for cost in costs if cost.gpu_seconds is not None]
    tokens = f"{sum(cost.tokens for cost in costs) / 1000:.1f}" if costs else DASH
    return [tokens, f"{sum(seconds):.0f}" if seconds else DASH]
