"""Asks models at OpenAI-compatible endpoints. A request is looked up in the journal first, then sent and retried."""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.serving import limits
from autodata.serving.costs import Account, BusyTime, Ledger, find_place, make_ledger
from autodata.serving.journal import Journal, JournalError
from autodata.serving.limits import Limit
from autodata.serving.measured import EndpointError, NotMeasured, PromptCut
from autodata.serving.request import Keys, Request, make_body, request_keys, resolve_sampling
from autodata.serving.usage import count_read
from autodata.serving.wire import failures
from autodata.serving.wire.batch_files import BATCHES
from autodata.serving.wire.batches import Batches
from autodata.serving.wire.body import Json
from autodata.serving.wire.connection import Connection
from autodata.serving.wire.failures import EmptyReply
from autodata.serving.wire.faults import BadShape, Fault
from autodata.serving.wire.pace import Pace
from autodata.serving.wire.reply import (
    count_prompt,
    estimate_usage,
    find_answer,
    find_limit,
    is_cut,
    read_reply,
)
from autodata.serving.wire.retries import persist
from autodata.types import Message, Outcome, Reply, Role

log = logging.getLogger(__name__)
_IN_FLIGHT = 64  # calls in flight if the recipe sets no limit
_IN_BATCHES = 200_000  # calls that may wait for batches, so that they need not wait for one another
# Retries after a reply that is no answer. They help against a passing fault, not against a model's fixed habit.
_REPEATS = 2


class Draining(RuntimeError):
    """Graceful shutdown: calls in flight are finished, no new one is started."""


class MissingReply(JournalError):
    """A replay needs a reply that the journal does not hold; the message names the request."""

    def __init__(self, request: Request, keys: Keys, journal: Path):
        start = " ".join(request.messages[-1].content.split())[:120]
        super().__init__(
            f"{journal}: no reply to the {request.role}'s request {keys.exact[:12]} (attempt {request.attempt}, "
            f"seed {request.seed}), which begins {start!r}; nothing was asked, because models.replay is true"
        )


class Client:
    """Asks a recipe's endpoints; every answer is in the journal before it is returned. Raises EndpointError."""

    def __init__(self, models: Models, journal: Journal, gpu_share: float = 1.0):
        """`gpu_share`: the share of the GPUs that counts as this client's, if several processes use them."""
        self.models = models
        self._gpu_share = gpu_share
        self.accounts: defaultdict[Role, Account] = defaultdict(Account)
        self.busy = BusyTime()
        self.busy_at: defaultdict[str, BusyTime] = defaultdict(BusyTime)  # by endpoint
        self.busy_gpus: defaultdict[str, BusyTime] = defaultdict(BusyTime)  # by place, which endpoints may share
        self.draining = False
        self.find_spent_budget: Callable[[], str | None] | None = None  # called before every new call
        self.spent_budget: str | None = None  # names the limit of the budget that stopped the run
        self._journal = journal
        self._under_way: dict[str, asyncio.Event] = {}  # key → set when that call has ended or failed
        self._lines: dict[str, Line] = {}
        self._controllers: list[asyncio.Task[None]] = []

    async def ask(self, request: Request) -> Reply:
        """Return the journalled answer or a new one, even if cut off. Raises Draining, EndpointError (NotMeasured)."""
        role = role_config(self.models, request.role)
        endpoint = self.models.endpoints[role.endpoint]
        keys = request_keys(request, endpoint, resolve_sampling(role.sampling, endpoint.sampling, request.role))
        while equal := self._under_way.get(keys.exact):
            await equal.wait()  # its reply serves both; if it fails, this request is still sent
        if stored := self._find(keys, request.messages):
            self.accounts[request.role].counts["replayed"] += 1
            return stored
        if self.models.replay:
            raise MissingReply(request, keys, self._journal.path)
        ended = self._under_way[keys.exact] = asyncio.Event()
        try:
            async with self._line(role.endpoint).limit:
                self._require_room()
                reply = await self._call_counted(request, role, keys.exact)
            return await self._journal.put(keys.choose(reply), reply)
        finally:
            del self._under_way[keys.exact]
            ended.set()

    def _find(self, keys: Keys, messages: Sequence[Message]) -> Reply | None:
        """Find a stored answer to the same request. An answer that ended by itself holds for any larger budget."""
        stored = self._journal.get(keys.any_budget)
        if stored is None or stored.completion_tokens > keys.budget:
            stored = self._journal.get(keys.exact)
        # Older journals hold replies to prompts that the server had cut.
        return None if stored is None or is_cut(messages, stored.prompt_tokens) else stored

    async def close(self) -> None:
        for controller in self._controllers:
            controller.cancel()
        await asyncio.gather(*self._controllers, return_exceptions=True)
        for line in self._lines.values():
            if line.batches:
                await line.batches.close()
            await line.connection.close()

    @property
    def counts(self) -> Counter[str]:
        """The counts of all roles in this session."""
        return sum((account.counts for account in list(self.accounts.values())), Counter())

    def ledger(self) -> Ledger:
        """Compute the ledger of this session."""
        return make_ledger(dict(self.accounts), self.models, self.busy_gpus, self._gpu_share)

    def _require_room(self) -> None:
        """Raise Draining if no new call may be started."""
        if not self.draining and self.find_spent_budget and (message := self.find_spent_budget()):
            self.spent_budget, self.draining = message, True
        if self.draining:
            raise Draining(self.spent_budget or "the run is stopping: no new call is started")

    def _line(self, name: str) -> "Line":
        # Opened on first use, inside the event loop that uses it: TRL runs rewards in an event loop of its own.
        if name not in self._lines:
            endpoint = self.models.endpoints[name]
            first = limits.FIRST_LIMIT if endpoint.leases else _IN_FLIGHT
            limit = Limit(_IN_BATCHES if endpoint.batch else endpoint.max_in_flight or first)
            rated = replace(endpoint, requests_per_minute=None, tokens_per_minute=None) if endpoint.batch else endpoint
            pace = Pace(rated, limit)
            self._lines[name] = line = Line(endpoint, Connection(endpoint), limit, pace)
            if endpoint.batch:
                path = self._journal.path.with_suffix(BATCHES)
                line.batches = Batches(endpoint, line.connection, pace, path, self._require_room)
            elif following := _follow_load(name, endpoint, limit):
                self._controllers.append(asyncio.create_task(following))
        return self._lines[name]

    async def _call_counted(self, request: Request, role: RoleConfig, key: str) -> Reply:
        account = self.accounts[request.role]
        account.running += 1
        gpus = self.busy_gpus[find_place(role.endpoint, self.models.endpoints[role.endpoint])]
        try:
            with self.busy, self.busy_at[role.endpoint], gpus:
                reply = await self._call(request, role, key)
        except EndpointError as error:
            account.end(error.outcome if isinstance(error, NotMeasured) else Outcome.ERROR)
            raise
        finally:
            account.running -= 1
        account.end(reply.outcome)
        return reply

    async def _call(self, request: Request, role: RoleConfig, key: str) -> Reply:
        line, start = self._line(role.endpoint), time.monotonic()
        sampling = resolve_sampling(role.sampling, line.endpoint.sampling, request.role)
        call = _Call(self, request, line, sampling, key)
        try:
            return await persist(call.send, line.endpoint, line.pace, call)
        except EmptyReply as error:
            raise failures.describe_no_answer(error.reply, request, call.replies) from error
        except Fault as fault:
            raise failures.describe_failure(fault, request, line.endpoint, time.monotonic() - start) from fault


@dataclass
class Line:
    """The way to one endpoint, which all of its calls share."""

    endpoint: Endpoint
    connection: Connection
    limit: Limit
    pace: Pace
    batches: Batches | None = None

    async def post(self, key: str, body: Json) -> Json:
        """Send a body at once, or with a batch. Raises Fault, Draining."""
        if self.batches:
            return await self.batches.post(key, body)
        return await self.connection.post("/chat/completions", body)


class _Call:
    """One request, which may have to be sent several times."""

    def __init__(self, client: Client, request: Request, line: Line, sampling: Sampling, key: str):
        self.who = str(request.role)
        self.tokens = count_prompt(request) if line.endpoint.tokens_per_minute else 0
        self.require_room = client._require_room
        self.replies = 0  # replies that were no answer
        self._account = client.accounts[request.role]
        self._request, self._line, self._budget = request, line, sampling.max_tokens or 0
        self._key, self._body = key, make_body(request, line.endpoint, sampling)

    async def send(self) -> Reply:
        """Send one HTTP request and return its answer. Raises Fault, PromptCut."""
        start, endpoint = time.monotonic(), self._line.endpoint
        completion = await self._line.post(self._key, self._body)
        # How long a batch lay at the provider says nothing about the speed of a model.
        reply = replace(self._read(completion), latency_s=0.0 if endpoint.batch else time.monotonic() - start)
        self._account.add(reply)
        self._line.pace.count(max(reply.prompt_tokens - self.tokens, 0) + reply.completion_tokens)
        _require_whole_prompt(self._request, endpoint, reply.prompt_tokens)
        return self._take(find_limit(reply, self._budget))

    def count_retry(self, fault: Fault) -> None:
        self._account.counts[f"retried_{fault.name}"] += 1
        log.info("retry after %s", fault.name)

    def _read(self, completion: Json) -> Reply:
        """Read a reply, without the key that some servers echo. Raises BadShape."""
        try:
            reply = failures.hide_key_in_reply(read_reply(completion), self._line.endpoint)
            if is_cut(self._request.messages, reply.prompt_tokens):  # the server may report cached tokens apart
                reply = replace(reply, prompt_tokens=count_read(completion.get("usage")))
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
            raise BadShape(str(error)) from error
        return estimate_usage(self._request, self._line.endpoint, reply)

    def _take(self, reply: Reply) -> Reply:
        """Return the answer in a reply. Raises EmptyReply if there is none."""
        answer = find_answer(reply, self._request)
        if not answer.outcome.is_measured:
            self.replies += 1
            # Each such reply is paid for, so it is asked for again less often than after other faults.
            is_fault = answer.outcome in (Outcome.ABORTED, Outcome.EMPTY) and not answer.reasoning
            raise EmptyReply(answer, is_passing=is_fault and self.replies <= _REPEATS)
        self._account.counts["found_in_text"] += answer is not reply
        return answer


def _follow_load(name: str, endpoint: Endpoint, limit: Limit) -> Coroutine[object, object, None] | None:
    """Let the load that servers report set the limit of an endpoint, unless the recipe does.

    A provider, which wants a key, is not asked for its load.
    """
    if endpoint.max_in_flight is not None:
        return None
    if endpoint.leases:
        return limits.follow_leases(name, Path(endpoint.leases), limit)
    wants_key = endpoint.api_key_env or "$" in f"{endpoint.headers} {endpoint.query}"  # a variable, as of Azure's key
    is_provider = wants_key and not endpoint.server
    return None if is_provider else limits.follow_server(endpoint.base_url or "", limit)


def role_config(models: Models, role: Role) -> RoleConfig:
    """Return who answers for a role. Raises EndpointError that names the recipe key to set."""
    config = getattr(models, role)
    if config is None:
        raise EndpointError(f"no model for {role}: set models.{role}.endpoint in the recipe")
    if config.endpoint not in models.endpoints:
        names = ", ".join(models.endpoints) or "none"
        raise EndpointError(f"models.{role}.endpoint={config.endpoint}: not in models.endpoints ({names})")
    return config


def list_used(models: Models, roles: Iterable[Role] = Role) -> dict[str, Endpoint]:
    """List the endpoints that some of the roles use. Raises EndpointError."""
    names = {role_config(models, role).endpoint for role in roles if getattr(models, role)}
    return {name: endpoint for name, endpoint in models.endpoints.items() if name in names}


def _require_whole_prompt(request: Request, endpoint: Endpoint, read_tokens: int) -> None:
    """Raise PromptCut if the server cannot have read the whole prompt."""
    if is_cut(request.messages, read_tokens):
        chars = sum(len(m.content) for m in request.messages)
        where = f"{request.role} at {endpoint.base_url} (model {endpoint.model})"
        seen = f"the server counts {read_tokens} tokens in a prompt of {chars} characters"
        advice = "serve a longer context, or set domain.document_chars"
        raise PromptCut(f"{where}: {seen}, so it cut the prompt silently; {advice}")
