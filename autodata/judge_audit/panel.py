"""Asks each judge of an audit to judge the chosen attempts, several times."""

from collections import Counter
from collections.abc import Mapping, Sequence

from autodata.judge_audit.findings import JudgedAttempt, Opinions
from autodata.loop import domain as base
from autodata.loop.agents import attempt_seed, gather_all
from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.models import Models
from autodata.run.progress import Progress
from autodata.serving.journal import Journal
from autodata.serving.llm import Client, Draining, role_config
from autodata.serving.measured import EndpointError
from autodata.serving.request import Request, resolve_sampling
from autodata.types import Judgement, Reply, Role


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
    """Ask one judge after the other, because they may share an endpoint and its limit on calls.

    Every attempt is judged as often as the recipe says. Raises EndpointError, JournalError, Draining.
    """
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
