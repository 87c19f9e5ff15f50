"""Runs → tables in the shape of the paper's, as Markdown, CSV and LaTeX. A missing run prints a dash and its command.

python -m eval.tables recipes/demo/table1.yaml [key=value …]
python -m eval.tables recipes/tables                              # all of a folder
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas

from autodata import store
from autodata.config import RecipeError, load
from autodata.dataset import METRICS, STATISTICS
from autodata.recipes import TableRecipe, TableRow
from autodata.store import RunError
from eval.attribution import Cause, attribute
from eval.generations import Generation, read_generations
from eval.run import PRBENCH, RESULTS
from eval.statistics import Estimate
from eval.truncation import measure_rate

DASH = "–"
HELD_OUT = ("cot_test", "agentic_test")


def data_quality(recipe: TableRecipe) -> list[list[str]]:
    """Paper's Tables 1 and 3: one column per arm; the recipe's only row is a run of autodata.dataset."""
    statistics = _read(recipe.rows[0], STATISTICS) or {"cot": {}, "agentic": {}}
    arms = sorted(statistics, key=lambda arm: arm != "cot")
    known = {metric for cells in [*statistics.values(), *recipe.paper.values()] for metric, value in cells.items()
             if value is not None}  # fmt: skip
    metrics = [metric for metric in METRICS if metric in known] or METRICS
    rows = [[metric, *(_number(statistics[arm].get(metric)) for arm in arms),
             *(_papers(cells.get(metric)) for cells in recipe.paper.values())] for metric in metrics]  # fmt: skip
    return [["metric", *arms, *(f"{arm}, the paper's" for arm in recipe.paper)], *rows]


def held_out(recipe: TableRecipe) -> list[list[str]]:
    """Paper's Table 2: one row per model, mean@k and best@k per set, with 95 % intervals."""
    results = [_read(row, RESULTS) or {} for row in recipe.rows]
    tasks = list(dict.fromkeys([*HELD_OUT, *(task for result in results for task in result)]))
    k = max((r["k"] for result in results for r in result.values()), default="k")
    names = [f"{task} {name}" for task in tasks for name in ("mean", "best")]
    header = ["model", *(f"{name}@{k}" for name in names), "truncated"]
    ours = [[row.label, *_cells(result, tasks)] for row, result in zip(recipe.rows, results, strict=True)]
    return [header, *_with_papers(recipe, ours, [*names, "truncated"])]


def truncation(recipe: TableRecipe) -> list[list[str]]:
    """Paper's Table 8: one row per model, the share of cut-off answers of each task and of all, in %."""
    ours = []
    for row in recipe.rows:
        tasks = _read_tasks(row)
        rates = [measure_rate(tasks[name]) if tasks.get(name) else None for name in (*HELD_OUT, "all")]
        ours.append([row.label, *(_percent(rate) for rate in rates)])
    return [["model", *(f"{name}, %" for name in (*HELD_OUT, "all"))], *_with_papers(recipe, ours, [*HELD_OUT, "all"])]


def attribution(recipe: TableRecipe) -> list[list[str]]:
    """Paper's Table 9: the first row is the base, every other one a model whose flips against it are explained."""
    base = _read_tasks(recipe.rows[0]).get("all")
    names = ["flips", *(f"{cause} %" for cause in Cause), "lost", "net", "flips over all pairs"]
    ours = []
    for row in recipe.rows[1:]:
        trained = _read_tasks(row).get("all")
        ours.append([row.label, *(_flips(base, trained) if base and trained else [DASH] * len(names))])
    return [["model", *names], *_with_papers(recipe, ours, names)]


def prbench(recipe: TableRecipe) -> list[list[str]]:
    """Paper's Tables 4 and 12: one row per model, the headline and the normalised score of each grader and split."""
    results = [_read(row, PRBENCH) or {} for row in recipe.rows]
    found = [f"{grader} {task.removeprefix('prbench_')}" for result in results for task, of in result.items()
             for grader in of["graders"] if grader != "agreement"]  # fmt: skip
    papers = [column for cells in recipe.paper.values() for column in cells]
    columns = list(dict.fromkeys([*papers, *(f"{name}{form}" for form in ("", " normalised") for name in found)]))
    ours = [[row.label, *(_number(_prbench_cell(result, column)) for column in columns)]
            for row, result in zip(recipe.rows, results, strict=True)]  # fmt: skip
    return [["model", *columns], *_with_papers(recipe, ours, columns)]


def _prbench_cell(result: Mapping[str, Any], column: str) -> float | None:
    grader, split, *form = column.split(" ")
    summary = result.get(f"prbench_{split}", {}).get("graders", {}).get(grader, {})
    return summary.get("mean_normalized" if form else "mean_clipped")


SHAPES = {"data quality": data_quality, "held-out": held_out, "truncation": truncation, "attribution": attribution,
          "prbench": prbench}  # fmt: skip


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its header."""
    lines = ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def render(recipe: TableRecipe) -> str:
    """Title, table, and below it what is missing and what the numbers are."""
    if recipe.shape not in SHAPES:
        raise RecipeError(f"shape={recipe.shape}: choose one of {', '.join(SHAPES)}")
    missing = [f"- {row.label}: no finished run in {row.run}; make it with `{row.command}`"
               for row in recipe.rows if not _is_finished(row)]  # fmt: skip
    notes = [*_notes(recipe), *missing]
    return f"### {recipe.title}\n\n{to_markdown(SHAPES[recipe.shape](recipe))}\n" + "\n".join(notes).strip() + "\n"


def _notes(recipe: TableRecipe) -> list[str]:
    if recipe.shape != "held-out":
        return []
    found = [(row, _read(row, RESULTS)) for row in recipe.rows]
    sizes = next(({t: r["examples"] for t, r in result.items()} for _, result in found if result), {})
    notes = ["Intervals: 95 %, bootstrap over documents. Examples: " +
             ", ".join(f"{task} {size}" for task, size in sizes.items()) + ".", ""]  # fmt: skip
    for row, result in found:
        for task, values in (result or {}).items():
            if values["unscored"]:
                low, high = values["mean_bounds"]
                count = values["unscored"]
                notes.append(f"- {row.label}, {task}: {count} unscored samples, mean within {low:.3f} and {high:.3f}")
    return notes


def _with_papers(recipe: TableRecipe, ours: Sequence[list[str]], columns: Sequence[str]) -> list[list[str]]:
    """Each row, and beneath it the paper's of the same label, where there is one."""
    rows = []
    for row in ours:
        rows.append(row)
        if cells := recipe.paper.get(row[0]):
            rows.append([f"{row[0]}, the paper's", *(_papers(cells.get(column)) for column in columns)])
    return rows


def _read_tasks(row: TableRow) -> dict[str, list[Generation]]:
    """The answers of a run by task, and all together; empty for a run that is missing."""
    found = {task: read_generations(Path(row.run) / "logs", task) for task in _read(row, RESULTS) or {}}
    every = [replace(g, example=f"{task} {g.example}") for task, of in found.items() for g in of]
    return found | ({"all": every} if every else {})


def _flips(base: Sequence[Generation], trained: Sequence[Generation]) -> list[str]:
    found, expected = attribute(base, trained), attribute(base, trained, all_pairs=True)
    shares = [_percent(found.gained.shares[cause]) for cause in Cause]
    return [f"{found.gained.total:g}", *shares, f"{found.lost.total:g}", f"{found.net:g}",
            f"{expected.gained.total:.1f}"]  # fmt: skip


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return DASH
    low, high = estimate.low, estimate.high
    interval = f" [{100 * low:.2f}, {100 * high:.2f}]" if low is not None and high is not None else ""
    return f"{100 * estimate.value:.2f}{interval}"


def _cells(result: Mapping[str, Any], tasks: Sequence[str]) -> list[str]:
    cells = [_estimate(result.get(task, {}).get(name)) for task in tasks for name in ("mean", "best")]
    rates = [r["truncation_rate"] for r in result.values() if r["truncation_rate"] is not None]
    return [*cells, _number(sum(rates) / len(rates)) if rates else DASH]


def _estimate(estimate: Mapping[str, float | None] | None) -> str:
    if estimate is None:
        return DASH
    low, high = estimate["low"], estimate["high"]
    interval = f" [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return f"{estimate['value']:.3f}{interval}"


def _number(value: float | None) -> str:
    if value is None:
        return DASH
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _papers(value: object) -> str:
    """A cell of the paper: its number as it is printed there, or that it is not known."""
    return "unknown" if value is None else str(value)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _is_finished(row: TableRow) -> bool:
    manifest = store.read_manifest(Path(row.run))
    return bool(manifest and manifest.get("finished"))


def _read(row: TableRow, name: str) -> dict[str, Any] | None:
    if not _is_finished(row):
        return None
    return dict(json.loads((Path(row.run) / name).read_text(encoding="utf-8")))


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    first = Path(sys.argv[1])
    try:
        for path in sorted(first.glob("table*.yaml")) if first.is_dir() else [first]:
            _print(load(TableRecipe, [str(path), *sys.argv[2:]]))
    except (RecipeError, RunError) as error:
        raise SystemExit(f"error: {error}") from None


def _print(recipe: TableRecipe) -> None:
    text = render(recipe)
    print(text)
    output = Path(recipe.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    header, *rows = SHAPES[recipe.shape](recipe)
    frame = pandas.DataFrame(rows, columns=header)
    frame.to_csv(output.with_suffix(".csv"), index=False)
    frame.to_latex(output.with_suffix(".tex"), index=False, escape=True)


if __name__ == "__main__":
    main()
