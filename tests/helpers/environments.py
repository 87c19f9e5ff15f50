"""Makes tasks of every domain, and of a user's own, with judged attempts, as exported environments hold them."""

from pathlib import Path

from autodata.data.examples import Arm, make_example
from autodata.data.formats import Task, make_task
from autodata.domains.new import write_domain
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
    """Make a task that code decides, one of final answers, and two of rubrics; `more` changes the third's recipe."""
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
        judge(
            "legal",
            load_recipe("recipes/legal/generate.yaml", LAPTOP),
            candidate("My landlord kept the deposit. What now?"),
            [("sue", (True, True, True)), ("wait", BAD), ("write first", GOOD)],
        ),
    ]


def make_own_tasks(folder: Path) -> list[Task]:
    """Make tasks of domains in folders of a user: one with a rubric and a judge's prompt of its own, and two more."""
    names = {like: f"own_{like}" for like in ("cs", "science", "skills")}
    recipes = {}
    for like, name in names.items():
        write_domain(folder / name, like)
        # A name that Python could not import, as a recipe may give one.
        recipes[like] = load_recipe(str(folder / name / "generate.yaml"), LAPTOP, f"domain.name=own-{like} 2.0")
    own_judge = "{% block user %}{{ question }} {{ criteria }}: {{ answer | seal('answer') }}{% endblock %}"
    (folder / "own_cs/prompts/judge.j2").write_text(own_judge)
    skills = Candidate("one two\nThe second word is", "two", (Criterion("The answer is “two”.", 1),))
    return [
        judge("own cs", recipes["cs"], candidate("Why?"), [("all", GOOD), ("half", (True, False, True))]),
        judge(
            "own science",
            recipes["science"],
            make_candidate("What is x?", "x = 2"),
            [("$x = 2$", RIGHT), ("3", WRONG)],
        ),
        judge("own skills", recipes["skills"], skills, [("two”", RIGHT), ("one”", WRONG)]),
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
