"""Builds tables and figures about data and training (the paper's Tables 1, 3, 7 and 11, Figures 3 and 6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import scipy  # loads its submodules on first use

from autodata.data.examples import EXAMPLES, STATISTICS
from autodata.data.statistics import METRICS, measure_intervals
from autodata.eval.question_types import RESULTS, TYPES
from autodata.eval.tables.cells import HELD_OUT, ResultTable, papers, read_finished, read_result
from autodata.eval.tables.numbers import Cell, count, estimate, milestone
from autodata.meta.search import ITERATIONS
from autodata.recipes.evaluation import TableRecipe
from autodata.report.charts import Frame, Line, Lines, series_style
from autodata.report.curves import Curves, draw_rates, find_milestones, list_pass_rates, read_curves, save_png
from autodata.run.records import LINE, read_records
from autodata.stats.intervals import Estimate
from autodata.stats.writing import DASH, write_points
from autodata.types import EXAMPLE


def data_quality(recipe: TableRecipe) -> list[ResultTable]:
    """Compare the data of the arms, one column each. The recipe's only row is a run of autodata.dataset."""
    (row,) = recipe.rows
    statistics = read_result(row, STATISTICS) or {"cot": {}, "agentic": {}}
    examples = read_records(Path(row.run) / EXAMPLES, EXAMPLE) if read_finished(row) else []
    arms = sorted(statistics, key=lambda arm: arm != "cot")
    intervals = {arm: measure_intervals([e for e in examples if e.arm == arm]) for arm in arms}
    columns = [*statistics.values(), *recipe.paper.values()]
    rows = []
    for metric in [m for m in METRICS if any(cells.get(m) is not None for cells in columns)] or METRICS:
        ours = [_metric_cell(statistics[arm].get(metric), intervals[arm].get(metric)) for arm in arms]
        rows.append([metric, *ours, *(papers(recipe, arm, metric) for arm in recipe.paper)])
    return [ResultTable([["metric", *arms, *(f"{arm}, the paper's" for arm in recipe.paper)], *rows])]


def _metric_cell(value: float | None, interval: Sequence[Any] | None) -> Cell:
    """Write a metric; a mean has an interval, as `measure_intervals` returns it."""
    if value is None:
        return estimate(None)
    return count(value) if interval is None else estimate(Estimate(value, *interval))


def question_types(recipe: TableRecipe) -> list[ResultTable]:
    """Show each type and, indented, its subtypes, with their shares in % of the questions that have a label."""
    (row,) = recipe.rows
    counts = read_result(row, RESULTS)
    rows = [["type", "questions", "%", "the paper's %"]]
    for type, subtypes in TYPES.items():
        lines = [("types", type, type), *(("subtypes", subtype, f"· {subtype}") for subtype in subtypes)]
        rows += [[title, *_type_cells(counts, kind, name), papers(recipe, "%", name)] for kind, name, title in lines]
    unlabelled = counts.get("unlabelled", 0)
    note = f"Questions without a readable label, which no share includes: {unlabelled:,}."
    return [ResultTable(rows, [note] if unlabelled else [])]


def _type_cells(counts: Mapping[str, Any], kind: str, name: str) -> list[str]:
    if not counts.get("labelled"):
        return [DASH, estimate(None)]
    number, labelled = counts[kind][name], counts["labelled"]
    interval = scipy.stats.binomtest(number, labelled).proportion_ci(method="wilson")
    share = Estimate(number / labelled, interval.low, interval.high, labelled)
    return [str(number), estimate(share, write_points)]


def learning_curves(recipe: TableRecipe) -> list[ResultTable]:
    """Draw the score on each held-out set over training steps, and list each run's first, best and last point."""
    runs = [(row.label, read_curves(Path(row.run)) if read_finished(row) else Curves()) for row in recipe.rows]
    scores = [(label, curves.watch("score")) for label, curves in runs]
    sets = list(dict.fromkeys([*HELD_OUT, *(name for _, points in scores for name in points)]))
    rows = [
        [label, name, *map(milestone, find_milestones(points[name]) if name in points else [None] * 3)]
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
