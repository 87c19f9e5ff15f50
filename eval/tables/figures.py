"""Draws learning curves (the paper's Figure 3) and pass rates (Table 7, Figure 6), and lists points in tables."""

from pathlib import Path

from autodata.meta.search import ITERATIONS
from autodata.recipes.evaluation import TableRecipe
from autodata.report.charts import Frame, Line, Lines, series_style
from autodata.report.curves import Curves, draw_rates, list_pass_rates, read_curves, save_png, write_milestones
from autodata.run.records import LINE, read_records
from autodata.stats.writing import DASH, write_points
from eval.tables.cells import HELD_OUT, ResultTable, papers, read_finished


def learning_curves(recipe: TableRecipe) -> list[ResultTable]:
    """Draw the score on each held-out set over training steps, and list each run's first, best and last point."""
    runs = [(row.label, read_curves(Path(row.run)) if read_finished(row) else Curves()) for row in recipe.rows]
    scores = [(label, curves.watch("score")) for label, curves in runs]
    sets = list(dict.fromkeys([*HELD_OUT, *(name for _, points in scores for name in points)]))
    rows = [
        [label, name, *(write_milestones(points[name]) if name in points else [DASH] * 3)]
        for label, points in scores
        for name in sets
    ]
    charts = []
    for name in sets:
        watched = [(label, points[name]) for label, points in scores if name in points]
        lines = [Line(label, series_style(number), points) for number, (label, points) in enumerate(watched)]
        charts += [Lines(Frame(name, "", "step", "mean score"), lines, extra=(1,))] if lines else []
    return [ResultTable([["model", "set", "first", "best", "last"], *rows], _save(recipe, charts))]


def pass_rate(recipe: TableRecipe) -> list[ResultTable]:
    """List the first and the best pass rate of a run of autodata.meta, the only row, and the paper's; draw all."""
    (row,) = recipe.rows
    points = list_pass_rates(read_records(Path(row.run) / ITERATIONS, LINE)) if read_finished(row) else []
    chosen = [points[0], max(points, key=lambda point: point[1])] if points else []
    rows = [[str(iteration), write_points(rate), ""] for iteration, rate in chosen] or [[DASH, DASH, ""]]
    rows += [[str(iteration), "", papers(recipe, "%", iteration)] for iteration in recipe.paper.get("%", {})]
    header = ["iteration", "validation pass rate, %", "the paper's, %"]
    return [ResultTable([header, *rows], _save(recipe, [draw_rates(points)] if points else []))]


def _save(recipe: TableRecipe, charts: list[Lines]) -> list[str]:
    """Draw the picture, if there is anything to draw, and say where it is."""
    path = Path(recipe.output).with_suffix(".png")
    if charts:
        save_png(charts, path)
    return [f"Picture: {path}"] if charts else []
