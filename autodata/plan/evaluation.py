"""Plans an evaluation, or the labelling of questions: answers and the calls that judge them, as queues."""

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autodata.config import RecipeError
from autodata.eval.sampled_answers import ANSWERS, SAMPLED_ANSWER, group_by
from autodata.plan import lengths
from autodata.plan.problems import Problems, count_arm, list_problems
from autodata.plan.queues import IN_FLIGHT, SIMULATED_PER_SLOT, QueuePlan, Queues, build_stations, read_paid
from autodata.plan.workload import PRIORS, UNMEASURED, Call, CallStage, Story, ask, name_prior
from autodata.recipes.evaluated import EVALUATED
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe
from autodata.recipes.models import Endpoint
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import require_finished
from autodata.run.records import read_records
from autodata.serving.costs import LEDGER, Cost
from autodata.serving.request import resolve_sampling
from autodata.types import Role

Draw = Callable[[str, random.Random], Story]  # makes the calls of one answer to a problem of a set


@dataclass(frozen=True)
class EvaluationPlan(QueuePlan):
    """A plan whose stories are answers."""

    sets: Mapping[str, Problems]
    samples: int

    def summarize(self, accepted: int | None) -> dict[str, str]:
        sizes = ", ".join(f"{name} {problems.count:,}" for name, problems in self.sets.items())
        return {
            "problems": f"{sizes}; answers to each: {self.samples}",
            "answers": f"{self.total:,} ({self.simulated:,} simulated); calls from {self.origin}",
            **self.summarize_calls("raise max_in_flight of the evaluated model's endpoint"),
        }


def plan_evaluation(recipe: EvalRecipe, options: argparse.Namespace) -> EvaluationPlan:
    """Simulate the evaluation of one model. Raises UserError."""
    sets = list_problems(recipe)
    if options.documents:
        sets = {name: replace(problems, count=options.documents) for name, problems in sets.items()}
    draw = _draw_from_run(recipe, options.like) if options.like else _draw_from_priors(recipe, sets)
    total = recipe.samples * sum(problems.count for problems in sets.values())
    solver = recipe.models.endpoints[recipe.models.weak_solver.endpoint]
    in_flight = 2 * (solver.max_in_flight or IN_FLIGHT) * len(sets)  # as autodata.eval.run gives to inspect_ai
    simulated = min(total, SIMULATED_PER_SLOT * in_flight)
    names = [name for name, problems in sets.items() for _ in range(problems.count * recipe.samples)]
    batches = [_draw_batch(names, simulated, draw, random.Random(recipe.seed + i)) for i in range(options.repeats)]
    served = _serve(recipe, batches)
    endpoints = {name: _stand_in(recipe, name, options.like) for name in sorted(set(served.values()))}
    stations, outcomes = Queues(batches, served, build_stations(endpoints, options), in_flight).run(options.gpus)
    origin = f"{options.like}" if options.like else UNMEASURED
    paid = read_paid(options.like, EvalRecipe, recipe.models)
    return EvaluationPlan(origin, total, simulated, served, stations, outcomes, paid, sets, recipe.samples)


@dataclass(frozen=True)
class QuestionTypesPlan(QueuePlan):
    """A plan whose stories are questions."""

    def summarize(self, accepted: int | None) -> dict[str, str]:
        advice = "raise max_in_flight of the judge's endpoint"
        return {"questions": f"{self.total:,}; calls from {self.origin}", **self.summarize_calls(advice)}


def plan_question_types(recipe: QuestionTypesRecipe, options: argparse.Namespace) -> QuestionTypesPlan:
    """Simulate the labelling of questions, all asked at once in one call each. Raises UserError."""
    if options.like:
        raise RecipeError(f"--like {options.like}: no run says how long labels are; give speeds with --speed")
    count = options.documents or count_arm(recipe.dataset, recipe.arm, name_prior(recipe.domain), recipe.examples)
    story = Story((((ask(recipe, Role.JUDGE),),),), 0, False)
    name = recipe.models.judge.endpoint
    stations = build_stations({name: recipe.models.endpoints[name]}, options)
    queues = Queues([[story] * count], {Role.JUDGE: name}, stations, count)
    stations, outcomes = queues.run(options.gpus)
    return QuestionTypesPlan(UNMEASURED, count, count, queues.served, stations, outcomes, {})


def _draw_batch(names: Sequence[str], count: int, draw: Draw, rng: random.Random) -> list[Story]:
    return [draw(name, rng) for name in rng.sample(names, count)]


def _serve(recipe: EvalRecipe, batches: Sequence[Sequence[Story]]) -> dict[str, str]:
    """Map each role and each grader that makes calls to its endpoint."""
    models = recipe.models
    roles = {Role.WEAK_SOLVER: models.weak_solver, Role.JUDGE: models.judge, **recipe.graders}
    called = {call.role for batch in batches for story in batch for call in story.calls}
    return {name: role.endpoint for name, role in roles.items() if role and name in called}


def _stand_in(recipe: EvalRecipe, name: str, like: Path | None) -> Endpoint:
    """Return an endpoint under the name whose speed is looked up: trained weights are as fast as untrained ones."""
    endpoint = recipe.models.endpoints[name]
    if name != EVALUATED:
        return endpoint
    if like:
        return replace(endpoint, model=require_finished(str(like), COMMANDS[EvalRecipe])["evaluated"]["model"])
    device = "cpu" if endpoint.server and endpoint.server.on_cpu else "gpu"
    return replace(endpoint, model=PRIORS["trainee"][device])


def _draw_from_priors(recipe: EvalRecipe, sets: Mapping[str, Problems]) -> Draw:
    """Draw answers with the lengths of priors.yaml, and the calls that judge them."""
    endpoint = recipe.models.endpoints[recipe.models.weak_solver.endpoint]
    budget = resolve_sampling(recipe.models.weak_solver.sampling, endpoint.sampling, Role.WEAK_SOLVER).max_tokens or 0
    drawn = lengths.assume(name_prior(recipe.domain), budget)
    solve = ask(recipe, Role.WEAK_SOLVER)
    judges = PRIORS["domains"].get(name_prior(recipe.domain), {}).get("judge", 1)

    def draw(name: str, rng: random.Random) -> Story:
        answer = replace(solve, completion=drawn.draw(rng))
        graded = _grade(recipe, round(sets[name].criteria))
        judging = graded or tuple((ask(recipe, Role.JUDGE),) for _ in range(judges))
        return _make_story(answer, judging)

    return draw


def _grade(recipe: EvalRecipe, criteria: int) -> CallStage:
    """List the calls of every grader for each criterion. They read conversation and answer, which are shared."""
    graders = recipe.graders or {Role.JUDGE: recipe.models.judge}
    prompt, completion = PRIORS["grader"]
    return tuple((Call(name, prompt, completion, i > 0),) for name in graders for i in range(criteria))


def _make_story(answer: Call, judging: CallStage) -> Story:
    stages: tuple[CallStage, ...] = (((answer,),),)
    return Story((*stages, judging) if judging else stages, 0, False)


def _draw_from_run(recipe: EvalRecipe, folder: Path) -> Draw:
    """Draw whole answers from a finished evaluation of the same sets. Raises RecipeError, RunError."""
    manifest = require_finished(str(folder), COMMANDS[EvalRecipe])
    answers = group_by(read_records(folder / ANSWERS, SAMPLED_ANSWER), "task")
    everything = [answer for group in answers.values() for answer in group]
    if not everything:
        raise RecipeError(f"--like {folder}: it has no answers; name another run")
    ledger = LEDGER.validate_python(manifest["ledger"])
    prompt = ledger[Role.WEAK_SOLVER].prompt_tokens / max(1, ledger[Role.WEAK_SOLVER].calls)
    judge = ledger.get(Role.JUDGE, Cost())

    def draw(name: str, rng: random.Random) -> Story:
        answer = rng.choice(answers.get(name, everything))
        names = list(recipe.graders) if name.startswith("prbench_") and recipe.graders else [Role.JUDGE]
        count = int(judge.calls / len(everything) + rng.random())  # the mean of a run is no whole number
        size = judge.prompt_tokens / max(1, judge.calls), judge.completion_tokens / max(1, judge.calls)
        judging = tuple((Call(names[i % len(names)], *size),) for i in range(count))
        return _make_story(Call(Role.WEAK_SOLVER, prompt, answer.tokens), judging)

    return draw
