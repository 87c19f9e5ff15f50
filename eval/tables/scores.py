"""Builds the tables of scores: held-out sets (the paper's Table 2), subsets (5, 6), PRBench (4, 12)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autodata.recipes.evaluation import TableRecipe, TableRow
from autodata.stats.writing import write_decimal, write_estimate, write_points
from eval.results import PRBENCH, summarize
from eval.sampled_answers import SampledAnswer, graded_by, to_answers
from eval.statistics import Answers, best_at_k, compare, mean_at_k, pass_at_k, reduce_answers
from eval.tables.cells import (
    COST,
    HELD_OUT,
    ResultTable,
    cost,
    difference,
    join,
    read_answers,
    read_result,
    with_papers,
)


@dataclass(frozen=True)
class Model:
    """One model of a table, which is a row, and its answers."""

    label: str
    answers: dict[str, list[SampledAnswer]]


def held_out(recipe: TableRecipe) -> list[ResultTable]:
    """Show mean@k and best@k of each set, the share cut off and the cost, one row per model; then differences."""
    results = [_summarize(row) for row in recipe.rows]
    tasks = list(dict.fromkeys([*HELD_OUT, *(task for result in results for task in result)]))
    k = max((r["k"] for result in results for r in result.values()), default="k")
    names = [f"{task} {name}" for task in tasks for name in ("mean", "best")]
    ours = []
    for row, result in zip(recipe.rows, results, strict=True):
        cells = [write_estimate(result.get(task, {}).get(name)) for task in tasks for name in ("mean", "best")]
        rates = [r["truncation_rate"] for r in result.values() if r["truncation_rate"] is not None]
        cut_off = write_decimal(sum(rates) / len(rates) if rates else None)
        ours.append([row.label, *cells, cut_off, *cost(row)])
    header = ["model", *(f"{name}@{k}" for name in names), "truncated", *COST]
    rows = [header, *with_papers(recipe, ours, [*names, "truncated", *COST])]
    models = [Model(row.label, read_answers(row)) for row in recipe.rows]
    return [ResultTable(rows, _note_unscored(recipe, results)), *_compare(models, tasks)]


def _summarize(row: TableRow) -> dict[str, dict[str, Any]]:
    """Compute a run's results from its answers, as older runs stored results that scored answers which never came."""
    return {task: summarize(sampled) for task, sampled in read_answers(row).items() if not task.startswith("prbench_")}


def by_subset(recipe: TableRecipe) -> list[ResultTable]:
    """Show the base (the first run) and each other model's difference to it in %, one row per subset and metric."""
    base, *trained = [Model(row.label, _split(read_answers(row), recipe.tasks)) for row in recipe.rows]
    names = [name for model in (base, *trained) for name in model.answers]
    subsets = list(dict.fromkeys([*(label.rpartition(" ")[0] for label in recipe.paper), *names]))
    header = ["subset and metric", base.label]
    header += [f"{model.label}{form}" for model in trained for form in ("", " − base")]
    ours = [
        [f"{subset} {metric}", *_subset_cells(base, trained, subset, metric)]
        for subset in subsets
        for metric in ("avg", "pass")
    ]
    sizes = [f"{name} {len(to_answers(sampled))}" for name, sampled in (base.answers or {}).items()]
    k = max((len(a.scores) for sampled in base.answers.values() for a in to_answers(sampled).values()), default=None)
    notes = [f"Answers to each problem: {k or 'none yet'}. Problems: {', '.join(sizes) or 'none yet'}."]
    return [ResultTable([header, *with_papers(recipe, ours, header[1:])], notes)]


def _subset_cells(base: Model, trained: Sequence[Model], subset: str, metric: str) -> list[str]:
    before = _reduce(base, subset, metric)
    cells = [write_estimate(mean_at_k(list(before.values())), write_points)]
    for model in trained:
        after = _reduce(model, subset, metric)
        cells.append(write_estimate(mean_at_k(list(after.values())), write_points))
        cells.append(difference(compare(before, after), write_points))
    return cells


def _reduce(model: Model, subset: str, metric: str) -> dict[str, Answers]:
    """Reduce each problem to the mean of its answers, or to the chance that one of all of them is right."""
    answers = to_answers(model.answers.get(subset, []))
    return answers if metric == "avg" else reduce_answers(answers, pass_at_k)


def _split(answers: Mapping[str, list[SampledAnswer]], tasks: Sequence[str]) -> dict[str, list[SampledAnswer]]:
    """Select the answers to `tasks`: all of them together, and by part (subsets of a single task, or tasks)."""
    selected = {task: sampled for task, sampled in answers.items() if task in tasks}
    if not selected:
        return {}
    if len(tasks) > 1:
        return {"overall": join(selected, tasks)} | selected
    (whole,) = selected.values()
    return {"overall": whole} | {
        name: [g for g in whole if g.subset == name] for name in sorted({g.subset for g in whole} - {""})
    }


def prbench(recipe: TableRecipe) -> list[ResultTable]:
    """Show the headline and the normalised score of each grader and split, one row per model; then differences."""
    results = [_read_benchmark(row) for row in recipe.rows]
    names = [
        f"{grader} {task.removeprefix('prbench_')}"
        for result in results
        for task, summary in result.items()
        for grader in summary["graders"]
    ]
    papers = [column for cells in recipe.paper.values() for column in cells]
    columns = list(dict.fromkeys([*papers, *(f"{name}{form}" for form in ("", " normalised") for name in names)]))
    ours = [
        [row.label, *(_prbench_cell(result, column) for column in columns), *cost(row)]
        for row, result in zip(recipe.rows, results, strict=True)
    ]
    models = [Model(row.label, _by_grader(read_answers(row))) for row in recipe.rows]
    rows = [["model", *columns, *COST], *with_papers(recipe, ours, [*columns, *COST])]
    return [ResultTable(rows), *_compare(models, list(dict.fromkeys(names)))]


def _read_benchmark(row: TableRow) -> dict[str, Any]:
    """Read the PRBench results that a run stored, without those of older runs that scored answers which never came."""
    result, answers = read_result(row, PRBENCH), read_answers(row)
    return {
        task: summary
        for task, summary in result.items()
        if "unanswered" in summary or all(g.is_measured for g in answers.get(task, ()))
    }


def _prbench_cell(result: Mapping[str, dict], column: str) -> str:
    grader, split, *form = column.split(" ")
    summary = result.get(f"prbench_{split}", {}).get("graders", {}).get(grader, {})
    return write_estimate(summary.get("normalized" if form else "clipped"))


def _by_grader(answers: Mapping[str, list[SampledAnswer]]) -> dict[str, list[SampledAnswer]]:
    pairs = {(task, grader) for task, sampled in answers.items() for g in sampled for grader in g.graders}
    return {
        f"{grader} {task.removeprefix('prbench_')}": graded_by(answers[task], grader) for task, grader in sorted(pairs)
    }


def _compare(models: Sequence[Model], tasks: Sequence[str]) -> list[ResultTable]:
    """Compare each model with the first one on the same problems."""
    base, rows = models[0], []
    for model in models[1:]:
        for task in tasks:
            pair = [to_answers(m.answers.get(task, [])) for m in (base, model)]
            mean = compare(*pair)
            if mean:
                best = compare(*(reduce_answers(answers, best_at_k) for answers in pair))
                rows.append([model.label, task, str(mean.examples), difference(mean), difference(best)])
    header = ["model", "on", "examples", "mean", "best"]
    title = f"Differences to {base.label}, paired by example"
    return [ResultTable([header, *rows], title=title)] if rows else []


def _note_unscored(recipe: TableRecipe, results: Sequence[Mapping[str, dict]]) -> list[str]:
    sizes = next(({t: r["examples"] for t, r in result.items()} for result in results if result), {})
    notes = [
        "Intervals: 95 %, over n documents. Examples: "
        + (", ".join(f"{task} {size:,}" for task, size in sizes.items()) or "none yet")
        + ".",
        "",
    ]
    for row, result in zip(recipe.rows, results, strict=True):
        for task, values in result.items():
            if values["unscored"]:
                low, high = values["mean_bounds"]
                notes.append(
                    f"- {row.label}, {task}: answers without a score: {values['unscored']:,}; if they had scores, "
                    f"the mean would lie between {low:.3f} and {high:.3f}"
                )
    return notes
