"""Checks that a server really works: it names the model, generates, and can do what its roles need.

`/health` alone proves nothing: a server whose engine is dead, or that emits garbage, still answers it.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from autodata.recipes.models import Endpoint, Sampling
from autodata.serving.limits import Limit
from autodata.serving.measured import EndpointError
from autodata.serving.request import Request, make_body
from autodata.serving.wire.body import Json
from autodata.serving.wire.connection import Connection
from autodata.serving.wire.failures import choose_error, describe_fault, hide_key
from autodata.serving.wire.faults import BadShape, Fault, HttpError
from autodata.serving.wire.meaning import Kind, interpret
from autodata.serving.wire.pace import Pace
from autodata.serving.wire.reply import find_answer, read_reply
from autodata.serving.wire.retries import persist
from autodata.types import Message, Reply, Role

log = logging.getLogger(__name__)
T = TypeVar("T")
_EMPTY = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
_SCHEMA = {**_EMPTY, "properties": {"met": {"type": "boolean"}}, "required": ["met"]}
_TOOL = {"name": "go_on", "parameters": _EMPTY}
_JSON = {Role.JUDGE, Role.QUALITY_VERIFIER, Role.CHALLENGER}  # roles whose replies are read as JSON
_NO_LIST = {404, 405, 501}  # a server without a list of models; whether it serves this one, the next request shows
_BUDGET, _LARGE_BUDGET = 256, 2048  # tokens of an answer; a model that reasons needs the second before any JSON


class Noise(EndpointError):
    """A replica is up, but its answers make no sense."""


class Prober:
    """Sends requests to one endpoint, built as every other request is. A patient one waits where a run would wait."""

    who, tokens = "the first request", 0

    def __init__(self, endpoint: Endpoint, patience_s: float, is_patient: bool):
        self.endpoint = endpoint
        self._connection = Connection(endpoint, patience_s)
        self._pace = Pace(endpoint, Limit(1))
        self._patient = endpoint if is_patient else replace(endpoint, retries=0, patience_s=0.0)

    async def ask(self, text: str, budget: int = _BUDGET, **asked: object) -> Reply:
        """Ask a question. Raises Fault."""
        request = Request(Role.WEAK_SOLVER, (Message("user", text),), seed=1, **asked)
        temperature = None if self.endpoint.sampling.temperature is None else 0.0
        sampling = Sampling(temperature, max_tokens=budget).over(self.endpoint.sampling)
        body = make_body(request, self.endpoint, sampling)
        completion = await self._send(lambda: self._connection.post("/chat/completions", body))
        return find_answer(read_reply(completion), request)

    async def touch(self, text: str, **asked: object) -> None:
        """Send a request of one token, to see whether the endpoint takes it. Raises Fault."""
        try:
            await self.ask(text, budget=1, **asked)
        except HttpError as error:
            is_short = "output limit was reached" in error.words  # what reasoning models say to so small a budget
            if not is_short and interpret(error).kind is not Kind.OVERFLOW:
                raise

    async def read_limits(self) -> dict[str, str]:
        """Read the headers in which a provider names its limits, whatever the period. Raises Fault."""
        await self.touch("Hello")
        headers = {name.lower(): value for name, value in self._connection.last_headers.items()}
        return {
            name: value for name, value in sorted(headers.items()) if "ratelimit" in name and "limit" in name[-20:]
        }

    async def list_models(self) -> list[Json]:
        """List what the endpoint serves. Raises Fault."""
        listed = (await self._send(lambda: self._connection.get("/models"))).get("data")
        if not isinstance(listed, list) or not all(isinstance(model, dict) for model in listed):
            raise BadShape(f"no list of models: {str(listed)[:100]!r}")
        return listed

    def require_room(self) -> None:
        """A probe may always be sent."""

    def count_retry(self, fault: Fault) -> None:
        log.warning("%s: %s; trying again", self.endpoint.base_url, describe_fault(fault, self.endpoint))

    async def close(self) -> None:
        await self._connection.close()

    async def _send(self, send: Callable[[], Awaitable[Json]]) -> Json:
        async def send_once() -> Json:
            try:
                return await send()
            except HttpError:
                raise
            except Fault as fault:  # nobody waits for a server that is not there
                raise _Lasting(fault) from fault

        try:
            return await persist(send_once, self._patient, self._pace, self)
        except _Lasting as lasting:
            raise lasting.fault from lasting


class _Lasting(Exception):
    """A fault that no retry mends."""

    def __init__(self, fault: Fault):
        super().__init__(str(fault))
        self.fault = fault


Probe = Callable[[Prober], Awaitable[None]]


def probe(endpoint: Endpoint, is_patient: bool = False) -> None:
    """Check that an endpoint lists the model *and* generates a token: dead ones only list it. Raises EndpointError."""
    run_probe(endpoint, _probe_identity, 60.0, is_patient=is_patient)


def read_served(endpoint: Endpoint) -> str | None:
    """Read which weights a server loaded (`root` in vLLM's list); None if it does not say. Raises EndpointError."""
    if not endpoint.lists_models:
        return None
    models = _run(endpoint, Prober.list_models, 60.0, is_patient=True)
    roots = [model.get("root") for model in models if model.get("id") == endpoint.model]
    return next((str(root) for root in roots if root), None)


def read_limits(endpoint: Endpoint) -> dict[str, str]:
    """Read what the provider says of its limits. Raises EndpointError."""
    return _run(endpoint, Prober.read_limits, 60.0, is_patient=True)


def probe_replica(endpoint: Endpoint, roles: Sequence[Role]) -> None:
    """Run all probes that a replica of this endpoint must pass before it gets work. Raises EndpointError."""
    for ask in choose_probes(endpoint, roles).values():
        run_probe(endpoint, ask)


def choose_probes(endpoint: Endpoint, roles: Sequence[Role]) -> dict[str, Probe]:
    """Choose the probes, by name, that an endpoint of these roles must pass."""
    flags = endpoint.server.flags if endpoint.server else {}
    has_parser = endpoint.server is None or "tool-call-parser" in flags
    must_call = has_parser and endpoint.tool_choice == "required"
    probes = {
        "identity": (_probe_identity, True),
        "schema": (_probe_schema, endpoint.structured_output in ("json_schema", "bounded") and bool(_JSON & {*roles})),
        "tool call": (_probe_tool, Role.ORCHESTRATOR in roles and must_call),
        "reasoning": (_probe_reasoning, "reasoning-parser" in flags),
        "canary": (_probe_canary, bool(endpoint.server and endpoint.server.canary)),
    }
    return {name: ask for name, (ask, applies) in probes.items() if applies}


def check_canary(endpoint: Endpoint) -> None:
    """Ask a replica at work its canary question. Raises Noise after two wrong answers in a row."""
    if not (endpoint.server and endpoint.server.canary):
        return
    for is_last in (False, True):
        try:
            return run_probe(endpoint, _probe_canary, 30.0)  # seconds; it has other calls to answer
        except Noise:
            if is_last:
                raise
        except EndpointError:  # a replica under load may be late, and a dead one is noticed elsewhere
            return


def run_probe(endpoint: Endpoint, ask: Probe, patience_s: float = 120.0, *, is_patient: bool = False) -> None:
    """Run one probe. Raises EndpointError."""
    _run(endpoint, ask, patience_s, is_patient=is_patient)


def _run(endpoint: Endpoint, ask: Callable[[Prober], Awaitable[T]], patience_s: float, *, is_patient: bool) -> T:
    async def go() -> T:
        prober = Prober(endpoint, patience_s, is_patient)
        try:
            return await ask(prober)
        finally:
            await prober.close()

    where = f"{endpoint.base_url} (model {endpoint.model})"
    try:
        return asyncio.run(go())
    except BadShape as error:
        problem = f"the reply is not of the form of this API: {hide_key(str(error), endpoint)[:300]}"
        raise Noise(f"{where}: {problem}; check base_url") from error
    except Fault as fault:
        meaning = interpret(fault)
        detail = f"a probe failed with {describe_fault(fault, endpoint)}; {meaning.advice}"
        raise choose_error(fault, meaning)(f"{where}: {detail}") from fault


async def _probe_identity(prober: Prober) -> None:
    endpoint = prober.endpoint
    if endpoint.lists_models:
        await _require_listed(prober)
    await prober.touch("Hello")


async def _require_listed(prober: Prober) -> None:
    """Raise EndpointError if the endpoint lists its models, and not this one. Some lists put a prefix to the name."""
    endpoint = prober.endpoint
    try:
        names = [str(model.get("id")) for model in await prober.list_models()]
    except HttpError as error:
        if error.status in _NO_LIST:
            return
        raise
    if not any(f"/{name}".endswith(f"/{endpoint.model}") for name in names):
        served = hide_key(", ".join(names[:5]), endpoint) or "no model"
        advice = "set `model` of this endpoint to a model that it serves, or lists_models: false if its list has gaps"
        raise EndpointError(f"{endpoint.base_url} serves {served}, not {endpoint.model}: {advice}")


async def _probe_schema(prober: Prober) -> None:
    reply = await prober.ask('Reply with {"met": true}.', _LARGE_BUDGET, schema=_SCHEMA)
    value = None
    with suppress(ValueError):
        value = json.loads(reply.content)
    if not isinstance(value, dict) or not isinstance(value.get("met"), bool):
        problem = f"the reply to a request with a JSON schema does not follow it: {_quote(reply.content, prober)}"
        raise EndpointError(f"{prober.endpoint.base_url}: {problem}; set structured_output of this endpoint")


async def _probe_tool(prober: Prober) -> None:
    reply = await prober.ask("Call the function go_on.", _LARGE_BUDGET, tools=(_TOOL,))
    if reply.tool != "go_on":
        advice = "check tool-call-parser" if prober.endpoint.server else "set orchestrator=fixed"
        problem = f"the reply holds no tool call although one was required; {advice}"
        raise EndpointError(f"{prober.endpoint.base_url}: {problem}")


async def _probe_reasoning(prober: Prober) -> None:
    if not (await prober.ask("What is 17 + 25?")).reasoning:
        problem = "the reply holds no reasoning apart from the answer; check reasoning-parser"
        raise EndpointError(f"{prober.endpoint.base_url}: {problem}")


async def _probe_canary(prober: Prober) -> None:
    """Ask the canary question, because a server with a corrupted shard is up but answers with noise."""
    assert prober.endpoint.server and prober.endpoint.server.canary
    canary = prober.endpoint.server.canary
    text = (await prober.ask(canary.question, canary.max_tokens)).content
    if canary.answer.casefold() not in text.casefold():
        question = f"wrong answer to the canary question {canary.question!r}"
        got = f"expected {canary.answer!r}, got {_quote(text, prober)}"
        raise Noise(f"{prober.endpoint.base_url}: {question}: {got}")


def _quote(text: str, prober: Prober) -> str:
    """Quote the beginning of a reply, without the API key, which some servers echo."""
    return f"{hide_key(text, prober.endpoint)!r:.200}"
