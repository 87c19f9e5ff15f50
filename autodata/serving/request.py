"""Describes one chat request: its identity, under which the journal stores the answer, and the body that is sent."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from autodata.config import RecipeError
from autodata.recipes.models import Endpoint, Sampling
from autodata.types import Message, Outcome, Reply, Role


@dataclass(frozen=True)
class Request:
    """Everything that a role is asked. Equal requests are the same call."""

    role: Role
    messages: tuple[Message, ...]
    seed: int
    attempt: int = 0
    schema: dict[str, object] | None = field(default=None, hash=False)
    tools: tuple[dict[str, object], ...] = field(default=(), hash=False)  # functions, of which one is to be called


def request_key(request: Request, endpoint: Endpoint, sampling: Sampling) -> str:
    """Identify a call by what is asked, of which model and with which sampling, but not by where it is served."""
    return _hash_all(request, endpoint, [sampling])[0]


def _hash_all(request: Request, endpoint: Endpoint, samplings: Sequence[Sampling]) -> list[str]:
    """Hash the request with each of the samplings; what they share, a prompt of perhaps 200 kB, is read once."""
    identity = _identify(request, endpoint)
    # Equal to the hash of one text in which the keys are sorted, so "sampling" stands between these two parts.
    before = _dump({key: value for key, value in identity.items() if key < "sampling"})[:-1]
    after = _dump({key: value for key, value in identity.items() if key > "sampling"})[1:]
    beginning = hashlib.sha256(_encode(before))
    keys = []
    for sampling in samplings:
        whole = beginning.copy()
        whole.update(_encode(f', "sampling": {_dump(vars(sampling))}, {after}'))
        keys.append(whole.hexdigest())
    return keys


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _identify(request: Request, endpoint: Endpoint) -> dict[str, object]:
    """Collect all that belongs to a call's identity besides its sampling."""
    identity: dict[str, object] = {
        "model": endpoint.model,
        "weights": _name_weights(endpoint),
        "revision": endpoint.revision,
        "messages": [vars(m) for m in request.messages],
        "schema": request.schema,
        "structured_output": endpoint.structured_output,
        "seed": request.seed,
        "attempt": request.attempt,
    }
    if request.tools:
        identity["tools"] = request.tools
        if endpoint.tool_choice != "required":  # the default is left out, so older journals stay valid
            identity["tool_choice"] = endpoint.tool_choice
    if endpoint.body:
        identity["body"] = endpoint.body
    return identity


def _name_weights(endpoint: Endpoint) -> str:
    """Name an endpoint's weights; a folder is named by the hash of its content, so its path says nothing more."""
    is_hashed = re.fullmatch(r"[0-9a-f]{16}", endpoint.revision)
    return endpoint.server.weights if endpoint.server and not is_hashed else ""


class Keys(NamedTuple):
    """The keys under which an answer is stored.

    An answer that ended by itself holds for every budget that is large enough, so after raising max_tokens only the
    answers that were cut off are asked for again. Replies of older journals are all under `exact`.
    """

    any_budget: str
    exact: str
    budget: int

    def choose(self, reply: Reply) -> str:
        is_whole = reply.outcome is Outcome.ANSWERED and reply.completion_tokens <= self.budget
        return self.any_budget if is_whole else self.exact


def request_keys(request: Request, endpoint: Endpoint, sampling: Sampling) -> Keys:
    any_budget, exact = _hash_all(request, endpoint, [replace(sampling, max_tokens=None), sampling])
    return Keys(any_budget, exact, sampling.max_tokens or 0)


def resolve_sampling(role_sampling: Sampling, endpoint_sampling: Sampling, role: str) -> Sampling:
    """Put a role's sampling over its endpoint's. Raises RecipeError if neither has a budget."""
    resolved = role_sampling.over(endpoint_sampling)
    if resolved.max_tokens is None:
        raise RecipeError(f"models.{role}.sampling.max_tokens is not set; set how many tokens a reply may have")
    return resolved


def make_body(request: Request, endpoint: Endpoint, sampling: Sampling) -> dict[str, object]:
    """Make the body that is sent, without keys that are null in the recipe.

    Prompts describe the wanted form, so an endpoint without schemas works too.
    """
    body: dict[str, object] = {
        "model": endpoint.model,
        "messages": [vars(m) for m in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        endpoint.max_tokens_key: sampling.max_tokens,
        "seed": request.seed,
    }
    fit = dict if endpoint.structured_output == "bounded" else _without_lengths
    if endpoint.server is None and endpoint.structured_output != "bounded":
        fit = make_strict
    if request.messages[-1].role == "assistant":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if request.tools and endpoint.tool_choice != "none":
        functions = [fit(tool) | {"strict": True} for tool in request.tools]
        body["tools"] = [{"type": "function", "function": function} for function in functions]
        body["tool_choice"] = endpoint.tool_choice
    if request.schema and endpoint.structured_output in ("json_schema", "bounded"):
        schema = {"name": "reply", "schema": fit(request.schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.schema and endpoint.structured_output == "json_object":
        body["response_format"] = {"type": "json_object"}
    body |= {**endpoint.body, **sampling.extra}
    if "tools" not in body:
        body.pop("tool_choice", None)  # without tools it is an error
    return {key: value for key, value in body.items() if value is not None}


# Bounds that some strict modes refuse: Azure's refuses all of them, Anthropic's the lengths and the numbers.
_FOREIGN = ("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum")


def make_strict(schema: Any) -> Any:
    """Rewrite a schema so that the strict mode of every provider accepts it; it allows more than before.

    A list of forms, one for each item, becomes one form for all items, and every enumeration gets a type. What is lost
    are the bounds of numbers and the numbers of items and of characters, which the reader of a reply checks anyway.
    """
    if isinstance(schema, list):
        return [make_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "prefixItems" in schema:
        schema = {k: v for k, v in schema.items() if k != "prefixItems"} | {"items": _join(schema["prefixItems"])}
    strict = {key: make_strict(value) for key, value in schema.items() if key not in _FOREIGN}
    if isinstance(schema.get("enum"), list) and "type" not in schema:
        strict = {"type": "integer" if isinstance(schema["enum"][0], int) else "string"} | strict
    if isinstance(schema.get("properties"), dict):
        strict |= _require_all(schema["properties"], schema.get("required", []))
    return strict


def _require_all(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """Require every property, because strict modes know no optional ones: those may be null instead."""
    forms = {name: make_strict(form) for name, form in properties.items()}  # any name, also that of a keyword
    optional = {name: {"anyOf": [form, {"type": "null"}]} for name, form in forms.items() if name not in required}
    return {"properties": forms | optional, "required": list(forms), "additionalProperties": False}


def _join(forms: list[dict[str, Any]]) -> dict[str, Any]:
    """Join the forms of objects that differ in their enumerations alone."""
    properties = dict(forms[0]["properties"])
    for name, form in properties.items():
        if "enum" in form:
            properties[name] = form | {"enum": [value for f in forms for value in f["properties"][name]["enum"]]}
    return forms[0] | {"properties": properties}


def _without_lengths(schema: Any) -> Any:
    """Remove the lengths of strings from a schema.

    xgrammar allows no escape in a string of bounded length, so no quote, line break or LaTeX. Only a model too small
    to end a string is better off with bounds.
    """
    if isinstance(schema, dict):
        return {k: _without_lengths(v) for k, v in schema.items() if k not in ("minLength", "maxLength")}
    return [_without_lengths(v) for v in schema] if isinstance(schema, list) else schema
