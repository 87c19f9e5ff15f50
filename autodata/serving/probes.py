"""Checks that a server really works: it names the model, generates, and can do what its roles need.

`/health` alone proves nothing: a server whose engine is dead, or that emits garbage, still answers it.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import openai
from openai import OpenAI

from autodata.recipes.models import Endpoint
from autodata.serving.failures import hide_key
from autodata.serving.llm import api_key
from autodata.serving.measured import EndpointError
from autodata.types import Role

_EMPTY = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
_SCHEMA = {**_EMPTY, "properties": {"met": {"type": "boolean"}}, "required": ["met"]}
_TOOL = {"type": "function", "function": {"name": "go_on", "strict": True, "parameters": _EMPTY}}
_JSON = {Role.JUDGE, Role.QUALITY_VERIFIER, Role.CHALLENGER}  # roles whose replies are read as JSON
Probe = Callable[[OpenAI, Endpoint], None]


class Noise(EndpointError):
    """A replica is up, but its answers make no sense."""


def probe_replica(endpoint: Endpoint, roles: Sequence[Role]) -> None:
    """Run all probes that a replica of this endpoint must pass before it gets work. Raises EndpointError."""
    for ask in choose_probes(endpoint, roles).values():
        run_probe(endpoint, ask)


def choose_probes(endpoint: Endpoint, roles: Sequence[Role]) -> dict[str, Probe]:
    """Choose the probes, by name, that an endpoint of these roles must pass."""
    flags = endpoint.server.flags if endpoint.server else {}
    must_call = "tool-call-parser" in flags and endpoint.tool_choice == "required"
    probes = {
        "identity": (lambda _, endpoint: probe(endpoint), True),
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


def run_probe(endpoint: Endpoint, ask: Probe, patience_s: float = 120.0) -> None:
    """Run one probe. Raises EndpointError."""
    with _connect(endpoint, f"{endpoint.base_url}: a probe failed with", patience_s) as client:
        try:
            ask(client, endpoint)
        except (ValueError, AttributeError, LookupError, TypeError) as error:
            detail = hide_key(str(error), endpoint)
            raise Noise(f"{endpoint.base_url}: the reply is not a chat completion: {detail}") from error


def _ask(client: OpenAI, endpoint: Endpoint, text: str, **more: object) -> openai.types.chat.ChatCompletionMessage:
    options = {"messages": [{"role": "user", "content": text}], "max_tokens": 256, "temperature": 0.0, **more}
    return client.chat.completions.create(model=endpoint.model, **options).choices[0].message


def _probe_schema(client: OpenAI, endpoint: Endpoint) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "probe", "strict": True, "schema": _SCHEMA}}
    text = _ask(client, endpoint, 'Reply with {"met": true}.', response_format=form, max_tokens=2048).content
    value = None
    with suppress(ValueError):
        value = json.loads(text or "")
    if not isinstance(value, dict) or not isinstance(value.get("met"), bool):
        problem = f"the reply to a request with a JSON schema does not follow it: {_quote(text, endpoint)}"
        raise EndpointError(f"{endpoint.base_url}: {problem}; set structured_output of this endpoint")


def _probe_tool(client: OpenAI, endpoint: Endpoint) -> None:
    reply = _ask(client, endpoint, "Call the function go_on.", tools=[_TOOL], tool_choice="required", max_tokens=2048)
    if not reply.tool_calls or reply.tool_calls[0].function.name != "go_on":
        problem = "the reply holds no tool call although one was required; check tool-call-parser"
        raise EndpointError(f"{endpoint.base_url}: {problem}")


def _probe_reasoning(client: OpenAI, endpoint: Endpoint) -> None:
    reply = _ask(client, endpoint, "What is 17 + 25?")
    if not (getattr(reply, "reasoning", None) or getattr(reply, "reasoning_content", None)):
        problem = "the reply holds no reasoning apart from the answer; check reasoning-parser"
        raise EndpointError(f"{endpoint.base_url}: {problem}")


def _probe_canary(client: OpenAI, endpoint: Endpoint) -> None:
    """Ask the canary question, because a server with a corrupted shard is up but answers with noise."""
    assert endpoint.server and endpoint.server.canary
    canary = endpoint.server.canary
    text = _ask(client, endpoint, canary.question, max_tokens=canary.max_tokens).content or ""
    if canary.answer.casefold() not in text.casefold():
        question = f"wrong answer to the canary question {canary.question!r}"
        raise Noise(f"{endpoint.base_url}: {question}: expected {canary.answer!r}, got {_quote(text, endpoint)}")


def probe(endpoint: Endpoint) -> None:
    """Check that an endpoint lists the model *and* generates a token: dead ones only list it. Raises EndpointError."""
    with _connect(endpoint, f"{endpoint.base_url} (model {endpoint.model}):") as client:
        names = [str(model.id) for model in client.models.list()]
        if endpoint.model not in names:
            served = hide_key(", ".join(names[:5]), endpoint) or "no model"
            advice = "set `model` of this endpoint to a model that it serves"
            raise EndpointError(f"{endpoint.base_url} serves {served}, not {endpoint.model}: {advice}")
        messages = [{"role": "user", "content": "Hello"}]
        client.chat.completions.create(model=endpoint.model, messages=messages, max_tokens=1)


def read_served(endpoint: Endpoint) -> str | None:
    """Read which weights a server loaded (`root` in vLLM's list); None if it does not say. Raises EndpointError."""
    with _connect(endpoint, f"{endpoint.base_url}:") as client:
        roots = [getattr(model, "root", None) for model in client.models.list() if model.id == endpoint.model]
    return next((str(root) for root in roots if root), None)


def _quote(text: str | None, endpoint: Endpoint) -> str:
    """Quote the beginning of a reply, without the API key, which some servers echo."""
    return f"{text and hide_key(text, endpoint)!r:.200}"


@contextmanager
def _connect(endpoint: Endpoint, start: str, timeout_s: float = 60.0) -> Iterator[OpenAI]:
    """Connect to an endpoint. Raises EndpointError, whose message begins with `start`."""
    try:
        with OpenAI(base_url=endpoint.base_url, api_key=api_key(endpoint), max_retries=0, timeout=timeout_s) as client:
            yield client
    except openai.OpenAIError as error:
        raise EndpointError(f"{start} {type(error).__name__}, {hide_key(str(error), endpoint)[:300]}") from error
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        problem = f"the reply is not of the form of this API: {hide_key(str(error), endpoint)[:300]}"
        raise EndpointError(f"{start} {problem}; check base_url") from error
