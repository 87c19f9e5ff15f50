"""Analyses a study: arms that were trained with several seeds and evaluated on the same held-out questions.

It writes scores.csv, curves.csv and costs.csv (a large one as .csv.gz), results.md, skills.csv and three figures to
the recipe's `output`. A missing run is a dash, with the command that makes it.

python -m autodata.eval.study recipes/study/analysis.yaml                     # gathers the runs and analyses them
python -m autodata.eval.study recipes/study/analysis.yaml 'scores=[docs/study]'   # analyses the CSV files of folders
python -m autodata.eval.study recipes/study/analysis.yaml pilot=FOLDER        # power.md: what it would find
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from autodata import command
from autodata.config import load
from autodata.eval.study.draw import draw_curves, draw_skills, draw_tokens
from autodata.eval.study.estimates import Skill, Study, estimate_accuracy, measure_skills
from autodata.eval.study.gather import gather
from autodata.eval.study.power import write_power
from autodata.eval.study.results import Costs, name_arms, render
from autodata.eval.study.rows import UNTRAINED, StudyRows, join_rows, write_rows
from autodata.recipes.evaluation import StudyRecipe
from autodata.run.records import write_file


def analyse(recipe: StudyRecipe) -> str:
    """Write everything to the output folder and return the Markdown. Raises RunError.

    The numbers are always read from the CSV files, so that an analysis from these files alone gives the same results.
    Several folders are the parts of one study, whose seeds were run on different machines or days.
    """
    output = Path(recipe.output)
    if not recipe.scores:
        write_rows(gather(recipe), output)
    rows = join_rows(recipe.scores or [str(output)])
    study = Study(rows.scores, [arm.name for arm in recipe.arms], recipe.seeds)
    skills, costs = measure_skills(study), Costs(rows.costs, study.seeds)
    text = render(recipe, study, costs)
    write_file(output / "results.md", text)
    write_skills(skills, study.measured, output / "skills.csv")
    draw(recipe, study, rows, skills)
    return text


def write_skills(skills: Sequence[Skill], arms: Sequence[str], path: Path) -> None:
    """Write the accuracy by skill and arm as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["skill", "questions", UNTRAINED, *arms])
    for skill in skills:
        accuracies = [skill.accuracy.get(arm) for arm in (UNTRAINED, *arms)]
        writer.writerow([skill.name, skill.questions, *("" if a is None else f"{a:.4f}" for a in accuracies)])
    write_file(path, text.getvalue())


def draw(recipe: StudyRecipe, study: Study, rows: StudyRows, skills: Sequence[Skill]) -> None:
    """Draw the figures that have data."""
    output, labels, costs = Path(recipe.output), name_arms(recipe), Costs(rows.costs, study.seeds)
    accuracies = {arm: e.estimate for arm in labels if (e := estimate_accuracy(study, arm))}
    tokens = {arm: n for arm in study.measured if (n := costs.average(arm, lambda cost: cost.tokens)) is not None}
    draw_curves(study, rows.curves, labels, output / "curves.png")
    draw_skills(skills, study.measured, labels, output / "skills.png")
    draw_tokens(accuracies, tokens, labels, output / "tokens.png")


@command.report_errors()
def main() -> None:
    recipe = load(StudyRecipe, command.read_recipe(__doc__))
    print(write_power(recipe, Path(recipe.pilot)) if recipe.pilot else analyse(recipe))
