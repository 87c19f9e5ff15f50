"""Builds the tables of evaluations.

These are held-out sets (the paper's Table 2), subsets (5, 6), PRBench (4, 12), cut-off answers (8) and flips (9).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from autodata.eval.attribution import Cause, attribute
from autodata.eval.sampled_answers import PRBENCH, SampledAnswer, group_by, join, summarize, to_answers
from autodata.eval.statistics import Answers, best_at_k, compare, mean_at_k, mean_of_known, pass_at_k, reduce_answers
from autodata.eval.tables.cells import COST, HELD_OUT, ResultTable, cost, read_answers, read_result, with_papers
from autodata.eval.tables.numbers import difference, estimate
from autodata.eval.truncation import measure_rate
from autodata.recipes.evaluation import TableRecipe, TableRow
from autodata.stats.writing import DASH, write_decimal, write_points

_GPT5 = "recipes/legal/grader_gpt5.yaml"
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
        cells = [estimate(result.get(task, {}).get(name)) for task in tasks for name in ("mean", "best")]
        cut_off = write_decimal(mean_of_known([r["truncation_rate"] for r in result.values()]))
        ours.append([row.label, *cells, cut_off, *cost(row)])
    header = ["model", *(f"{name}@{k}" for name in names), "truncated", *COST]
    rows = [header, *with_papers(recipe, ours, [*names, "truncated", *COST])]
    return [ResultTable(rows, _note_unscored(recipe, results)), *_compare(recipe, answers, tasks)]


def by_subset(recipe: TableRecipe) -> list[ResultTable]:
    """Show the base (the first run) and each other model's difference to it in %, one row per subset and metric."""
    models = [_split(read_answers(row), recipe.tasks) for row in recipe.rows]
    papers = [label.rpartition(" ")[0] for label in recipe.paper]
    subsets = list(dict.fromkeys(chain(papers, *models)))
    header = ["subset and metric", recipe.rows[0].label]
    header += [f"{row.label}{form}" for row in recipe.rows[1:] for form in ("", " − base")]
    ours = [
        [f"{subset} {metric}", *_subset_cells(models, subset, metric)]
        for subset in subsets
        for metric in ("avg", "pass")
    ]
    problems = {name: to_answers(sampled) for name, sampled in models[0].items()}
    sizes = [f"{name} {len(answers)}" for name, answers in problems.items()]
    k = max((len(a.scores) for answers in problems.values() for a in answers.values()), default=None)
    notes = [f"Answers to each problem: {k or 'none yet'}. Problems: {', '.join(sizes) or 'none yet'}."]
    return [ResultTable([header, *with_papers(recipe, ours, header[1:])], notes)]


def _subset_cells(models: Sequence[AnswersByTask], subset: str, metric: str) -> list[str]:
    """Write each model's mean, or its mean chance that one of all answers to a problem is right, and differences."""
    answers = [to_answers(model.get(subset, ())) for model in models]
    before, *others = answers if metric == "avg" else [reduce_answers(one, pass_at_k) for one in answers]
    cells = [estimate(mean_at_k(list(before.values())), write_points)]
    for after in others:
        cells.append(estimate(mean_at_k(list(after.values())), write_points))
        cells.append(difference(compare(before, after), write_points))
    return cells


def _split(answers: Mapping[str, list[SampledAnswer]], tasks: Sequence[str]) -> dict[str, list[SampledAnswer]]:
    """Select the answers to `tasks`: all of them together, and by part (subsets of a single task, or tasks)."""
    if not (selected := {task: sampled for task, sampled in answers.items() if task in tasks}):
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
    return [ResultTable(rows, _note_graders(papers, names)), *_compare(recipe, answers, list(dict.fromkeys(names)))]


def _note_graders(papers: Sequence[str], names: Sequence[str]) -> list[str]:
    """Say how to get the columns of GPT-5, which no evaluation asks unless its recipe is appended."""
    if not any(name.startswith("gpt5 ") for name in papers) or any(name.startswith("gpt5 ") for name in names):
        return []
    advice = f"append {_GPT5} to the command, which needs a key, and remove evaluations that finished without it"
    return [f"No run has been graded by GPT-5; for its columns, {advice}."]


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
    return estimate(summary.get("normalized" if form else "clipped"))


def _by_grader(answers: AnswersByTask) -> dict[str, list[SampledAnswer]]:
    """Give the answers each grader's scores; those that it was not asked about are left out."""
    columns: defaultdict[str, list[SampledAnswer]] = defaultdict(list)
    for task, sampled in answers.items():
        for answer in sampled:
            for grader, score in answer.graders.items():
                columns[f"{grader} {task.removeprefix('prbench_')}"].append(replace(answer, score=score))
    return columns


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
    return [f"Intervals: 95 %, over n documents. Examples: {examples}.", ""] + [
        f"- {row.label}, {task}: answers without a score: {values['unscored']:,}; if they had scores, "
        "the mean would lie between {:.3f} and {:.3f}".format(*values["mean_bounds"])
        for row, result in zip(recipe.rows, results, strict=True)
        for task, values in result.items()
        if values["unscored"]
    ]


def truncation(recipe: TableRecipe) -> list[ResultTable]:
    """Show the share of cut-off answers of each set in %, one row per model; then differences to the first model."""
    models = [(row.label, read_answers(row)) for row in recipe.rows]
    for _, answers in models:
        if answers:
            answers["combined validation"] = join(answers, recipe.tasks or HELD_OUT)  # both arms together
    sets = list(dict.fromkeys(chain(HELD_OUT, *recipe.paper.values(), *(answers for _, answers in models))))
    ours = [
        [label, *(estimate(measure_rate(answers.get(name, ())), write_points) for name in sets)]
        for label, answers in models
    ]
    rows = [["model", *(f"{name}, %" for name in sets)], *with_papers(recipe, ours, sets)]
    (base, before), *others = models
    changes = []
    for label, answers in others if before else []:
        if answers:
            pairs = [compare(_cut_offs(before, name), _cut_offs(answers, name)) for name in sets]
            changes.append([label, *(difference(pair, write_points) for pair in pairs)])
    below = ResultTable([rows[0], *changes], title=f"Differences to {base}, in points, paired by example")
    return [ResultTable(rows), *([below] if changes else [])]


def _cut_offs(answers: AnswersByTask, name: str) -> dict[str, Answers]:
    """Replace each answer's score by 1 if it was cut off and 0 if not; None if the answer never came."""
    sampled = answers.get(name, ())
    return to_answers([replace(g, score=float(g.is_cut_off) if g.is_measured else None) for g in sampled])


def attribution(recipe: TableRecipe) -> list[ResultTable]:
    """Explain the flips of each model against the base, which is the first row."""
    base, *models = [join(read_answers(row), recipe.tasks or HELD_OUT) for row in recipe.rows]
    names = ["flips", *(f"{cause} %" for cause in Cause), "lost", "net", "flips over all pairs"]
    ours = [[row.label, *_flips(base, trained)] for row, trained in zip(recipe.rows[1:], models, strict=True)]
    return [ResultTable([["model", *names], *with_papers(recipe, ours, names)])]


def _flips(base: Sequence[SampledAnswer], trained: Sequence[SampledAnswer]) -> list[str]:
    if not base or not trained:
        return [DASH, *(estimate(None) for _ in Cause), DASH, DASH, DASH]
    paired, over_all = attribute(base, trained), attribute(base, trained, all_pairs=True)
    gained, lost, net = (f"{count:g}" for count in (paired.gained.total, paired.lost.total, paired.net))
    shares = [estimate(paired.gained.shares[cause], write_points) for cause in Cause]
    return [gained, *shares, lost, net, f"{over_all.gained.total:.1f}"]
