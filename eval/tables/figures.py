"""Pictures, and their points as tables: learning curves (paper's Figure 3), pass rate (Table 7, Figure 6)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from autodata.recipes.evaluation import TableRecipe, TableRow
from eval.tables.cells import DASH, HELD_OUT, Table, is_finished, number, papers, percent

CURVES = "curve.json"  # of training.grpo
ITERATIONS = "iterations.jsonl"  # of autodata.meta: {"iteration": 0, "best_pass_rate": 0.62, …}, in [0, 1]
_MARGIN = 0.02


def learning_curves(recipe: TableRecipe) -> list[Table]:
    """Score on the held-out sets over training steps, one line per training run and one panel per set.

    The table has the first, the best and the last point of each line.
    """
    watched = [_read_watched(row) for row in recipe.rows]
    sets = list(dict.fromkeys([*HELD_OUT, *(name for of in watched for name in of if name != "probe")]))
    rows = []
    for row, of in zip(recipe.rows, watched, strict=True):
        for name in sets:
            points = [point for point in of.get(name, []) if point.get("score") is not None]
            chosen = [points[0], max(points, key=lambda p: p["score"]), points[-1]] if points else []
            cells = [f"{number(point['score'])} (step {point['step']})" for point in chosen] or [DASH] * 3
            rows.append([row.label, name, *cells])
    if any(watched):
        _draw_curves(recipe, watched, sets)
    return [Table([["model", "set", "first", "best", "last"], *rows], _point_to_picture(recipe, any(watched)))]


def _read_watched(row: TableRow) -> dict[str, list[dict[str, Any]]]:
    if not is_finished(row):
        return {}
    return dict(json.loads((Path(row.run) / CURVES).read_text(encoding="utf-8"))["watched"])


def _draw_curves(recipe: TableRecipe, watched: Sequence[dict[str, list[dict[str, Any]]]], sets: Sequence[str]) -> None:
    figure, panels = pyplot.subplots(1, len(sets), figsize=(5 * len(sets), 4), squeeze=False)
    for name, axes in zip(sets, panels[0], strict=True):
        for row, of in zip(recipe.rows, watched, strict=True):
            points = [(p["step"], p["score"]) for p in of.get(name, []) if p.get("score") is not None]
            axes.plot([step for step, _ in points], [score for _, score in points], marker="o", label=row.label)
        axes.set(xlabel="step", ylabel="mean score", title=name, ylim=(-_MARGIN, 1 + _MARGIN))
        axes.legend(loc="best", fontsize="small")
    _save(figure, recipe)


def pass_rate(recipe: TableRecipe) -> list[Table]:
    """The best validation pass rate over the iterations of the only row, a run of autodata.meta; the paper's points.

    The table has the start and where the best was reached; the picture has every iteration.
    """
    (row,) = recipe.rows
    points = _read_iterations(row)
    chosen = [points[0], max(points, key=lambda point: point["best_pass_rate"])] if points else []
    rows = [[str(p["iteration"]), percent(p["best_pass_rate"]), ""] for p in chosen] or [[DASH, DASH, ""]]
    rows += [[str(iteration), "", papers(recipe, "%", iteration)] for iteration in recipe.paper.get("%", {})]
    if points:
        figure, axes = pyplot.subplots(figsize=(6, 4))
        axes.step([p["iteration"] for p in points], [100 * p["best_pass_rate"] for p in points], where="post",
                  label=row.label)  # fmt: skip
        axes.set(xlabel="iteration", ylabel="validation pass rate, %", ylim=(0, 100))
        axes.legend(loc="best", fontsize="small")
        _save(figure, recipe)
    header = ["iteration", "validation pass rate, %", "the paper's, %"]
    return [Table([header, *rows], _point_to_picture(recipe, bool(points)))]


def _read_iterations(row: TableRow) -> list[dict[str, Any]]:
    if not is_finished(row):
        return []
    lines = (Path(row.run) / ITERATIONS).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _picture(recipe: TableRecipe) -> Path:
    return Path(recipe.output).with_suffix(".png")


def _point_to_picture(recipe: TableRecipe, is_drawn: bool) -> list[str]:
    return [f"Picture: {_picture(recipe)}"] if is_drawn else []


def _save(figure: pyplot.Figure, recipe: TableRecipe) -> None:
    path = _picture(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
