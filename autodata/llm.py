"""Chat with OpenAI-compatible endpoints. The only network code."""

import asyncio
import hashlib
import json
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import openai
import tenacity
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from autodata.journal import Journal
from autodata.recipes import Endpoint, Models, RoleConfig, Sampling
from autodata.types import Message, Outcome, Reply, Role

log = logging.getLogger(__name__)
_RETRIED = {408, 409, 429}
_OVERFLOW_SIGNS = (
    "context length",
    "context_length",
    "context size",
    "prompt is too long",
    "maximum model length",
    "too many tokens",
)


class EndpointError(RuntimeError):
    """An endpoint did not serve a request; the message names role, URL, status and time tried."""


class Draining(RuntimeError):
    """The run is being stopped: calls under way are finished, no new one is started."""


class _BadShape(ValueError):
    """A reply with HTTP 200 that is not a chat completion."""


@dataclass(frozen=True)
class Request:
    """What is asked of a role, complete: equal requests are the same call."""

    role: Role
    messages: tuple[Message, ...]
    seed: int
    attempt: int = 0
    schema: dict[str, object] | None = field(default=None, hash=False)


class Client:
    """Asks the endpoints of a recipe; every reply is in the journal before it is returned."""

    def __init__(self, models: Models, journal: Journal):
        self.models = models
        self.counts: Counter[str] = Counter()
        self.draining = False
        self.busy_s = 0.0  # time with at least one call under way
        self._in_flight = 0
        self._busy_since = 0.0
        self._journal = journal
        self._connections: dict[str, AsyncOpenAI] = {}
        self._limits: dict[str, asyncio.Semaphore] = {}

    async def ask(self, request: Request) -> Reply:
        """The journalled reply, or a new one. Raises EndpointError, Draining."""
        role = role_config(self.models, request.role)
        endpoint = self.models.endpoints[role.endpoint]
        key = request_key(request, endpoint, role.sampling)
        known = self._journal.get(key)
        if known:
            self.counts["replayed"] += 1
            return known
        async with self._limit(role.endpoint):
            if self.draining:
                raise Draining("stopping: no new call is started")
            with self._busy():
                reply = await self._call(request, role)
        await self._journal.put(key, reply)
        self._count(reply)
        # What is stored is what a replay will give, also where an equal request was faster.
        return self._journal.get(key) or reply

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.close()

    @contextmanager
    def _busy(self) -> Iterator[None]:
        if self._in_flight == 0:
            self._busy_since = time.monotonic()
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self.busy_s += time.monotonic() - self._busy_since

    def _limit(self, name: str) -> asyncio.Semaphore:
        limit = self.models.endpoints[name].max_in_flight
        return self._limits.setdefault(name, asyncio.Semaphore(limit))

    def _connection(self, name: str) -> AsyncOpenAI:
        # Made on first use, inside the loop that will use it: TRL runs rewards in a loop of its own.
        if name not in self._connections:
            endpoint = self.models.endpoints[name]
            self._connections[name] = AsyncOpenAI(
                base_url=endpoint.base_url,
                api_key=api_key(endpoint),
                max_retries=0,  # tenacity retries, so that the bound and the message are ours
                timeout=endpoint.timeout_s,
            )
        return self._connections[name]

    async def _call(self, request: Request, role: RoleConfig) -> Reply:
        endpoint, start = self.models.endpoints[role.endpoint], time.monotonic()
        attempts = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(endpoint.retries + 1),
            wait=_wait,
            retry=tenacity.retry_if_exception(_is_transient),
            before_sleep=self._count_retry,
            reraise=True,
        )
        try:
            return await attempts(self._call_once, request, role)
        except (openai.OpenAIError, _BadShape) as error:
            raise EndpointError(_explain(error, request, endpoint, time.monotonic() - start)) from error

    async def _call_once(self, request: Request, role: RoleConfig) -> Reply:
        start = time.monotonic()
        body = _body(request, self.models.endpoints[role.endpoint], role.sampling)
        try:
            completion = await self._connection(role.endpoint).chat.completions.create(**body)
            return replace(_read(completion), latency_s=time.monotonic() - start)
        except openai.BadRequestError as error:
            if not any(sign in str(error).lower() for sign in _OVERFLOW_SIGNS):
                raise
            return Reply(Outcome.CONTEXT_OVERFLOW, "", "", "", body["model"], 0, 0, 0.0)
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            raise _BadShape(str(error)) from error

    def _count_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        timed_out = isinstance(error, openai.APITimeoutError)
        self.counts["retried_" + (Outcome.TIMEOUT if timed_out else Outcome.INFRASTRUCTURE)] += 1
        log.info("retry %d after %s", state.attempt_number, type(error).__name__)

    def _count(self, reply: Reply) -> None:
        self.counts["calls"] += 1
        self.counts["prompt_tokens"] += reply.prompt_tokens
        self.counts["completion_tokens"] += reply.completion_tokens
        self.counts[reply.outcome] += 1


def probe(endpoint: Endpoint) -> None:
    """Check that an endpoint names the model *and* generates a token. Raises EndpointError.

    A listed model alone is no proof: a server whose engine is dead still lists it.
    """
    try:
        with OpenAI(base_url=endpoint.base_url, api_key=api_key(endpoint), max_retries=0, timeout=60) as client:
            names = [model.id for model in client.models.list()]
            if endpoint.model not in names:
                raise EndpointError(
                    f"{endpoint.base_url} serves {', '.join(names[:5])}, not {endpoint.model}: set its model"
                )
            messages = [{"role": "user", "content": "Hello"}]
            client.chat.completions.create(model=endpoint.model, messages=messages, max_tokens=1)
    except openai.OpenAIError as error:
        raise EndpointError(
            f"{endpoint.base_url} (model {endpoint.model}): {type(error).__name__}, {_without_key(error, endpoint)}"
        ) from error


def role_config(models: Models, role: Role) -> RoleConfig:
    """Who answers for a role. Raises EndpointError that names the recipe key to fill."""
    config = getattr(models, role)
    if config is None:
        raise EndpointError(f"no model for {role}: set models.{role}.endpoint in the recipe")
    if config.endpoint not in models.endpoints:
        known = ", ".join(models.endpoints) or "none"
        raise EndpointError(f"models.{role}.endpoint={config.endpoint}: not in models.endpoints ({known})")
    return config


def request_key(request: Request, endpoint: Endpoint, sampling: Sampling) -> str:
    """Identity of a call: what is asked, of which model, how it samples; not where it is served."""
    asked = {
        "model": endpoint.model,
        "weights": endpoint.server.weights if endpoint.server else "",
        "revision": endpoint.revision,
        "messages": [asdict(m) for m in request.messages],
        "sampling": asdict(sampling),
        "schema": request.schema,
        "seed": request.seed,
        "attempt": request.attempt,
    }
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def attempt_seed(seed: int, document_id: str, round_number: int, role: Role, attempt: int) -> int:
    """An independent seed per attempt (architecture rule: hash of document, round, role, attempt)."""
    text = json.dumps([seed, document_id, round_number, role, attempt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def api_key(endpoint: Endpoint) -> str:
    """The key from the environment. Raises EndpointError when the named variable is not set."""
    if not endpoint.api_key_env:
        return "none"
    if endpoint.api_key_env not in os.environ:
        raise EndpointError(f"{endpoint.base_url}: the environment variable {endpoint.api_key_env} is not set")
    return os.environ[endpoint.api_key_env]


def _body(request: Request, endpoint: Endpoint, sampling: Sampling) -> dict[str, object]:
    extra: dict[str, object] = dict(sampling.extra)
    if request.messages[-1].role == "assistant":
        extra |= {"continue_final_message": True, "add_generation_prompt": False}
    body: dict[str, object] = {
        "model": endpoint.model,
        "messages": [asdict(m) for m in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "seed": request.seed,
        "extra_body": extra,
    }
    if request.schema:
        schema = {"name": "reply", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _read(completion: ChatCompletion) -> Reply:
    if not getattr(completion, "choices", None) or completion.choices[0].message is None:
        raise _BadShape(f"no choices in {str(completion)[:200]!r}")
    choice, usage = completion.choices[0], completion.usage
    message = choice.message
    content = _as_text(message.content)
    reasoning = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None)
    return Reply(
        outcome=_outcome(choice.finish_reason, content, bool(message.refusal)),
        content=content,
        reasoning=_as_text(reasoning),
        finish_reason=choice.finish_reason or "",
        model=completion.model or "",
        prompt_tokens=(usage.prompt_tokens or 0) if usage else 0,
        completion_tokens=(usage.completion_tokens or 0) if usage else 0,
        latency_s=0.0,
    )


def _as_text(value: object) -> str:
    if not isinstance(value, str | None):
        raise _BadShape(f"not text: {str(value)[:200]!r}")
    return (value or "").encode(errors="replace").decode()  # no lone surrogates: SQLite wants UTF-8


def _outcome(finish_reason: str | None, content: str, refused: bool) -> Outcome:
    if finish_reason == "length":
        return Outcome.TRUNCATED
    if refused or finish_reason == "content_filter":
        return Outcome.REFUSAL
    return Outcome.OK if content.strip() else Outcome.EMPTY


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, openai.APIStatusError):
        return error.status_code in _RETRIED or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError | openai.APIResponseValidationError | _BadShape)


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=60)


def _wait(state: tenacity.RetryCallState) -> float:
    """What the server asks for in Retry-After (at most two minutes), else backoff with jitter."""
    error = state.outcome.exception() if state.outcome else None
    headers: Mapping[str, str] = error.response.headers if isinstance(error, openai.APIStatusError) else {}
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return _backoff(state)
    return _backoff(state) if math.isnan(seconds) else min(max(seconds, 0.0), 120.0)


def _without_key(error: Exception, endpoint: Endpoint) -> str:
    """The error's text; some servers echo the key that they refuse."""
    key = os.environ.get(endpoint.api_key_env, "")
    return (str(error).replace(key, "***") if key else str(error))[:300]


def _explain(error: Exception, request: Request, endpoint: Endpoint, tried_s: float) -> str:
    status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else type(error).__name__
    advice = {401: "check the key named by api_key_env", 404: "check base_url and model"}
    hint = advice.get(getattr(error, "status_code", 0), "is the server up? see models.endpoints in the recipe")
    return (f"{request.role} at {endpoint.base_url} (model {endpoint.model}): {status}, "
            f"{_without_key(error, endpoint)}; tried for {tried_s:.0f} s; {hint}")  # fmt: skip
