"""The judges of an audit: everything that they are asked, and how far they are."""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich import progress as bars
from rich.console import Console

from autodata.audit_report import Judged, Opinions
from autodata.domains import base
from autodata.domains.base import gather_all
from autodata.journal import Journal
from autodata.llm import Client, Draining, EndpointError, role_config
from autodata.recipes import JudgeAuditRecipe, Models
from autodata.request import Request, attempt_seed, resolve_sampling
from autodata.types import Judgement, Reply, Role

_LINE_EVERY_S = 15  # where there is no terminal to draw a bar in


class Listener(Client):
    """A client that also counts first asks, second asks, … of the judge, replayed ones included."""

    def __init__(self, models: Models, journal: Journal):
        super().__init__(models, journal)
        self.asks: Counter[int] = Counter()

    async def ask(self, request: Request) -> Reply:
        self.asks[request.attempt] += 1
        return await super().ask(request)


class Judge:
    """One of the judges that are compared."""

    def __init__(self, name: str, models: Models, recipe: JudgeAuditRecipe, journal: Journal):
        self.name = name
        self.client = Listener(models, journal)
        self._recipe = recipe
        self._domain = base.load(recipe.domain, self.client, recipe.seed)
        self._problem: EndpointError | None = None

    async def judge_all(self, chosen: Sequence[Judged], progress: "Progress") -> Opinions:
        """Every attempt, as often as the recipe says. Raises EndpointError, JournalError, Draining."""
        repeats = self._recipe.repeats
        try:
            calls = [self._judge(tried, repeat, progress) for tried in chosen for repeat in range(repeats)]
            found = await gather_all(calls)
        except Draining:
            raise self._problem or Draining() from None
        finally:
            await self.client.close()
        first, second = self.client.asks[0], self.client.asks[1]
        role = role_config(self.client.models, Role.JUDGE)
        endpoint = self.client.models.endpoints[role.endpoint]
        return Opinions(
            name=self.name,
            model=endpoint.model,
            temperature=resolve_sampling(role.sampling, endpoint.sampling).temperature or 0.0,
            first_asks=first,
            unreadable=second if self._recipe.domain.judge_retries else self.client.counts["asked_again"],
            judgements=tuple(tuple(found[i : i + repeats]) for i in range(0, len(found), repeats)),
        )

    async def _judge(self, tried: Judged, repeat: int, progress: "Progress") -> Judgement:
        # The attempt's own seed tells attempts apart, the repeat the times that it is judged.
        seed = attempt_seed(self._recipe.seed + tried.attempt.seed, tried.document_id, tried.round, Role.JUDGE, repeat)
        try:
            judgement = await self._domain.judge(tried.candidate, tried.attempt.answer, seed)
        except EndpointError as error:
            self.client.draining = True  # as Ctrl-C does: what is under way is answered and kept
            self._problem = self._problem or error
            raise
        progress.advance()
        return judgement


class Progress:
    """Judgements done, per second, and the time left."""

    def __init__(self, total: int, clients: Sequence[Client]):
        self._total = total
        self._clients = clients
        self._done = 0
        self._start = self._last_line = time.monotonic()
        self._bar = bars.Progress(
            bars.TextColumn("judgements"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[detail]}"),
            bars.TimeElapsedColumn(),
            bars.TimeRemainingColumn(),
            disable=not sys.stderr.isatty(),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("judgements", total=total, detail="")

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self) -> None:
        """Show that one more judgement is there."""
        self._done += 1
        now = time.monotonic()
        rate = self._done / max(now - self._start, 1e-6)
        calls, replayed = (sum(client.counts[key] for client in self._clients) for key in ("calls", "replayed"))
        detail = f"{rate:.2f} judgements/s, {calls} calls, {replayed} replayed"
        self._bar.update(self._task, completed=self._done, detail=detail)
        if self._bar.disable and (self._done == self._total or now - self._last_line > _LINE_EVERY_S):
            self._last_line = now
            left = (self._total - self._done) / rate
            print(f"{self._done}/{self._total} judgements, {detail}, {left:.0f} s left", flush=True)


async def ask_judges(judges: Sequence[Judge], chosen: Sequence[Judged], progress: Progress) -> list[Opinions]:
    """One judge after the other: they may share an endpoint and its limit of calls."""
    _drain_on_signal([judge.client for judge in judges])
    return [await judge.judge_all(chosen, progress) for judge in judges]


def _drain_on_signal(clients: Iterable[Client]) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for client in clients:
            client.draining = True
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)
        print("\nstopping: calls under way are finished and kept (again: stop at once)", file=sys.stderr)

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop)
