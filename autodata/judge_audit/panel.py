"""Asks each judge of an audit to judge the chosen attempts, several times."""

from collections import Counter
from collections.abc import Sequence

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


class Judge:
    """One of the judges that the audit compares, with its own client."""

    def __init__(self, name: str, models: Models, recipe: JudgeAuditRecipe, journal: Journal):
        self.name = name
        self.client = Listener(models, journal)
        self._recipe = recipe
        self._domain = base.load(recipe.domain, self.client, recipe.seed)
        self._problem: EndpointError | None = None

    async def judge_all(self, chosen: Sequence[JudgedAttempt], progress: Progress) -> Opinions:
        """Judge every attempt as often as the recipe says. Raises EndpointError, JournalError, Draining."""
        repeats = self._recipe.repeats
        try:
            calls = [self._judge(judged, repeat, progress) for judged in chosen for repeat in range(repeats)]
            judgements = await gather_all(calls)
        except Draining:
            raise self._problem or Draining() from None
        first, second = self.client.asks[0], self.client.asks[1]
        role = role_config(self.client.models, Role.JUDGE)
        endpoint = self.client.models.endpoints[role.endpoint]
        return Opinions(
            name=self.name,
            model=endpoint.model,
            temperature=resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE).temperature or 0.0,
            first_asks=first,
            unreadable=second if self._recipe.domain.judge_retries else self.client.counts["asked_again"],
            judgements=tuple(tuple(judgements[i : i + repeats]) for i in range(0, len(judgements), repeats)),
        )

    async def _judge(self, judged: JudgedAttempt, repeat: int, progress: Progress) -> Judgement:
        # The attempt's own seed makes attempts differ; `repeat` makes the judgements of one attempt differ.
        seed = attempt_seed(
            self._recipe.seed + judged.attempt.seed, judged.document_id, judged.round, Role.JUDGE, repeat
        )
        try:
            judgement = await self._domain.judge(judged.candidate, judged.attempt.answer, seed)
        except EndpointError as error:
            self.client.draining = True  # as on Ctrl-C: calls in flight are finished and kept
            self._problem = self._problem or error
            raise
        progress.advance()
        return judgement


async def ask_judges(judges: Sequence[Judge], chosen: Sequence[JudgedAttempt], progress: Progress) -> list[Opinions]:
    """Ask one judge after the other, because they may share an endpoint and its limit on calls."""
    return [await judge.judge_all(chosen, progress) for judge in judges]
