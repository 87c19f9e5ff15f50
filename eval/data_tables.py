"""Tables of data: what the two arms made (the paper's Tables 1 and 3), and of what types questions are (11)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy
from scipy import stats

from autodata import store
from autodata.dataset import EXAMPLES, METRICS, STATISTICS
from autodata.evaluation_recipes import TableRecipe
from autodata.statistics import suitability
from autodata.types import EXAMPLE, Example
from eval.cells import DASH, Table, estimate, is_finished, number, papers, percent, read_json
from eval.question_types import RESULTS, TYPES
from eval.statistics import Estimate, estimate_ratio

# Metrics that are means over examples, and so have intervals; the others are medians and maxima.
_MEANS: dict[str, Callable[[Example], float | None]] = {
    "weak_avg": lambda e: fmean(e.weak_scores),
    "strong_avg": lambda e: fmean(e.strong_scores),
    "gap": lambda e: fmean(e.strong_scores) - fmean(e.weak_scores),
    "rounds": lambda e: e.rounds,
    "question_chars": lambda e: len(e.candidate.question),
    "rubric_items": lambda e: len(e.candidate.rubric),
    "weak_rollout_std_points": lambda e: 100 * pstdev(e.weak_scores) if len(e.weak_scores) > 1 else None,
    "accepted_in_one_round_pct": lambda e: 100.0 * (e.rounds == 1),
    **{
        f"grpo_suitability_{label}_pct": lambda e, label=label: 100.0 * (suitability(e.evidence.review) == label)
        for label in ("high", "medium", "low")
    },
}


def data_quality(recipe: TableRecipe) -> list[Table]:
    """One column per arm; the recipe's only row is a run of autodata.dataset."""
    (row,) = recipe.rows
    statistics = read_json(row, STATISTICS) or {"cot": {}, "agentic": {}}
    examples = store.read_records(Path(row.run) / EXAMPLES, EXAMPLE) if is_finished(row) else []
    arms = sorted(statistics, key=lambda arm: arm != "cot")
    known = {metric for cells in [*statistics.values(), *recipe.paper.values()] for metric, value in cells.items()
             if value is not None}  # fmt: skip
    rows = []
    for metric in [metric for metric in METRICS if metric in known] or METRICS:
        ours = [_cell(metric, statistics[arm].get(metric), [e for e in examples if e.arm == arm]) for arm in arms]
        rows.append([metric, *ours, *(papers(cells.get(metric)) for cells in recipe.paper.values())])
    return [Table([["metric", *arms, *(f"{arm}, the paper's" for arm in recipe.paper)], *rows])]


def _cell(metric: str, value: float | None, examples: Sequence[Example]) -> str:
    """The dataset's own number; its interval, where it has one, is over the documents of the arm."""
    if value is None or metric not in _MEANS or not examples:
        return number(value)
    by_document: dict[str, list[float]] = {}
    for example in examples:
        measured = _MEANS[metric](example)
        if measured is not None:
            by_document.setdefault(example.document_id, []).append(measured)
    sums, counts = (numpy.array([measure(of) for of in by_document.values()]) for measure in (sum, len))
    return estimate(estimate_ratio(sums, counts))


def question_types(recipe: TableRecipe) -> list[Table]:
    """One row per type and, indented, its subtypes: shares in % of the questions that have a label."""
    (row,) = recipe.rows
    found = read_json(row, RESULTS)
    rows = [["type", "questions", "%", "the paper's %"]]
    for type, subtypes in TYPES.items():
        rows.append([type, *_type_cells(found, "types", type), papers(recipe.paper.get("%", {}).get(type))])
        rows += [[f"· {subtype}", *_type_cells(found, "subtypes", subtype), papers(None)] for subtype in subtypes]
    unlabelled = found.get("unlabelled", 0)
    return [Table(rows, [f"{unlabelled} questions without a readable label are in no share."] if unlabelled else [])]


def _type_cells(found: Mapping[str, Any], kind: str, name: str) -> list[str]:
    if not found.get("labelled"):
        return [DASH, DASH]
    count, labelled = found[kind][name], found["labelled"]
    interval = stats.binomtest(count, labelled).proportion_ci(method="wilson")
    return [str(count), estimate(Estimate(count / labelled, interval.low, interval.high), percent)]
