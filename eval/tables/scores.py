"""Builds the tables of scores: held-out sets (the paper's Table 2), subsets (5, 6), PRBench (4, 12)."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from autodata.recipes.evaluation import TableRecipe, TableRow
from autodata.stats.writing import write_decimal, write_estimate, write_points
from eval.sampled_answers import PRBENCH, SampledAnswer, graded_by, group_by, join, summarize, to_answers
from eval.statistics import best_at_k, compare, mean_at_k, pass_at_k, reduce_answers
from eval.tables.cells import COST, HELD_OUT, ResultTable, cost, difference, read_answers, read_result, with_papers

AnswersByTask = Mapping[str, Sequence[SampledAnswer]]


def held_out(recipe: TableRecipe) -> list[ResultTable]:
    """Show mean@k and best@k of each set, the share cut off and the cost, one row per model; then differences."""
    answers = [read_answers(row) for row in recipe.rows]
    # Computed from the answers, because older runs stored results that scored answers which never came.
    results = [
        {task: summarize(sampled) for task, sampled in by_task.items() if not task.startswith("prbench_")}
        for by_task in answers
    ]
    tasks = list(dict.fromkeys(chain(HELD_OUT, *results)))
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
    return [ResultTable(rows, _note_unscored(recipe, results)), *_compare(recipe, answers, tasks)]


def by_subset(recipe: TableRecipe) -> list[ResultTable]:
    """Show the base (the first run) and each other model's difference to it in %, one row per subset and metric."""
    base, *trained = [_split(read_answers(row), recipe.tasks) for row in recipe.rows]
    papers = [label.rpartition(" ")[0] for label in recipe.paper]
    subsets = list(dict.fromkeys(chain(papers, base, *trained)))
    header = ["subset and metric", recipe.rows[0].label]
    header += [f"{row.label}{form}" for row in recipe.rows[1:] for form in ("", " − base")]
    ours = [
        [f"{subset} {metric}", *_subset_cells([base, *trained], subset, metric)]
        for subset in subsets
        for metric in ("avg", "pass")
    ]
    problems = {name: to_answers(sampled) for name, sampled in base.items()}
    sizes = [f"{name} {len(answers)}" for name, answers in problems.items()]
    k = max((len(a.scores) for answers in problems.values() for a in answers.values()), default=None)
    notes = [f"Answers to each problem: {k or 'none yet'}. Problems: {', '.join(sizes) or 'none yet'}."]
    return [ResultTable([header, *with_papers(recipe, ours, header[1:])], notes)]


def _subset_cells(models: Sequence[AnswersByTask], subset: str, metric: str) -> list[str]:
    """Write each model's mean, or its mean chance that one of all answers to a problem is right, and differences."""
    answers = [to_answers(model.get(subset, ())) for model in models]
    before, *others = answers if metric == "avg" else [reduce_answers(one, pass_at_k) for one in answers]
    cells = [write_estimate(mean_at_k(list(before.values())), write_points)]
    for after in others:
        cells.append(write_estimate(mean_at_k(list(after.values())), write_points))
        cells.append(difference(compare(before, after), write_points))
    return cells


def _split(answers: Mapping[str, list[SampledAnswer]], tasks: Sequence[str]) -> dict[str, list[SampledAnswer]]:
    """Select the answers to `tasks`: all of them together, and by part (subsets of a single task, or tasks)."""
    selected = {task: sampled for task, sampled in answers.items() if task in tasks}
    if not selected:
        return {}
    if len(tasks) > 1:
        return {"overall": join(selected, tasks)} | selected
    (whole,) = selected.values()
    return {"overall": whole} | {name: part for name, part in sorted(group_by(whole, "subset").items()) if name}


def prbench(recipe: TableRecipe) -> list[ResultTable]:
    """Show the headline and the normalised score of each grader and split, one row per model; then differences."""
    results = [_read_benchmark(row) for row in recipe.rows]
    tasks = chain.from_iterable(result.items() for result in results)
    names = [f"{grader} {task.removeprefix('prbench_')}" for task, summary in tasks for grader in summary["graders"]]
    papers = [column for cells in recipe.paper.values() for column in cells]
    columns = list(dict.fromkeys([*papers, *(f"{name}{form}" for form in ("", " normalised") for name in names)]))
    ours = [
        [row.label, *(_prbench_cell(result, column) for column in columns), *cost(row)]
        for row, result in zip(recipe.rows, results, strict=True)
    ]
    answers = [_by_grader(read_answers(row)) for row in recipe.rows]
    rows = [["model", *columns, *COST], *with_papers(recipe, ours, [*columns, *COST])]
    return [ResultTable(rows), *_compare(recipe, answers, list(dict.fromkeys(names)))]


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


def _by_grader(answers: AnswersByTask) -> dict[str, list[SampledAnswer]]:
    pairs = {(task, grader) for task, sampled in answers.items() for g in sampled for grader in g.graders}
    columns = {(task, grader): f"{grader} {task.removeprefix('prbench_')}" for task, grader in sorted(pairs)}
    return {column: graded_by(answers[task], grader) for (task, grader), column in columns.items()}


def _compare(recipe: TableRecipe, answers: Sequence[AnswersByTask], tasks: Sequence[str]) -> list[ResultTable]:
    """Compare each model with the first one on the same problems."""
    rows = []
    for row, by_task in zip(recipe.rows[1:], answers[1:], strict=True):
        for task in tasks:
            pair = [to_answers(model.get(task, ())) for model in (answers[0], by_task)]
            if mean := compare(*pair):
                best = compare(*(reduce_answers(one, best_at_k) for one in pair))
                rows.append([row.label, task, str(mean.examples), difference(mean), difference(best)])
    header = ["model", "on", "examples", "mean", "best"]
    title = f"Differences to {recipe.rows[0].label}, paired by example"
    return [ResultTable([header, *rows], title=title)] if rows else []


def _note_unscored(recipe: TableRecipe, results: Sequence[Mapping[str, dict]]) -> list[str]:
    sizes = next(({t: r["examples"] for t, r in result.items()} for result in results if result), {})
    examples = ", ".join(f"{task} {size:,}" for task, size in sizes.items()) or "none yet"
    notes = [f"Intervals: 95 %, over n documents. Examples: {examples}.", ""]
    for row, result in zip(recipe.rows, results, strict=True):
        for task, values in result.items():
            if values["unscored"]:
                low, high = values["mean_bounds"]
                notes.append(
                    f"- {row.label}, {task}: answers without a score: {values['unscored']:,}; if they had scores, "
                    f"the mean would lie between {low:.3f} and {high:.3f}"
                )
    return notes
