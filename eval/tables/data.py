"""Builds the tables about data: what the two arms made (the paper's Tables 1 and 3), question types (Table 11)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import scipy  # loads its submodules on first use

from autodata.data.examples import EXAMPLES, STATISTICS
from autodata.data.statistics import METRICS, measure_intervals, write_metric
from autodata.recipes.evaluation import TableRecipe
from autodata.run.records import read_records
from autodata.stats.intervals import Estimate
from autodata.stats.writing import DASH, write_estimate, write_points
from autodata.types import EXAMPLE
from eval.question_types import RESULTS, TYPES
from eval.tables.cells import ResultTable, papers, read_finished, read_result


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
        ours = [write_metric(statistics[arm].get(metric), intervals[arm].get(metric)) for arm in arms]
        rows.append([metric, *ours, *(papers(recipe, arm, metric) for arm in recipe.paper)])
    return [ResultTable([["metric", *arms, *(f"{arm}, the paper's" for arm in recipe.paper)], *rows])]


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
        return [DASH, DASH]
    count, labelled = counts[kind][name], counts["labelled"]
    interval = scipy.stats.binomtest(count, labelled).proportion_ci(method="wilson")
    share = Estimate(count / labelled, interval.low, interval.high, labelled)
    return [str(count), write_estimate(share, write_points)]
