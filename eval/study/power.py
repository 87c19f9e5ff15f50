"""Computes which differences between arms a study would find, from the scores of a pilot."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

from autodata.eval.study.estimates import Study, compare
from autodata.eval.study.results import name_arms
from autodata.eval.study.rows import UNTRAINED, read_rows
from autodata.recipes.evaluation import StudyRecipe
from autodata.run.records import RunError, write_file
from autodata.stats.crossed import Spread, find_smallest_difference
from autodata.stats.writing import write_decimal, write_table

POWER = 0.8


@dataclass(frozen=True)
class Finding:
    """The smallest true difference that a design finds with 80 % power at two-sided 5 %."""

    difference: str  # of which two arms, by their labels
    seeds: int
    documents: int
    smallest: float


def find_power(recipe: StudyRecipe, study: Study) -> tuple[dict[str, Spread], list[Finding]]:
    """Compute the findings of every pair of arms and every planned size. Raises RunError if the pilot has one seed."""
    if len(study.seeds) < 2:
        raise RunError(f"pilot={recipe.pilot}: the variance over seeds needs two seeds that all arms have; add one")
    labels, spreads, findings = name_arms(recipe), {}, []
    for before, after in combinations((UNTRAINED, *study.measured), 2):
        if not (comparison := compare(study, before, after)) or comparison.spread.documents < 2:
            continue
        name = f"{labels[after]} − {labels[before]}"
        spreads[name] = comparison.spread
        for seeds in recipe.power_seeds:
            for documents in recipe.power_documents:
                smallest = find_smallest_difference(comparison.spread.predict(seeds, documents), POWER)
                findings.append(Finding(name, seeds, documents, smallest))
    return spreads, findings


def write_power(recipe: StudyRecipe, folder: Path) -> str:
    """Write power.md and power.json to the output folder; return the Markdown. Raises RunError."""
    rows = read_rows(folder)
    seeds = sorted({score.seed for score in rows.scores if score.seed is not None})  # a pilot has seeds of its own
    study = Study(rows.scores, [arm.name for arm in recipe.arms], seeds)
    spreads, findings = find_power(recipe, study)
    if not findings:
        raise RunError(f"pilot={recipe.pilot}: no two arms with two documents; add runs to the pilot")
    facts = {
        "power": POWER,
        "seeds": study.seeds,
        "variances": {pair: asdict(spread) for pair, spread in spreads.items()},
        "smallest": [asdict(finding) for finding in findings],
    }
    text, output = _render(spreads, findings, len(study.seeds)), Path(recipe.output)
    write_file(output / "power.json", json.dumps(facts, indent=2) + "\n")
    write_file(output / "power.md", text)
    return text


def _render(spreads: dict[str, Spread], findings: Sequence[Finding], seeds: int) -> str:
    designs = list(dict.fromkeys((finding.seeds, finding.documents) for finding in findings))
    smallest = {(f.difference, f.seeds, f.documents): f.smallest for f in findings}
    rows = [
        [pair, *_list_deviations(spread), *(write_decimal(smallest[pair, *design]) for design in designs)]
        for pair, spread in spreads.items()
    ]
    header = ["difference", "SD over seeds", "SD over documents", "SD of the rest"]
    header += [f"{s} seeds × {d} documents" for s, d in designs]
    documents = max(spread.documents for spread in spreads.values())
    note = (
        "The last columns hold the smallest true difference in accuracy that a study of this size finds with "
        f"{100 * POWER:.0f} % power, by a two-sided test at 5 % (noncentral t). The standard deviations are those of "
        f"the paired differences in a pilot of {seeds} seeds and {documents} documents. The rest is that of one seed "
        "on one document, with as many questions per document as in the pilot. A variance from few seeds is uncertain."
    )
    return f"{write_table([header, *rows])}\n\n{note}\n"


def _list_deviations(spread: Spread) -> list[str]:
    """List the standard deviations over seeds, over documents, and of the cells."""
    one = spread.predict(1, 1)
    variances = (one.seed - one.interaction, one.document - one.interaction, one.interaction)
    return [write_decimal(max(0.0, variance) ** 0.5) for variance in variances]
