"""Writes tables in the shape of the paper's from finished runs, as Markdown, CSV and LaTeX.

A missing run is a dash, with the command that makes it below the table.

python -m autodata.eval.tables recipes/demo/table1.yaml [key=value …]
python -m autodata.eval.tables recipes/tables                              # all tables and figures of a folder
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from autodata import command
from autodata.config import RecipeError, load
from autodata.eval.tables.cells import ResultTable, check_papers, note_papers, read_finished
from autodata.eval.tables.data import data_quality, learning_curves, pass_rate, question_types
from autodata.eval.tables.files import write_csv, write_latex
from autodata.eval.tables.made import note_made
from autodata.eval.tables.numbers import split_cell
from autodata.eval.tables.rows import check_rows, note_outcomes
from autodata.eval.tables.scores import attribution, by_subset, held_out, prbench, truncation
from autodata.recipes.evaluation import TableRecipe, TableRow
from autodata.recipes.shipped import find_shipped
from autodata.stats.writing import write_table

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
    check_papers(recipe)
    notes = check_rows(recipe.rows) + note_outcomes(recipe.rows)
    first, *others = SHAPES[recipe.shape](recipe)
    return [replace(first, notes=[*first.notes, *notes]), *others]


def render(recipe: TableRecipe, tables: Sequence[ResultTable]) -> str:
    """Write title and tables in Markdown, then where the paper's numbers come from and which runs are missing."""
    parts = [f"### {recipe.title}\n"]
    for table in tables:
        parts += [f"{table.title}:\n"] if table.title else []
        parts += [write_table(table.rows) + "\n", *(["\n".join(table.notes).strip() + "\n"] if table.notes else [])]
    parts += [f"{note}\n" for note in note_papers(recipe)] + _list_missing(recipe.rows)
    return "\n".join(parts).strip() + "\n"


def _list_missing(rows: Sequence[TableRow]) -> list[str]:
    """Name the runs that are missing, and each command that makes some of them once."""
    missing: dict[str, list[TableRow]] = {}
    for row in rows:
        if not read_finished(row):
            missing.setdefault(row.command, []).append(row)
    lines = []
    for command_line, makes in missing.items():
        labels, runs = (", ".join(getattr(row, name) for row in makes) for name in ("label", "run"))
        lines.append(
            f"- {labels}: no finished run in {runs}; `{command_line}` makes {'them' if len(makes) > 1 else 'it'}"
        )
    return lines


def print_table(recipe: TableRecipe) -> None:
    """Print the tables and write them to the recipe's output: Markdown with all, CSV and LaTeX for each table."""
    tables = build(recipe)
    text, output = render(recipe, tables), Path(recipe.output)
    print(text)
    try:
        _write(recipe, tables, text)
        note_made(recipe)
    except OSError as error:
        raise RecipeError(f"output={output}: {error.strerror}; name a file that can be written") from error


def _write(recipe: TableRecipe, tables: Sequence[ResultTable], text: str) -> None:
    output = Path(recipe.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    for number, table in enumerate(tables):
        path = output.with_stem(f"{output.stem}_differences") if number else output
        latex = write_latex(table.rows, _caption(recipe, table), path.stem)
        path.with_suffix(".csv").write_text(write_csv(table.rows), encoding="utf-8")
        path.with_suffix(".tex").write_text(latex, encoding="utf-8")


def _caption(recipe: TableRecipe, table: ResultTable) -> str:
    """Say under a table that stands alone what it shows and where the paper's numbers come from."""
    has_intervals = any(split_cell(cell).get("lower") for row in table.rows for cell in row)
    intervals = "Brackets hold 95 % intervals, n counts source documents" if has_intervals else ""
    parts = (recipe.title, table.title, intervals, *note_papers(recipe))
    return " ".join(f"{part.rstrip('.')}." for part in parts if part)


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
    for path in find_recipes(Path(find_shipped(recipe))):
        print_table(load(TableRecipe, [str(path), *changes]))
