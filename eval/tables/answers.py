"""Builds the tables of cut-off answers (the paper's Table 8) and of answers that training flipped (Table 9)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from autodata.recipes.evaluation import TableRecipe
from autodata.stats.writing import DASH, write_estimate, write_points
from eval.attribution import Cause, attribute
from eval.sampled_answers import SampledAnswer, join, to_answers
from eval.statistics import Answers, compare
from eval.tables.cells import HELD_OUT, ResultTable, difference, read_answers, with_papers
from eval.truncation import measure_rate


def truncation(recipe: TableRecipe) -> list[ResultTable]:
    """Show the share of cut-off answers of each set in %, one row per model; then differences to the first model."""
    models = [(row.label, _add_validation(recipe, read_answers(row))) for row in recipe.rows]
    sets = list(dict.fromkeys(chain(HELD_OUT, *recipe.paper.values(), *(answers for _, answers in models))))
    ours = [
        [label, *(write_estimate(measure_rate(answers.get(name, ())), write_points) for name in sets)]
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


def _add_validation(recipe: TableRecipe, answers: Mapping[str, list[SampledAnswer]]) -> dict[str, list[SampledAnswer]]:
    """Add the held-out sets of both arms together."""
    return {**answers, "combined validation": join(answers, recipe.tasks or HELD_OUT)} if answers else {}


def _cut_offs(answers: Mapping[str, Sequence[SampledAnswer]], name: str) -> dict[str, Answers]:
    """Replace each answer's score by 1 if it was cut off and 0 if not; None if the answer never came."""
    sampled = answers.get(name, ())
    return to_answers([replace(g, score=float(g.is_cut_off) if g.is_measured else None) for g in sampled])


def attribution(recipe: TableRecipe) -> list[ResultTable]:
    """Explain the flips of each model against the base, which is the first row."""
    base, *models = [join(read_answers(row), recipe.tasks or HELD_OUT) for row in recipe.rows]
    names = ["flips", *(f"{cause} %" for cause in Cause), "lost", "net", "flips over all pairs"]
    ours = [
        [row.label, *(_flips(base, trained) if base and trained else [DASH] * len(names))]
        for row, trained in zip(recipe.rows[1:], models, strict=True)
    ]
    return [ResultTable([["model", *names], *with_papers(recipe, ours, names)])]


def _flips(base: Sequence[SampledAnswer], trained: Sequence[SampledAnswer]) -> list[str]:
    paired, over_all = attribute(base, trained), attribute(base, trained, all_pairs=True)
    gained, lost, net = (f"{count:g}" for count in (paired.gained.total, paired.lost.total, paired.net))
    shares = [write_estimate(paired.gained.shares[cause], write_points) for cause in Cause]
    return [gained, *shares, lost, net, f"{over_all.gained.total:.1f}"]
