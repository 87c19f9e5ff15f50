"""Asks models at OpenAI-compatible endpoints. A request is looked up in the journal first, then sent and retried."""

import asyncio
import logging
import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import openai
import tenacity
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion

from autodata.recipes.models import Endpoint, Models, RoleConfig
from autodata.serving import failures, limits
from autodata.serving.connections import connect
from autodata.serving.costs import Account, BusyTime, Ledger, find_place, make_ledger
from autodata.serving.failures import NoAnswer
from autodata.serving.journal import Journal
from autodata.serving.limits import Limit
from autodata.serving.measured import EndpointError, NotMeasured, PromptCut
from autodata.serving.reply import BadShape, count_read, estimate_usage, find_answer, find_limit, is_cut, read_reply
from autodata.serving.request import Keys, Request, make_body, request_keys, resolve_sampling
from autodata.types import Message, Outcome, Reply, Role, WrongCall

log = logging.getLogger(__name__)
_IN_FLIGHT = 64  # calls in flight if the recipe sets no limit
_RETRIED = {408, 409, 429}
# Retries after a reply that is no answer. They help against a passing fault, not against a model's fixed habit.
_REPEATS = 2


class Draining(RuntimeError):
    """Graceful shutdown: calls in flight are finished, no new one is started."""


class Client:
    """Asks a recipe's endpoints; every answer is in the journal before it is returned. Raises EndpointError."""

    def __init__(self, models: Models, journal: Journal):
        self.models = models
        self.accounts: defaultdict[Role, Account] = defaultdict(Account)
        self.busy = BusyTime()
        self.busy_at: defaultdict[str, BusyTime] = defaultdict(BusyTime)  # by endpoint
        self.busy_gpus: defaultdict[str, BusyTime] = defaultdict(BusyTime)  # by place, which endpoints may share
        self.draining = False
        self.find_spent_budget: Callable[[], str | None] | None = None  # called before every new call
        self.spent_budget: str | None = None  # names the limit of the budget that stopped the run
        self._journal = journal
        self._under_way: dict[str, asyncio.Event] = {}  # key → set when that call has ended or failed
        self._connections: dict[str, AsyncOpenAI] = {}
        self._limits: dict[str, Limit] = {}
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
        ended = self._under_way[keys.exact] = asyncio.Event()
        try:
            async with self._limit(role.endpoint):
                self._require_room()
                reply = await self._call_counted(request, role)
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
        for connection in self._connections.values():
            await connection.close()

    @property
    def counts(self) -> Counter[str]:
        """The counts of all roles in this session."""
        return sum((account.counts for account in list(self.accounts.values())), Counter())

    def ledger(self) -> Ledger:
        """Compute the ledger of this session."""
        return make_ledger(dict(self.accounts), self.models, self.busy_gpus)

    def _require_room(self) -> None:
        """Raise Draining if no new call may be started."""
        if not self.draining and self.find_spent_budget and (message := self.find_spent_budget()):
            self.spent_budget, self.draining = message, True
        if self.draining:
            raise Draining(self.spent_budget or "the run is stopping: no new call is started")

    def _limit(self, name: str) -> Limit:
        if name not in self._limits:
            endpoint = self.models.endpoints[name]
            is_free = endpoint.max_in_flight is None and endpoint.leases is not None
            self._limits[name] = Limit(limits.FIRST_LIMIT if is_free else endpoint.max_in_flight or _IN_FLIGHT)
            if is_free:
                following = limits.control(name, Path(endpoint.leases or ""), self._limits[name])
                self._controllers.append(asyncio.create_task(following))
        return self._limits[name]

    def _connection(self, name: str) -> AsyncOpenAI:
        # Opened on first use, inside the event loop that uses it: TRL runs rewards in an event loop of its own.
        if name not in self._connections:
            endpoint = self.models.endpoints[name]
            self._connections[name] = AsyncOpenAI(
                base_url=endpoint.base_url,
                api_key=api_key(endpoint),
                max_retries=0,  # tenacity retries, so that the bound and the message are ours
                timeout=endpoint.timeout_s,
                http_client=connect(endpoint.base_url),
            )
        return self._connections[name]

    async def _call_counted(self, request: Request, role: RoleConfig) -> Reply:
        account = self.accounts[request.role]
        account.running += 1
        gpus = self.busy_gpus[find_place(role.endpoint, self.models.endpoints[role.endpoint])]
        try:
            with self.busy, self.busy_at[role.endpoint], gpus:
                reply = await self._call(request, role)
        except EndpointError as error:
            account.end(error.outcome if isinstance(error, NotMeasured) else Outcome.ERROR)
            raise
        finally:
            account.running -= 1
        account.end(reply.outcome)
        return reply

    async def _call(self, request: Request, role: RoleConfig) -> Reply:
        endpoint, start = self.models.endpoints[role.endpoint], time.monotonic()
        attempts = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(endpoint.retries + 1),
            wait=_wait,
            retry=_is_worth_repeating,
            before_sleep=self._count_retry,
            reraise=True,
        )
        repeated: list[Reply] = []
        try:
            return await attempts(self._call_once, request, role, repeated)
        except NoAnswer as error:
            raise failures.describe_no_answer(error.reply, request, len(repeated)) from error
        except (openai.OpenAIError, BadShape, TimeoutError) as error:
            raise failures.describe_failure(error, request, endpoint, time.monotonic() - start) from error

    async def _call_once(self, request: Request, role: RoleConfig, repeated: list[Reply]) -> Reply:
        """Send one HTTP request. `repeated` collects the replies so far that were no answer."""
        start, endpoint = time.monotonic(), self.models.endpoints[role.endpoint]
        body = make_body(request, endpoint, resolve_sampling(role.sampling, endpoint.sampling, request.role))
        try:
            # chat.completions.create would walk through the whole body: 2.7 ms a call instead of 2.0.
            connection = self._connection(role.endpoint)
            # openai's time-out applies from byte to byte, so a reply that trickles would never end.
            async with asyncio.timeout(endpoint.timeout_s):
                completion = await connection.post("/chat/completions", body=body, cast_to=ChatCompletion)
            reply = failures.hide_key_in_reply(read_reply(completion), endpoint)
            reply = replace(reply, latency_s=time.monotonic() - start)
            if is_cut(request.messages, reply.prompt_tokens):  # the server may report cached tokens apart
                reply = replace(reply, prompt_tokens=count_read(completion.usage))
        except openai.APITimeoutError as error:
            raise failures.tell_apart(error) from error
        except TimeoutError as error:
            raise TimeoutError(f"no complete reply within {endpoint.timeout_s:g} s") from error
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
            raise BadShape(str(error)) from error
        reply = estimate_usage(request, endpoint, reply)
        self.accounts[request.role].add(reply)
        _require_whole_prompt(request, endpoint, reply.prompt_tokens)
        return self._take(request, find_limit(reply, int(str(body["max_tokens"]))), repeated)

    def _take(self, request: Request, reply: Reply, repeated: list[Reply]) -> Reply:
        """Return the answer in a reply. Raises NoAnswer if there is none."""
        answer = find_answer(reply, request)
        if not answer.outcome.is_measured:
            repeated.append(answer)
            raise NoAnswer(answer)
        self.accounts[request.role].counts["found_in_text"] += answer is not reply
        return answer

    def _count_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception()
        self.accounts[state.args[0].role].counts[f"retried_{failures.name_trouble(error)}"] += 1
        log.info("retry %d after %s", state.attempt_number, type(error).__name__)


class NoKey(EndpointError):
    """The environment variable that an endpoint's api_key_env names is not set."""

    exit_code = WrongCall.exit_code


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


def api_key(endpoint: Endpoint) -> str:
    """Read the API key from the environment. Raises NoKey if the named variable is not set."""
    if not endpoint.api_key_env:
        return "none"
    if endpoint.api_key_env not in os.environ:
        raise NoKey(f"{endpoint.base_url}: the environment variable {endpoint.api_key_env} is not set")
    key = os.environ[endpoint.api_key_env]
    if len(key) < failures.SHORTEST_KEY:
        least = f"fewer than {failures.SHORTEST_KEY} characters"
        log.warning("%s has %s, so it is not hidden in what this run stores", endpoint.api_key_env, least)
    return key


def _is_worth_repeating(state: tenacity.RetryCallState) -> bool:
    """True for a passing fault. A reply that is no answer is retried less often, because each one is paid for."""
    error = state.outcome.exception()
    if isinstance(error, NoAnswer):
        is_fault = error.reply.outcome in (Outcome.ABORTED, Outcome.EMPTY) and not error.reply.reasoning
        return is_fault and len(state.args[-1]) <= _REPEATS
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _RETRIED or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | openai.APIResponseValidationError | BadShape | TimeoutError)


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=60)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the wait that the server asks for in Retry-After (at most two minutes), else backoff with jitter."""
    error = state.outcome.exception()
    if isinstance(error, NoAnswer):
        return 0.0  # the server is up and idle
    headers: Mapping[str, str] = error.response.headers if isinstance(error, openai.APIStatusError) else {}
    with suppress(ValueError):  # Retry-After may be a date
        if not math.isnan(seconds := float(headers.get("retry-after", "nan"))):
            return min(max(seconds, 0.0), 120.0)
    return _backoff(state)


def _require_whole_prompt(request: Request, endpoint: Endpoint, read_tokens: int) -> None:
    """Raise PromptCut if the server cannot have read the whole prompt."""
    if is_cut(request.messages, read_tokens):
        chars = sum(len(m.content) for m in request.messages)
        where = f"{request.role} at {endpoint.base_url} (model {endpoint.model})"
        seen = f"the server counts {read_tokens} tokens in a prompt of {chars} characters"
        advice = "serve a longer context, or set domain.document_chars"
        raise PromptCut(f"{where}: {seen}, so it cut the prompt silently; {advice}")
