"""Plans meta-optimisation: iterations try the loop on documents, ask for an edit, and compare parent and mutant."""

import argparse
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from autodata.config import RecipeError
from autodata.meta.gate import Decision, Pair, decide, plan_looks
from autodata.plan.queues import SIMULATED_PER_SLOT, QueuePlan, Queues, build_stations, read_paid
from autodata.plan.workload import PRIORS, CallStage, Story, Workload, ask, from_priors, from_run, name_prior
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.serving.llm import role_config
from autodata.stats.writing import write_duration
from autodata.types import Role

_COUNTED = 400  # chosen: iterations that are drawn without their calls, to count the documents that they try


@dataclass(frozen=True)
class MetaPlan(QueuePlan):
    """A plan whose stories are documents on which a member is tried; several of them are a part of an iteration."""

    recipe: MetaRecipe

    def summarize(self, accepted: int | None) -> dict[str, str]:
        recipe = self.recipe
        passes = f"{recipe.baseline_draws} of the baseline, {2 * recipe.test_draws} over the test documents"
        return {
            "iterations": f"{recipe.iterations:,}; passes: {passes}",
            "documents tried": f"{self.total:,} ({self.simulated:,} simulated); calls from {self.origin}",
            "an iteration": self.warn_of_limit() or f"ends within iteration_hours={recipe.iteration_hours:g}",
            **self.summarize_calls("raise iterations_in_flight"),
        }

    @property
    def iteration_s(self) -> float:
        """The mean wall-clock time of an iteration, if iterations take nearly all of the time."""
        return fmean(self.seconds) * self.recipe.iterations_in_flight / max(1, self.recipe.iterations)

    def warn_of_limit(self) -> str:
        """Say that iterations would be ended before they are finished; empty if they have time enough."""
        limit = self.recipe.iteration_hours
        if not self.is_timed or self.iteration_s <= limit * 3600:
            return ""
        name, _ = self.bottleneck
        took = f"takes {write_duration(self.iteration_s)}, but iteration_hours={limit:g} ends it"
        return f"{took}: raise replicas of {name} or iteration_hours"


def plan_meta(recipe: MetaRecipe, options: argparse.Namespace) -> MetaPlan:
    """Simulate the search for better prompts. Raises UserError."""
    if options.documents:
        raise RecipeError(f"--documents {options.documents}: set splits.training, splits.validation and splits.test")
    workload = _make_workload(recipe, options)
    draw, stories = _Draw(recipe, workload), list_stories(recipe)
    simulated = min(len(stories), SIMULATED_PER_SLOT * recipe.iterations_in_flight)
    generators = [random.Random(recipe.seed + i) for i in range(options.repeats)]
    batches = [[draw.make(size, rng) for size in rng.sample(stories, simulated)] for rng in generators]
    roles = sorted({call.role for batch in batches for story in batch for call in story.calls})
    served = {role: role_config(recipe.models, role).endpoint for role in roles}
    endpoints = {name: recipe.models.endpoints[name] for name in sorted(set(served.values()))}
    stations = build_stations(endpoints, options)
    queues = Queues(batches, served, stations, recipe.iterations_in_flight, recipe.documents_in_flight)
    stations, outcomes = queues.run(options.gpus)
    tried = round(fmean(sum(map(count_documents, batch)) for batch in batches))
    facts = workload.origin, estimate_documents(recipe, workload), tried, served, stations, outcomes
    return MetaPlan(*facts, read_paid(options.like, GenerateRecipe, recipe.models), recipe)


def count_documents(story: Story) -> int:
    """Count the documents that are tried in an iteration or a pass."""
    return sum(isinstance(part, Story) for stage in story.stages for chain in stage for part in chain)


def list_stories(recipe: MetaRecipe) -> list[int | None]:
    """List what a search does: None for an iteration, a number for a pass over so many documents."""
    passes = [recipe.splits.validation] * recipe.baseline_draws + [recipe.splits.test] * 2 * recipe.test_draws
    return [None] * recipe.iterations + passes


def estimate_documents(recipe: MetaRecipe, workload: Workload) -> int:
    """Estimate how many documents a search tries: iterations differ much, so many are drawn, without their calls."""
    rng = random.Random(recipe.seed)
    rate = fmean(workload.draw(rng).accepted for _ in range(_COUNTED))
    draw = _Draw(recipe, replace(workload, draw=lambda rng: Story((), 0, rng.random() < rate)))
    each = fmean(count_documents(draw.make(None, rng)) for _ in range(_COUNTED))
    return round(recipe.iterations * each) + sum(filter(None, list_stories(recipe)))


def _make_workload(recipe: MetaRecipe, options: argparse.Namespace) -> Workload:
    """Make the source of the trials: a run of the agentic loop, or priors with the pass rate of the baseline."""
    loop = GenerateRecipe(
        run=recipe.run,
        documents=recipe.documents,
        domain=recipe.domain,
        models=recipe.models,
        orchestrator=recipe.orchestrator,
    )
    if options.like:
        return from_run(loop, options.like)
    rate = _find_prior(recipe).get("baseline")
    return from_priors(loop, **({"acceptance": rate} if rate else {}))


def _find_prior(recipe: MetaRecipe) -> Mapping[str, float]:
    return PRIORS["domains"].get(name_prior(recipe.domain), {})


class _Draw:
    """Draws the stories of a search in which no mutant is better or worse than its parent."""

    def __init__(self, recipe: MetaRecipe, workload: Workload):
        self.recipe, self.workload = recipe, workload
        edits = (Role.ANALYSER, Role.EDITOR) if recipe.mutation == "edit" else ()
        self._edit = tuple(ask(recipe, role) for role in edits)
        has_check = recipe.models.quality_verifier and _find_prior(recipe).get("verify")
        self._check: CallStage = ((ask(recipe, Role.QUALITY_VERIFIER),),) if has_check else ()

    def make(self, size: int | None, rng: random.Random) -> Story:
        return self._iterate(rng) if size is None else Story((_side_by_side(self._try(size, rng)),), 0, False)

    def _try(self, count: int, rng: random.Random) -> list[Story]:
        """Try so many documents; one that is accepted is checked once more, with the baseline's prompts."""
        stories = [self.workload.draw(rng) for _ in range(count)]
        checked = [*filter(None, [self._check])]
        return [replace(s, stages=(*s.stages, *checked)) if s.accepted else s for s in stories]

    def _iterate(self, rng: random.Random) -> Story:
        """Try the parent on training documents, ask for an edit, and compare until the gate decides."""
        stages: list[CallStage] = []
        if self._edit:
            learned = self._try(min(self.recipe.minibatch, self.recipe.splits.training), rng)
            stages = [_side_by_side(learned), (self._edit,)]
        pairs: list[Pair] = []
        for documents, _ in plan_looks(range(self.recipe.splits.validation), self.recipe.acceptance):
            parent, child = (self._try(len(documents), rng) for _ in range(2))
            stages.append(_side_by_side([*parent, *child]))
            pairs += [Pair(p.accepted, c.accepted) for p, c in zip(parent, child, strict=True)]
            decision = decide(pairs, self.recipe.splits.validation, self.recipe.acceptance)
            if decision is not Decision.MORE:
                break
        return Story(tuple(stages), 0, decision is Decision.ACCEPT)


def _side_by_side(trials: Sequence[Story]) -> CallStage:
    return tuple((trial,) for trial in trials)
