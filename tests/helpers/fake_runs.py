"""Writes small finished generation runs, for tests of the commands that read them."""

import json
from dataclasses import replace
from pathlib import Path

from autodata.config import to_yaml
from autodata.loop import rubric
from autodata.loop.domain import Domain
from autodata.recipes.generation import GenerateRecipe
from autodata.run.records import hash_path
from autodata.types import (
    TRAJECTORY,
    Attempt,
    Candidate,
    Criterion,
    End,
    Outcome,
    Quality,
    Round,
    Trajectory,
    Verdict,
)
from tests.helpers.recipes import load_recipe

RUBRIC = (Criterion("names the word", 2), Criterion("gives a reason", 1), Criterion("contradicts itself", -1))
GOOD, BAD = (True, True, False), (False, False, False)
MODELS = {"weak_solver": "small", "strong_solver": "large"}


def candidate(question: str, **values: object) -> Candidate:
    return Candidate(**{"question": question, "reference_answer": "stone", "rubric": RUBRIC, **values})


def attempts(lines: tuple[Criterion, ...], *met: tuple[bool, ...]) -> tuple[Attempt, ...]:
    judged = [rubric.judge(lines, m) for m in met]
    return tuple(Attempt(i, 10 + i, Outcome.ANSWERED, "a", "", 1, 1, j) for i, j in enumerate(judged))


def a_round(
    number: int, proposal: Candidate, recipe: GenerateRecipe, *, weak: int = 2, strong: int = 8, **values: object
) -> Round:
    """Make a round with `weak` and `strong` right answers out of 8 each; the verdict is computed by the rule."""
    solvers = [attempts(proposal.rubric, *[GOOD] * right, *[BAD] * (8 - right)) for right in (weak, strong)]
    domain = RuleOnly(recipe)
    presets = {name: domain.decide(proposal, *solvers, gate) for name, gate in recipe.domain.presets.items()}
    verdict = presets[recipe.domain.preset]
    return replace(Round(number, proposal, None, *solvers, verdict, presets), **values)


class RuleOnly(Domain):
    """The rules of a domain, without prompts and models."""

    challenge = read_candidate = check_quality = None

    def __init__(self, recipe: GenerateRecipe):
        self.config = recipe.domain


def demo_recipe(*more: str, name: str = "generate") -> GenerateRecipe:
    return load_recipe(f"recipes/demo/{name}.yaml", *more)


def trajectory(document: str, *rounds: Round, arm: str = "agentic", **values: object) -> Trajectory:
    is_accepted = bool(rounds) and rounds[-1].verdict.accepted is True and arm == "agentic"
    end = End.ACCEPTED if is_accepted else End.ROUNDS_USED if arm == "agentic" else End.ONE_SHOT
    record = Trajectory(document, f"{document}.txt", arm, "just_right", tuple(rounds), end, tokens={"challenger": 7})
    return replace(record, **values)


def simple(document: str, question: str, recipe: GenerateRecipe, arm: str = "agentic", **values: object) -> Trajectory:
    """Make a trajectory of one measured round over one question."""
    return trajectory(document, a_round(1, candidate(question), recipe, **values), arm=arm)


def checked(proposal: Candidate, passed: bool) -> Quality:
    return Quality(passed, "", proposal.hash)


def write_run(folder: Path, recipe: GenerateRecipe, *trajectories: Trajectory, **manifest: object) -> str:
    """Write a run folder as autodata.generate leaves it."""
    folder.mkdir(parents=True)
    (folder / "trajectories.jsonl").write_bytes(b"".join(TRAJECTORY.dump_json(t) + b"\n" for t in trajectories))
    (folder / "recipe.yaml").write_text(to_yaml(recipe))
    outputs = {"trajectories.jsonl": hash_path(folder / "trajectories.jsonl")}
    facts = {"finished": "now", "inputs": {"prompts": "p1"}, "models": MODELS, "arm": recipe.arm, "outputs": outputs}
    (folder / "manifest.json").write_text(json.dumps(facts | manifest))
    return str(folder)


def refused(reason: str = "") -> Verdict:
    return Verdict(False, None, reason)
