"""Writes tables in the shape of the paper's from finished runs, as Markdown, CSV and LaTeX.

A missing run is a dash, with the command that makes it below the table.

python -m eval.tables recipes/demo/table1.yaml [key=value …]
python -m eval.tables recipes/tables                              # all tables and figures of a folder
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas

from autodata import command
from autodata.config import RecipeError, load
from autodata.recipes.evaluation import TableRecipe
from autodata.stats.writing import write_table
from eval.tables.cells import ResultTable, note_papers, read_finished
from eval.tables.data import data_quality, learning_curves, pass_rate, question_types
from eval.tables.rows import check_rows, note_outcomes
from eval.tables.scores import attribution, by_subset, held_out, prbench, truncation

SHAPES: dict[str, Callable[[TableRecipe], list[ResultTable]]] = {
    "data quality": data_quality,
    "held-out": held_out,
    "prbench": prbench,
    "subsets": by_subset,
    "pass rate": pass_rate,
    "truncation": truncation,
    "attribution": attribution,
    "question types": question_types,
    "learning curves": learning_curves,
}


def build(recipe: TableRecipe) -> list[ResultTable]:
    """Build the main table and the tables that stand below it. Raises RecipeError, RunError."""
    if recipe.shape not in SHAPES:
        raise RecipeError(f"shape={recipe.shape}: choose one of {', '.join(SHAPES)}")
    if not recipe.rows:
        raise RecipeError("rows: name the runs of the table")
    columns = {column for cells in recipe.paper.values() for column in cells}
    if unknown := [column for column in recipe.one_reader if column not in columns]:
        raise RecipeError(f"one_reader: the paper's cells have no {', '.join(unknown)}; choose columns of `paper`")
    notes = check_rows(recipe.rows) + note_outcomes(recipe.rows)
    first, *others = SHAPES[recipe.shape](recipe)
    return [replace(first, notes=[*first.notes, *notes]), *others]


def render(recipe: TableRecipe, tables: Sequence[ResultTable]) -> str:
    """Write title and tables in Markdown, then where the paper's numbers come from and which runs are missing."""
    parts = [f"### {recipe.title}\n"]
    for table in tables:
        parts += [f"{table.title}:\n"] if table.title else []
        parts += [write_table(table.rows) + "\n", *(["\n".join(table.notes).strip() + "\n"] if table.notes else [])]
    missing = [
        f"- {row.label}: no finished run in {row.run}; make it with `{row.command}`"
        for row in recipe.rows
        if not read_finished(row)
    ]
    return "\n".join([*parts, *(f"{note}\n" for note in note_papers(recipe)), "\n".join(missing)]).strip() + "\n"


def print_table(recipe: TableRecipe) -> None:
    """Print the tables and write them to the recipe's output: Markdown with all, CSV and LaTeX for each table."""
    tables = build(recipe)
    text, output = render(recipe, tables), Path(recipe.output)
    print(text)
    try:
        _write(tables, text, output)
    except OSError as error:
        raise RecipeError(f"output={output}: {error.strerror}; name a file that can be written") from error


def _write(tables: Sequence[ResultTable], text: str, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    for number, table in enumerate(tables):
        path = output.with_stem(f"{output.stem}_differences") if number else output
        frame = pandas.DataFrame(table.rows[1:], columns=table.rows[0])
        frame.to_csv(path.with_suffix(".csv"), index=False)
        frame.to_latex(path.with_suffix(".tex"), index=False, escape=True)


def find_recipes(path: Path) -> list[Path]:
    """List the recipe itself, or every table and figure of a folder by number. Raises RecipeError."""
    if not path.is_dir():
        return [path]
    recipes = [recipe for kind in ("table", "figure") for recipe in path.glob(f"{kind}*.yaml")]
    if not recipes:
        raise RecipeError(f"{path}: no table*.yaml or figure*.yaml in this folder")
    return sorted(recipes, key=lambda recipe: (recipe.stem[0] == "f", len(recipe.stem), recipe.stem))


@command.report_errors()
def main() -> None:
    recipe, *changes = command.read_recipe(__doc__)
    for path in find_recipes(Path(recipe)):
        print_table(load(TableRecipe, [str(path), *changes]))
