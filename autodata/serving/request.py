"""One chat request: its identity, the body that is sent, and the reply that is read back."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from autodata.config import RecipeError
from autodata.loop.parsing import find_call, find_last_object
from autodata.recipes.models import Endpoint, Sampling
from autodata.serving.measured import ENDED, read_outcome
from autodata.serving.tokens import count_tokens
from autodata.types import Message, Outcome, Reply, Role

if TYPE_CHECKING:  # a second to import, which commands that ask no model need not spend
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage

_LEAST_CONTEXT = 256  # tokens
_USED_UP = 0.9  # of a budget, from which on it was the budget that ended a reply
FORMS = ("json_schema", "bounded", "json_object", "none")  # what an endpoint can hold its replies to


class BadShape(ValueError):
    """A reply with HTTP 200 that is not a chat completion."""


@dataclass(frozen=True)
class Request:
    """What is asked of a role, complete: equal requests are the same call."""

    role: Role
    messages: tuple[Message, ...]
    seed: int
    attempt: int = 0
    schema: dict[str, object] | None = field(default=None, hash=False)
    tools: tuple[dict[str, object], ...] = field(default=(), hash=False)  # functions, one must be called


def request_key(request: Request, endpoint: Endpoint, sampling: Sampling) -> str:
    """Identity of a call: what is asked, of which model, how it samples; not where it is served."""
    asked: dict[str, object] = {
        "model": endpoint.model,
        "weights": endpoint.server.weights if endpoint.server else "",
        "revision": endpoint.revision,
        "messages": [asdict(m) for m in request.messages],
        "sampling": asdict(sampling),
        "schema": request.schema,
        "structured_output": endpoint.structured_output,
        "seed": request.seed,
        "attempt": request.attempt,
    }
    if request.tools:
        asked["tools"] = request.tools
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Keys(NamedTuple):
    """Under which names an answer is stored.

    An answer that ended by itself is the answer under every budget that is large enough, so raising max_tokens asks
    again only what was cut off. Replies of older journals are all under `exact`.
    """

    any_budget: str
    exact: str
    budget: int

    def choose(self, reply: Reply) -> str:
        is_whole = reply.outcome is Outcome.ANSWERED and reply.completion_tokens <= self.budget
        return self.any_budget if is_whole else self.exact


def request_keys(request: Request, endpoint: Endpoint, sampling: Sampling) -> Keys:
    any_budget = request_key(request, endpoint, replace(sampling, max_tokens=None))
    return Keys(any_budget, request_key(request, endpoint, sampling), sampling.max_tokens or 0)


def resolve_sampling(own: Sampling, preset: Sampling, role: str) -> Sampling:
    """A role's sampling over its endpoint's over the defaults. Raises RecipeError where neither has a budget."""
    resolved = own.over(preset).over(Sampling(1.0, 1.0))
    if resolved.max_tokens is None:
        raise RecipeError(f"models.{role}.sampling.max_tokens: not set; say how many tokens a reply may have")
    return resolved


def make_body(request: Request, endpoint: Endpoint, sampling: Sampling) -> dict[str, object]:
    """What is sent. Prompts say what form is wanted, so an endpoint without schemas can do."""
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
        **extra,
    }
    if request.tools:
        functions = [_fit(tool, endpoint) | {"strict": True} for tool in request.tools]
        body["tools"] = [{"type": "function", "function": function} for function in functions]
        body["tool_choice"] = "required"
    if request.schema and endpoint.structured_output in ("json_schema", "bounded"):
        schema = {"name": "reply", "schema": _fit(request.schema, endpoint), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif request.schema and endpoint.structured_output == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def _fit(schema: dict[str, object], endpoint: Endpoint) -> dict[str, object]:
    """A schema without lengths of strings, unless the endpoint wants them.

    xgrammar allows no escape in a string of bounded length, so no quote, line break or LaTeX; only a
    model too small to end a string is better off with that.
    """
    return schema if endpoint.structured_output == "bounded" else _without_lengths(schema)


def _without_lengths(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_lengths(v) for k, v in schema.items() if k not in ("minLength", "maxLength")}
    return [_without_lengths(v) for v in schema] if isinstance(schema, list) else schema


def read_reply(completion: "ChatCompletion") -> Reply:
    """A reply as it came, whatever its outcome. Raises BadShape."""
    if not getattr(completion, "choices", None) or completion.choices[0].message is None:
        raise BadShape(f"no choices in {str(completion)[:200]!r}")
    choice, usage = completion.choices[0], completion.usage
    message = choice.message
    given = getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None)
    reasoning, content = (given, message.content) if given else split_thinking(_as_text(message.content))
    content, called = _as_text(content), _called(message)
    refusal = _as_text(getattr(message, "refusal", None))
    return Reply(
        outcome=read_outcome(_as_text(choice.finish_reason), content + called.name, bool(refusal)),
        content=content,
        reasoning=_as_text(reasoning),
        finish_reason=choice.finish_reason or "",
        model=completion.model or "",
        prompt_tokens=_count(usage, "prompt"),
        completion_tokens=_count_completion(usage) if usage else 0,
        latency_s=0.0,
        tool=called.name,
        arguments=called.arguments,
    )


def find_answer(reply: Reply, request: Request) -> Reply:
    """The reply with the JSON object or the function call that its server left in the wrong place, if it ended.

    Some reasoning parsers leave all of a constrained reply in the reasoning; some tool parsers leave a call in the
    content. Both are answers, and whoever reads them checks them as any other.
    """
    if reply.finish_reason.casefold() not in ENDED or reply.outcome is Outcome.REFUSED:
        return reply
    if reply.tool:
        is_wanted = bool(request.tools) or reply.content.strip()
        return reply if is_wanted else replace(reply, outcome=Outcome.EMPTY)  # a call of what nobody offered
    if request.tools and (called := find_call(reply.content) or find_call(reply.reasoning)):
        name, arguments = called
        return replace(reply, tool=name, arguments=arguments, outcome=Outcome.ANSWERED)
    if request.schema and not reply.content.strip() and (found := find_last_object(reply.reasoning)):
        return replace(reply, content=found, outcome=Outcome.ANSWERED)
    return reply


def find_limit(reply: Reply, budget: int) -> Reply:
    """The reply as a context overflow where it was the server that ended it, before its budget was used up.

    Servers that lower a budget to what their context leaves say "length" for both. Counts as small as no context is,
    and those that we estimate, tell nothing.
    """
    told = max(reply.completion_tokens, count_tokens([reply.reasoning, reply.content]))
    is_known = not reply.is_usage_estimated and reply.prompt_tokens + reply.completion_tokens >= _LEAST_CONTEXT
    if reply.outcome is Outcome.CUT_OFF and is_known and told < _USED_UP * budget:
        return replace(reply, outcome=Outcome.CONTEXT_OVERFLOW)
    return reply


def count_read(usage: "CompletionUsage | None") -> int:
    """Tokens of the prompt that the server read, also where it reports those from its cache apart; 0: not reported."""
    details = getattr(usage, "prompt_tokens_details", None)
    cached = getattr(details, "cached_tokens", None) or 0
    return _count(usage, "prompt") + cached


def _count(usage: "CompletionUsage | None", part: str) -> int:
    """A count as it is reported; 0 where there is none, or a number that is no count."""
    return max(getattr(usage, f"{part}_tokens", None) or 0, 0)


def _count_completion(usage: "CompletionUsage") -> int:
    """Tokens of the completion, reasoning included, also where a provider reports that only in the total or apart."""
    prompt, said, total = (_count(usage, part) for part in ("prompt", "completion", "total"))
    details = getattr(usage, "completion_tokens_details", None)
    reasoning = getattr(details, "reasoning_tokens", None) or 0
    apart = said + reasoning if reasoning > said else said
    return max(apart, total - prompt)


class _Called(NamedTuple):
    name: str = ""
    arguments: str = ""


def _called(message: "ChatCompletionMessage") -> _Called:
    """The first function called; a model is offered one move at a time. Some servers leave out the call's type."""
    for call in message.tool_calls or []:
        function = getattr(call, "function", None)
        if function is not None:
            name, arguments = (getattr(function, part, None) for part in ("name", "arguments"))
            return _Called(_as_text(name), arguments if isinstance(arguments, str) else json.dumps(arguments or {}))
    return _Called()


def _as_text(value: object) -> str:
    if not isinstance(value, str | None):
        raise BadShape(f"not text: {str(value)[:200]!r}")
    return (value or "").encode(errors="replace").decode()  # no lone surrogates: SQLite wants UTF-8


OPEN_THINKING, CLOSE_THINKING = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str, str | None]:
    """Reasoning and answer, where a server left both in one text; the answer is None where the reasoning never ends.

    A thinking model's prompt can open the block, so that the text holds only its end.
    """
    if CLOSE_THINKING in text:
        reasoning, _, answer = text.rpartition(CLOSE_THINKING)
        return reasoning, answer
    return (text, None) if text.lstrip().startswith(OPEN_THINKING) else ("", text)
