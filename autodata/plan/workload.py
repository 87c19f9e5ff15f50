"""Models the calls that documents make: stages of parallel chains of calls, drawn from a run or from priors."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import yaml

from autodata.config import RecipeError, load
from autodata.recipes.generation import BASELINES, GenerateRecipe
from autodata.recipes.models import Models
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import require_finished
from autodata.run.records import read_records
from autodata.serving.request import resolve_sampling
from autodata.types import TRAJECTORY, Attempt, End, Role, Round, Trajectory

PRIORS = yaml.safe_load((Path(__file__).parent / "priors.yaml").read_text(encoding="utf-8"))
UNMEASURED = "priors.yaml, unmeasured"  # source of a plan that rests on no run


@dataclass(frozen=True)
class Call:
    """One request. Its numbers of tokens are fractions if a run records only their mean."""

    role: str  # a Role, or the name of a grader of PRBench
    prompt: float
    completion: float
    is_shared: bool = False  # an earlier call of its stage has the same prompt


# Chains that run side by side. In a chain, each call, or each whole story, comes after the one before it.
CallStage = tuple[tuple["Call | Story", ...], ...]


@dataclass(frozen=True)
class Story:
    """The calls of one document, from the first to the last; or of one iteration, whose parts are such stories."""

    stages: tuple[CallStage, ...]
    rounds: int
    accepted: bool

    @property
    def has_parts(self) -> bool:
        """True for a story that is made of stories."""
        return any(isinstance(part, Story) for stage in self.stages for chain in stage for part in chain)

    @property
    def calls(self) -> Iterator[Call]:
        for part in (part for stage in self.stages for chain in stage for part in chain):
            yield from part.calls if isinstance(part, Story) else (part,)


@dataclass(frozen=True)
class Workload:
    """A source of stories. `draw` takes one from a run, with replacement, or invents one from priors."""

    origin: str
    acceptance: float
    draw: Callable[[random.Random], Story]
    stories: Sequence[Story] = ()  # measured ones


def from_priors(recipe: GenerateRecipe, **changes: float) -> Workload:
    """Make a workload from what the paper or we assume about this domain, with these changes. Raises RecipeError."""
    prior = PRIORS["domains"].get(recipe.domain.name)
    if prior is None:
        unknown = f"domain.name={recipe.domain.name}: there are no priors for it"
        raise RecipeError(f"{unknown}; name a finished run with --like RUN")
    prior = prior | changes
    return Workload(UNMEASURED, prior["acceptance"], lambda rng: _invent(recipe, prior, rng))


def from_run(recipe: GenerateRecipe, folder: Path) -> Workload:
    """Make a workload that draws whole documents from a run. Raises RecipeError, RunError."""
    manifest = require_finished(str(folder), COMMANDS[GenerateRecipe])
    run_recipe = load(GenerateRecipe, [str(folder / "recipe.yaml")])
    for key in ("domain.name", "arm"):
        value, run_value = map(attrgetter(key), (recipe, run_recipe))
        if value != run_value:
            raise RecipeError(f"--like {folder}: it has {key}={run_value}, the recipe has {value}; name another run")
    trajectories = read_records(folder / "trajectories.jsonl", TRAJECTORY)
    if not any(t.rounds for t in trajectories):
        raise RecipeError(f"--like {folder}: none of its documents has a round; name another run")
    shares = _prompt_shares(trajectories, manifest)
    allowed = run_recipe.domain.max_rounds
    prolonged = [_prolong(t, allowed, recipe.domain.max_rounds) for t in trajectories]
    stories = [replay(t, recipe, shares) for t in prolonged]
    origin = str(folder)
    if count := sum(t is not recorded for t, recorded in zip(prolonged, trajectories, strict=True)):
        used_up = f"{count:,} of its {len(stories):,} documents used up their domain.max_rounds={allowed}"
        more = f"{recipe.domain.max_rounds} as well, which was not measured"
        origin += f"; WARNING: {used_up}, and are planned as if they used up {more}"
    return Workload(origin, fmean(s.accepted for s in stories), lambda rng: rng.choice(stories), stories)


def _prolong(trajectory: Trajectory, allowed: int, at_most: int) -> Trajectory:
    """Repeat the rounds of a document that used up those of its run, if the recipe allows more."""
    rounds = trajectory.rounds
    if trajectory.end is not End.ROUNDS_USED or not rounds or at_most <= allowed:
        return trajectory
    tokens = {role: round(count * at_most / len(rounds)) for role, count in trajectory.tokens.items()}
    return replace(trajectory, rounds=tuple(rounds[i % len(rounds)] for i in range(at_most)), tokens=tokens)


def replay(trajectory: Trajectory, recipe: GenerateRecipe, prompt_shares: Mapping[Role, float]) -> Story:
    """Replay a recorded document under `recipe`. If the recipe is the same, its tokens are the recorded ones."""
    rounds = _choose_rounds(trajectory, recipe)
    calls = _Calls(recipe, PRIORS["domains"].get(recipe.domain.name, {}))
    stages = [s for number, r in enumerate(rounds) for s in calls.retrace(r, number)]
    stages = [*calls.once(Role.CHALLENGER, "prepare"), *stages]
    accepted = any(r.verdict.accepted for r in rounds)
    spent = {role: trajectory.tokens.get(role, 0) * len(rounds) / max(1, len(trajectory.rounds)) for role in Role}
    return Story(tuple(_share_out(stages, spent, prompt_shares)), len(rounds), accepted)


def _choose_rounds(trajectory: Trajectory, recipe: GenerateRecipe) -> Sequence[Round]:
    """Choose the recorded rounds that a recipe would play. Independent proposals repeat if it makes more of them."""
    if recipe.arm == "cot" and trajectory.end is End.ONE_SHOT and trajectory.rounds:
        return [trajectory.rounds[i % len(trajectory.rounds)] for i in range(recipe.proposals)]
    return trajectory.rounds[: recipe.domain.max_rounds]


def _share_out(
    stages: Sequence[CallStage], spent: Mapping[Role, float], shares: Mapping[Role, float]
) -> Iterator[CallStage]:
    """Size the calls whose tokens no trajectory records: each gets an equal part of what its role spent."""
    counts = Counter(c.role for stage in stages for chain in stage for c in chain)

    def size(call: Call) -> Call:
        if call.role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER):
            return call
        each = spent[call.role] / counts[call.role]
        return replace(call, prompt=each * shares[call.role], completion=each * (1 - shares[call.role]))

    return (tuple(tuple(size(c) for c in chain) for chain in stage) for stage in stages)


class Asking(Protocol):
    """A recipe that asks models about texts of one domain."""

    models: Models
    domain: Any


def expect_tokens(domain: str, role: Role) -> tuple[float, float]:
    """Look up the tokens of a call, (prompt, completion): those of the domain, else those of all domains."""
    prompt, completion = PRIORS["domains"].get(domain, {}).get("tokens", {}).get(role) or PRIORS["tokens"][role]
    return prompt, completion


def ask(recipe: Asking, role: Role) -> Call:
    """Make a call of a role with the tokens of priors.yaml, within its max_tokens. Raises RecipeError."""
    models = recipe.models
    config = getattr(models, role)
    if config is None:
        advice = f"set models.{role}.endpoint, or append a file of recipes/models"
        raise RecipeError(f"the recipe names no model for {role}: {advice}")
    preset = models.endpoints[config.endpoint].sampling
    prompt, completion = expect_tokens(recipe.domain.name, role)
    return Call(role, prompt, min(completion, resolve_sampling(config.sampling, preset, role).max_tokens or 0))


class _Calls:
    """Lists the calls that each stage makes under a recipe."""

    def __init__(self, recipe: GenerateRecipe, prior: Mapping[str, Any]):
        self.recipe, self.domain, self.prior = recipe, recipe.domain, prior
        self.is_baseline = recipe.arm in BASELINES
        self.by_agent = recipe.orchestrator == "agent" and not self.is_baseline
        self.weak_first = recipe.domain.weak_first and recipe.arm != "cot"

    def ask(self, role: Role) -> Call:
        return ask(self.recipe, role)

    def once(self, role: Role, key: str) -> list[CallStage]:
        return [((self.ask(role),),)] * self.prior.get(key, 0)

    def propose(self, number: int) -> list[CallStage]:
        """Ask the orchestrator and then the challengers, once the proposals of earlier rounds are used up."""
        if number % self.domain.challengers:
            return []
        choice: list[CallStage] = [((self.ask(Role.ORCHESTRATOR),),)] if self.by_agent else []
        return [*choice, tuple((self.ask(Role.CHALLENGER),) for _ in range(self.domain.challengers))]

    def solve(self, attempts: Sequence[Call]) -> tuple[tuple[Call, ...], ...]:
        chains = tuple((a, *[self.ask(Role.JUDGE)] * self.prior.get("judge", 0)) for a in attempts)
        return (sum(chains, ()),) if self.weak_first and self.domain.early_stop else chains

    def round(self, number: int, last: str, weak: Sequence[Call], strong: Sequence[Call]) -> list[CallStage]:
        """List the stages of a round up to the one that ended it. A possible example has a final check."""
        stages = self.propose(number)
        if last == "propose":
            return stages
        stages += self.once(Role.QUALITY_VERIFIER, "verify")
        if last != "verify":
            attempts = [self.solve(weak), self.solve(strong)]
            attempts = attempts if self.weak_first else [attempts[0] + attempts[1]]
            stages += [*filter(None, attempts), *self.once(Role.QUALITY_VERIFIER, "assess")]
            if self.domain.final_check and (last == "accepted" or self.is_baseline):
                stages += self.once(Role.QUALITY_VERIFIER, "verify")
        return stages

    def retrace(self, round: Round, number: int) -> list[CallStage]:
        last = "strong" if round.weak or round.strong else "verify" if round.candidate else "propose"
        last = "accepted" if round.verdict.accepted else last
        weak = _adjust(round.weak, self.domain.weak_attempts, Role.WEAK_SOLVER)
        strong = _adjust(round.strong, self.domain.strong_attempts, Role.STRONG_SOLVER)
        return self.round(number, last, weak, strong)


def _adjust(attempts: Sequence[Attempt], count: int, role: Role) -> list[Call]:
    """Make as many calls as the recipe wants, sized like the recorded ones."""
    chosen = [attempts[i % len(attempts)] for i in range(count)] if attempts else []
    return [Call(role, a.prompt_tokens, a.completion_tokens, i > 0) for i, a in enumerate(chosen)]


def _invent(recipe: GenerateRecipe, prior: Mapping[str, Any], rng: random.Random) -> Story:
    """Invent a document: how its rounds end, and the calls that they make."""
    invent_ends = _invent_proposals if recipe.arm == "cot" else _invent_rounds
    calls, ends = _Calls(recipe, prior), invent_ends(recipe, prior, rng)
    solvers = ((Role.WEAK_SOLVER, recipe.domain.weak_attempts), (Role.STRONG_SOLVER, recipe.domain.strong_attempts))
    weak, strong = ([replace(calls.ask(role), is_shared=i > 0) for i in range(n)] for role, n in solvers)
    weak_only = {"weak"} if calls.weak_first else set()  # how rounds without strong attempts end
    stages = [s for n, end in enumerate(ends) for s in calls.round(n, end, weak, [] if end in weak_only else strong)]
    return Story((*calls.once(Role.CHALLENGER, "prepare"), *stages), len(ends), "accepted" in ends)


def _invent_rounds(recipe: GenerateRecipe, prior: Mapping[str, Any], rng: random.Random) -> list[str]:
    """Invent a loop that accepts after a geometrically distributed number of rounds, or uses up all rounds."""
    needed = 1
    while rng.random() > 1 / prior["rounds"]:
        needed += 1
    accepted = rng.random() < prior["acceptance"] and needed <= recipe.domain.max_rounds
    ends = _draw_failures(prior, rng, needed if accepted else recipe.domain.max_rounds)
    return [*ends[:-1], "accepted"] if accepted else ends


def _invent_proposals(recipe: GenerateRecipe, prior: Mapping[str, Any], rng: random.Random) -> list[str]:
    """Invent independent proposals. Each is as likely to be accepted as a round of the loop on this document."""
    chance = 1 / prior["rounds"] if rng.random() < prior["acceptance"] else 0.0
    return ["accepted" if rng.random() < chance else end for end in _draw_failures(prior, rng, recipe.proposals)]


def _draw_failures(prior: Mapping[str, Any], rng: random.Random, count: int) -> list[str]:
    return rng.choices(list(prior["fails"]), list(prior["fails"].values()), k=count)


def _prompt_shares(trajectories: Sequence[Trajectory], manifest: Mapping[str, Any]) -> dict[Role, float]:
    """Return the share of prompt tokens per role: from the ledger, else the same for all calls other than solvers'."""
    counts, ledger = manifest["counts"], manifest.get("ledger", {})
    attempts = [a for t in trajectories for r in t.rounds for a in (*r.weak, *r.strong)]
    rest = {
        kind: max(0, counts.get(kind, 0) - sum(getattr(a, kind) for a in attempts))
        for kind in ("prompt_tokens", "completion_tokens")
    }

    def share(cost: Mapping[str, int]) -> float:
        total = cost["prompt_tokens"] + cost["completion_tokens"]
        return cost["prompt_tokens"] / total if total else 0.5

    return {role: share(ledger.get(role, rest)) for role in Role}
