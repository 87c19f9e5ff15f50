"""Writes the results of a study as Markdown: the main table, the differences between all arms, and what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from autodata.eval.study.estimates import Study, compare, estimate_accuracy
from autodata.eval.study.rows import UNTRAINED, Cost
from autodata.recipes.evaluation import StudyRecipe
from autodata.stats.crossed import CrossedEstimate
from autodata.stats.writing import (
    DASH,
    write_count,
    write_difference,
    write_duration,
    write_estimate,
    write_number,
    write_percent,
    write_table,
)


@dataclass(frozen=True)
class Costs:
    """The costs of all runs, averaged over the seeds that count."""

    rows: Sequence[Cost]
    seeds: Sequence[int]

    def average(self, arm: str, read: Callable[[Cost], float | None]) -> float | None:
        """Average one cost of an arm; None unless it is known for every seed that counts."""
        values = [read(row) for row in self.rows if row.arm == arm and row.seed in self.seeds]
        known = [value for value in values if value is not None]
        return fmean(known) if known and len(known) == len(self.seeds) else None


def name_arms(recipe: StudyRecipe) -> dict[str, str]:
    """Map every arm to its label, the untrained model first."""
    return {UNTRAINED: UNTRAINED} | {arm.name: arm.label for arm in recipe.arms}


def render(recipe: StudyRecipe, study: Study, costs: Costs) -> str:
    """Write the results as a fragment of Markdown that stands for itself."""
    parts = [f"### {recipe.title}", write_table(list_arms(recipe, study, costs)), describe(study)]
    if len(study.measured) > 2:  # the difference of two arms is in the first table
        parts += ["Differences between the arms, paired by seed and question:", write_table(list_pairs(recipe, study))]
    missing = list_missing(recipe, study)
    return "\n\n".join([*parts, *(["\n".join(missing)] if missing else [])]) + "\n"


def list_arms(recipe: StudyRecipe, study: Study, costs: Costs) -> list[list[str]]:
    """List every arm with its costs, its accuracy and its differences to the untrained model and to the baseline."""
    labels, baseline = name_arms(recipe), recipe.baseline
    header = ["arm", "examples", "tokens for the data", "training time", "groups without signal", "accuracy"]
    rows = [[*header, f"− {UNTRAINED}", f"− {labels[baseline]}"]]
    for arm, label in labels.items():
        differences = [
            DASH if arm in (UNTRAINED, before) else _write_difference(compare(study, before, arm))
            for before in (UNTRAINED, baseline)
        ]
        rows.append([label, *_list_costs(costs, arm), _write_accuracy(estimate_accuracy(study, arm)), *differences])
    return rows


def _list_costs(costs: Costs, arm: str) -> list[str]:
    counts = [costs.average(arm, lambda cost: cost.examples), costs.average(arm, lambda cost: cost.tokens)]
    seconds = costs.average(arm, lambda cost: cost.training_seconds)
    whole = [write_number(None if count is None else round(count)) for count in counts]
    equal = write_percent(costs.average(arm, lambda cost: cost.equal_groups))
    return [*whole, DASH if seconds is None else write_duration(seconds), equal]


def list_pairs(recipe: StudyRecipe, study: Study) -> list[list[str]]:
    """List the differences between all pairs of trained arms."""
    labels = name_arms(recipe)
    rows = [["difference", "of accuracy"]]
    for before, after in combinations(study.measured, 2):
        rows.append([f"{labels[after]} − {labels[before]}", _write_difference(compare(study, before, after))])
    return rows


def _write_accuracy(accuracy: CrossedEstimate | None) -> str:
    return DASH if accuracy is None else write_estimate(replace(accuracy.estimate, documents=None))


def _write_difference(difference: CrossedEstimate | None) -> str:
    if difference is None:
        return DASH
    text = write_difference(replace(difference.estimate, documents=None))
    if difference.p is None:
        return text
    return f"{text}, p " + ("< 0.0001" if difference.p < 0.0001 else f"{difference.p:.4f}")


def describe(study: Study) -> str:
    """Say what the numbers of the tables are averaged over, and how the intervals are made."""
    runs = [study.find_run(UNTRAINED, None), *(study.find_run(a, s) for a in study.measured for s in study.seeds)]
    questions = {q: score.document for run in runs for q, score in run.items()}
    samples = sorted({score.samples for run in runs for score in run.values()})
    lost = sum(s.score is None for s in study.scores if s.seed is None or s.seed in study.seeds)
    answers = write_count(samples[-1] if samples else 0, "answer")
    answers = f"{samples[0]} to {answers}" if len(samples) > 1 else answers
    over = "documents, because there is one seed" if len(study.seeds) == 1 else "seeds and documents"
    return (
        f"Means over {write_count(len(study.seeds), 'seed')} ({', '.join(map(str, study.seeds)) or 'none yet'}), "
        f"{write_count(len(questions), 'question')} of {write_count(len(set(questions.values())), 'document')} and "
        f"{answers} to a question. Without a score and left out: {write_count(lost, 'question')} of all runs. "
        f"Brackets are 95 % intervals over {over}; those of the untrained model are over documents only. "
        "Differences are paired by seed and question. The p values are those of Student's t test with the same "
        "variance; they are not adjusted for the number of comparisons."
    )


def list_missing(recipe: StudyRecipe, study: Study) -> list[str]:
    """List the runs that are missing, with the command that makes them."""
    lines = []
    if not study.find_run(UNTRAINED, None):
        lines.append(f"- {UNTRAINED}: no finished evaluation; make it with `{recipe.untrained}`")
    for arm in recipe.arms:
        if seeds := study.list_missing(arm.name):
            which = "any seed" if len(seeds) == len(study.planned) else f"seed {', '.join(map(str, seeds))}"
            lines.append(f"- {arm.label}: no finished evaluation of {which}; make it with `{arm.command}`")
    return lines
