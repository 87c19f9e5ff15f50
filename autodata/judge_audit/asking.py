"""Chooses the attempts of a run that are judged again, and asks the judges about them, several times each."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from autodata.config import RecipeError
from autodata.judge_audit.findings import JudgedAttempt, Opinions
from autodata.loop import domain as base
from autodata.loop.agents import attempt_seed, gather_all
from autodata.loop.domain import Domain
from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.models import Models
from autodata.run.progress import Progress
from autodata.run.records import TRAJECTORIES, RunError, read_records
from autodata.serving.journal import Journal
from autodata.serving.llm import Client, Draining, role_config
from autodata.serving.measured import EndpointError
from autodata.serving.request import Request, resolve_sampling
from autodata.types import TRAJECTORY, Judgement, Reply, Role, Trajectory


def order_attempts(trajectories: Sequence[Trajectory], seed: int) -> list[JudgedAttempt]:
    """Order all judged attempts that have an answer: one of each document, then a second of each, and so on."""
    generator = random.Random(seed)
    by_document: dict[str, list[JudgedAttempt]] = defaultdict(list)
    for trajectory in sorted(trajectories, key=lambda t: t.document_id):  # whichever was finished first
        by_document[trajectory.document_id] += [
            JudgedAttempt(trajectory.document_id, round.number, solver, round.candidate, attempt)
            for round in trajectory.rounds
            if round.candidate
            for solver, attempts in ((Role.WEAK_SOLVER, round.weak), (Role.STRONG_SOLVER, round.strong))
            for attempt in attempts
            if attempt.answer.strip() and attempt.judgement.met is not None
        ]
    documents = list(by_document.values())
    generator.shuffle(documents)
    for attempts in documents:
        generator.shuffle(attempts)
    return [judged for nth_of_each in zip_longest(*documents) for judged in nth_of_each if judged]


async def choose(recipe: JudgeAuditRecipe, journal: Journal) -> list[JudgedAttempt]:
    """Choose the first attempts that need the judge. Raises RunError or RecipeError if there are too few."""
    silent = Client(recipe.models, journal)
    silent.draining = True  # no model is called
    domain = base.load(recipe.domain, silent, recipe.seed)
    ordered = order_attempts(read_records(Path(recipe.generation) / TRAJECTORIES, TRAJECTORY), recipe.seed)
    chosen: list[JudgedAttempt] = []
    for judged in ordered:
        if len(chosen) < recipe.attempts and await _needs_judge(judged, domain):
            chosen.append(judged)
    if not chosen:
        raise RunError(
            f"generation={recipe.generation}: no attempt of this run needed a judge, so there is nothing to audit "
            f"(judged attempts with an answer: {len(ordered):,}; domain: {recipe.domain.name})"
        )
    if len(chosen) < recipe.attempts:
        raise RecipeError(
            f"attempts={recipe.attempts}: a judge read fewer answers of {recipe.generation}; "
            f"set attempts={len(chosen)} or less"
        )
    return chosen


async def _needs_judge(judged: JudgedAttempt, domain: Domain) -> bool:
    """Return True if the domain would ask the judge: code alone can judge some attempts (science) or all (skills)."""
    copy = domain.for_document({})
    try:
        await copy.judge(judged.candidate, judged.attempt.answer, judged.attempt.seed)
    except Draining:
        return True
    return Role.JUDGE in copy.agents.spent


class Listener(Client):
    """A client that also counts how often the judge was asked a first time, a second time, … (with replayed calls)."""

    def __init__(self, models: Models, journal: Journal):
        super().__init__(models, journal)
        self.asks: Counter[int] = Counter()

    async def ask(self, request: Request) -> Reply:
        self.asks[request.attempt] += 1
        return await super().ask(request)


async def ask_judges(
    clients: Mapping[str, Listener], recipe: JudgeAuditRecipe, chosen: Sequence[JudgedAttempt], progress: Progress
) -> list[Opinions]:
    """Ask one judge after the other: they may share a limit on calls. Raises EndpointError, JournalError, Draining."""
    repeats, opinions = recipe.repeats, []
    for name, client in clients.items():
        judgements = await _judge_all(client, recipe, chosen, progress)
        role = role_config(client.models, Role.JUDGE)
        endpoint = client.models.endpoints[role.endpoint]
        opinion = Opinions(
            name=name,
            model=endpoint.model,
            temperature=resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE).temperature or 0.0,
            first_asks=client.asks[0],
            unreadable=client.asks[1] if recipe.domain.judge_retries else client.counts["asked_again"],
            judgements=tuple(tuple(judgements[i : i + repeats]) for i in range(0, len(judgements), repeats)),
        )
        opinions.append(opinion)
    return opinions


async def _judge_all(
    client: Listener, recipe: JudgeAuditRecipe, chosen: Sequence[JudgedAttempt], progress: Progress
) -> list[Judgement]:
    domain = base.load(recipe.domain, client, recipe.seed)
    problems: list[EndpointError] = []

    async def judge(judged: JudgedAttempt, repeat: int) -> Judgement:
        # The attempt's own seed makes attempts differ; `repeat` makes the judgements of one attempt differ.
        own_seed = recipe.seed + judged.attempt.seed
        seed = attempt_seed(own_seed, judged.document_id, judged.round, Role.JUDGE, repeat)
        try:
            judgement = await domain.judge(judged.candidate, judged.attempt.answer, seed)
        except EndpointError as error:
            client.draining = True  # as on Ctrl-C: calls in flight are finished and kept
            problems.append(error)
            raise
        progress.advance()
        return judgement

    try:
        return await gather_all([judge(judged, repeat) for judged in chosen for repeat in range(recipe.repeats)])
    except Draining:
        raise next(iter(problems), Draining()) from None
