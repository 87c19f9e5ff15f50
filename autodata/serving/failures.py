"""Names what went wrong with a call, for the counts, and makes the error that says which key to change."""

import os
import re
from dataclasses import replace

import openai

from autodata.recipes.models import Endpoint
from autodata.serving.measured import EndpointError, NotMeasured, RequestRefused, make_error
from autodata.serving.request import Request
from autodata.types import Outcome, Reply

SHORTEST_KEY = 8  # characters; a shorter key, such as "x" for a server without keys, stands in many ordinary words
_REFUSED = {400, 413, 422}
_OVERFLOW_SIGNS = re.compile(
    r"context[ _](?:length|size|limit|window)|(?:prompt|input) is too long|model length|too many tokens"
    r"|exceeds? the (?:maximum number of tokens|configured limit)|longer than the|input length"
    r"|`inputs` (?:tokens|must have)|max_?(?:completion_?|new_?|output_?)?tokens\W{0,3}(?:value|must be|exceed)"
    r"|max_(?:completion_|new_)?tokens\W{1,4}(?:or \W?max_completion_tokens\W{1,3})?is too large"
    r"|maximum allowed number of output tokens|invalid max_tokens|reduce the length",
    re.IGNORECASE,
)
_DECLINED_SIGNS = re.compile(r"content[ _]filter|content management policy|responsible ?ai", re.IGNORECASE)
_BUDGET_SIGNS = re.compile(r"max_?(?:completion_?|new_?|output_?)?tokens|completion|output", re.IGNORECASE)
_NO_ROOM = re.compile(r"must be at least 1, got -", re.IGNORECASE)  # the prompt alone exceeds the context
_LIMIT = re.compile(
    r"(?:context length (?:is(?: only)?|of)|model length of|context size\D{0,10}|must be <=|maximum of) ?(\d{1,9})"
)
_PROMPT = re.compile(
    r"(?<!\d)(\d{1,9})(?: tokens)? (?:in the messages|in the prompt|input|inputs|of text input|from the input)"
)


class NoAnswer(RuntimeError):
    """A reply with HTTP 200 that is no answer: empty or stopped by the server. It is often a passing fault."""

    def __init__(self, reply: Reply):
        super().__init__(f"finish_reason {reply.finish_reason!r}, {len(reply.content)} characters of content")
        self.reply = reply


def name_trouble(error: BaseException | None) -> str:
    """Name the kind of trouble for which a call is retried, as it is counted."""
    if isinstance(error, openai.APIStatusError):
        return f"http_{error.status_code}"
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return "timeout"
    if isinstance(error, openai.APIConnectionError):
        return "connection"
    return error.reply.outcome if isinstance(error, NoAnswer) else "bad_reply"


def tell_apart(error: openai.APITimeoutError) -> openai.APIConnectionError:
    """Tell a time-out from a refused or broken connection, which the transport also reports as a time-out."""
    cause = error.__cause__ and error.__cause__.__cause__  # aiohttp's error, wrapped by httpx's
    if isinstance(cause, TimeoutError | None):
        return error
    return openai.APIConnectionError(message=f"Connection error: {cause}", request=error.request)


def describe_no_answer(reply: Reply, request: Request, times: int) -> NotMeasured:
    """Make the error for a reply that is no answer."""
    detail = f"finish_reason {reply.finish_reason!r}" + (f", {times} times" if times > 1 else "")
    if reply.outcome is Outcome.EMPTY:
        detail += f", no content after {reply.completion_tokens} tokens"
    return make_error(request.role, reply.outcome, detail)


def describe_failure(error: Exception, request: Request, endpoint: Endpoint, tried_s: float) -> EndpointError:
    """Make the error for a request that got no reply."""
    status, text = error.status_code if isinstance(error, openai.APIStatusError) else 0, str(error)
    detail = f"{f'HTTP {status}' if status else type(error).__name__}, {hide_key(text, endpoint)[:300]}"
    if status in _REFUSED and is_overflow(text):
        return make_error(request.role, Outcome.CONTEXT_OVERFLOW, detail, is_prompt=is_prompt_too_long(text))
    if status in _REFUSED and _DECLINED_SIGNS.search(text):  # content filters refuse a request like this
        return make_error(request.role, Outcome.REFUSED, detail)
    refused = dict.fromkeys(_REFUSED, "the endpoint is up and refuses this request")
    advice = {401: "check the key named by api_key_env", 404: "check base_url and model", **refused}
    hint = advice.get(status, "is the server up? see models.endpoints in the recipe")
    where = f"{request.role} at {endpoint.base_url} (model {endpoint.model})"
    kind = RequestRefused if status in _REFUSED else EndpointError
    return kind(f"{where}: {detail}; tried for {tried_s:.0f} s; {hint}")


def is_overflow(message: str) -> bool:
    """True if a server refuses a request because it does not fit its context or its budget."""
    return bool(_OVERFLOW_SIGNS.search(message))


def is_prompt_too_long(message: str) -> bool:
    """True if such a refusal is about the prompt alone, so that no smaller budget helps."""
    limit, prompt = _LIMIT.search(message), _PROMPT.search(message)
    if _NO_ROOM.search(message):
        return True
    if limit and prompt:
        return int(prompt[1]) >= int(limit[1])
    return not _BUDGET_SIGNS.search(message)


def hide_key(text: str, endpoint: Endpoint) -> str:
    """Remove the API key from a text of a server, because some servers echo the key. A short key is no secret."""
    key = os.environ.get(endpoint.api_key_env, "")
    return text.replace(key, "***") if len(key) >= SHORTEST_KEY else text


def hide_key_in_reply(reply: Reply, endpoint: Endpoint) -> Reply:
    """Remove the API key from a reply, because replies are stored and shown to other models."""
    names = ("content", "reasoning", "model", "tool", "arguments")
    return replace(reply, **{name: hide_key(getattr(reply, name), endpoint) for name in names})
