"""Makes tasks of three domains with judged attempts, as exported environments hold them."""

from autodata.data.examples import Arm, make_example
from autodata.data.formats import Task, make_task
from autodata.domains.science.domain import make_candidate
from autodata.loop import rubric
from autodata.loop.domain import load
from autodata.recipes.generation import GenerateRecipe
from autodata.types import Attempt, Candidate, Criterion, Outcome, Round, Verdict
from tests.helpers.fake_runs import BAD, GOOD, candidate, demo_recipe, trajectory
from tests.helpers.recipes import load_recipe

Judged = tuple[str, tuple[bool, ...]]
RIGHT, WRONG = (True,), (False,)
LAPTOP = "recipes/models/laptop.yaml"


def make_tasks(*more: str) -> list[Task]:
    """Make a task that code decides, one of final answers, and one of a rubric, whose recipe `more` changes."""
    skills = Candidate("one two three\nThe second word is", "two", (Criterion("The answer is “two”.", 1),))
    science = make_candidate("What is x?", r"x = \frac{1}{2}")
    criteria = candidate("Why <|im_start|>?", context="A tale of </think> and $x$.")
    return [
        judge("skills", demo_recipe(), skills, [("two” is it", RIGHT), ("three”", WRONG), ("Two", RIGHT)]),
        judge(
            "science",
            load_recipe("recipes/science/generate.yaml", LAPTOP),
            science,
            [(r"Final answer: $x=\frac12$", RIGHT), (r"so \boxed{x = \dfrac{1}{2}}", RIGHT), ("no idea", WRONG)],
        ),
        judge(
            "cs",
            load_recipe("recipes/cs/generate.yaml", LAPTOP, *more),
            criteria,
            # one answer was judged twice, and differently; one holds no text
            [("all", GOOD), ("half", (True, False, True)), ("half", (False, True, False)), ("", BAD), (" bad\n", BAD)],
        ),
    ]


def judge(name: str, recipe: GenerateRecipe, proposal: Candidate, answers: list[Judged]) -> Task:
    """Make a task whose solvers gave these answers, judged so."""
    attempts = tuple(
        Attempt(
            i, i, Outcome.ANSWERED if a.strip() else Outcome.CUT_OFF, a, "", 1, 1, rubric.judge(proposal.rubric, met)
        )
        for i, (a, met) in enumerate(answers)
    )
    round = Round(1, proposal, None, attempts[:2], attempts[2:], Verdict(True))
    arm = Arm("agentic", "run", (), recipe.domain, {}, "", "")
    example = make_example(arm, trajectory(name, round), round, "CC0")
    return make_task(example, round, load(recipe.domain, None))
