"""Names what went wrong with a call, for the counts, and makes the error that says which key to change."""

import os
from dataclasses import replace

import openai

from autodata.recipes.models import Endpoint
from autodata.serving.measured import (
    EndpointError,
    NotMeasured,
    RequestRefused,
    is_declined,
    is_overflow,
    is_prompt_too_long,
    make_error,
)
from autodata.serving.request import Request
from autodata.types import Outcome, Reply

_REFUSED = {400, 413, 422}


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
    status = error.status_code if isinstance(error, openai.APIStatusError) else 0
    if status in _REFUSED and is_overflow(str(error)):
        is_prompt = is_prompt_too_long(str(error))
        detail = f"HTTP {status}, {hide_key_in_error(error, endpoint)}"
        return make_error(request.role, Outcome.CONTEXT_OVERFLOW, detail, is_prompt=is_prompt)
    if status in _REFUSED and is_declined(str(error)):
        return make_error(request.role, Outcome.REFUSED, f"HTTP {status}, {hide_key_in_error(error, endpoint)}")
    kind = RequestRefused if status in _REFUSED else EndpointError
    return kind(_explain(error, request, endpoint, tried_s))


def _explain(error: Exception, request: Request, endpoint: Endpoint, tried_s: float) -> str:
    status = f"HTTP {error.status_code}" if isinstance(error, openai.APIStatusError) else type(error).__name__
    advice = {401: "check the key named by api_key_env", 404: "check base_url and model"} | dict.fromkeys(
        _REFUSED, "the endpoint is up and refuses this request"
    )
    hint = advice.get(getattr(error, "status_code", 0), "is the server up? see models.endpoints in the recipe")
    return (
        f"{request.role} at {endpoint.base_url} (model {endpoint.model}): {status}, "
        f"{hide_key_in_error(error, endpoint)}; tried for {tried_s:.0f} s; {hint}"
    )


def hide_key_in_error(error: Exception, endpoint: Endpoint) -> str:
    """Return the error's text without the API key, because some servers echo the key that they refuse."""
    key = os.environ.get(endpoint.api_key_env, "")
    return (str(error).replace(key, "***") if key else str(error))[:300]


def hide_key(reply: Reply, endpoint: Endpoint) -> Reply:
    """Remove the API key from a reply, because replies are stored and shown to other models."""
    key = os.environ.get(endpoint.api_key_env, "")
    texts = {name: getattr(reply, name) for name in ("content", "reasoning", "model", "tool", "arguments")}
    cleaned = {name: text.replace(key, "***") for name, text in texts.items() if key and key in text}
    return replace(reply, **cleaned) if cleaned else reply
