"""Makes the error of a call that brought no answer: what the endpoint says, and which key to change."""

import math
from collections.abc import Sequence
from dataclasses import replace

from autodata.recipes.models import Endpoint
from autodata.serving.measured import FILTERS, EndpointClosed, EndpointError, NotMeasured, RequestRefused, make_error
from autodata.serving.request import Request
from autodata.serving.wire.connection import list_secrets
from autodata.serving.wire.faults import SHOWN_CHARS, Fault, HttpError
from autodata.serving.wire.meaning import REFUSALS, Kind, Meaning, interpret, is_prompt_too_long
from autodata.serving.wire.retries import NoAnswer
from autodata.serving.wire.waits import read_wait
from autodata.stats.writing import write_duration
from autodata.types import Outcome, Reply


class EmptyReply(NoAnswer):
    """A reply that ended without an answer; it is often a passing fault."""

    def __init__(self, reply: Reply, is_passing: bool):
        super().__init__(f"finish_reason {reply.finish_reason!r}, {len(reply.content)} characters of content")
        self.reply, self.is_passing, self.name = reply, is_passing, str(reply.outcome)


def describe_no_answer(reply: Reply, request: Request, times: int) -> NotMeasured:
    """Make the error for a reply that is no answer. A filter means the same in a reply as in an error: no refusal."""
    detail = f"finish_reason {reply.finish_reason!r}" + (f", {times} times" if times > 1 else "")
    is_filtered = reply.finish_reason.casefold() in FILTERS
    if reply.outcome is Outcome.EMPTY:
        detail += f", no content after {reply.completion_tokens} tokens"
    return make_error(request.role, Outcome.FILTERED if is_filtered else reply.outcome, detail)


def describe_failure(fault: Fault, request: Request, endpoint: Endpoint, tried_s: float) -> EndpointError:
    """Make the error for a request that got no reply."""
    meaning, detail = interpret(fault), describe_fault(fault, endpoint)
    if meaning.kind is Kind.OVERFLOW:
        is_prompt = is_prompt_too_long(str(fault))
        return make_error(request.role, Outcome.CONTEXT_OVERFLOW, detail, is_prompt=is_prompt)
    if meaning.kind is Kind.FILTERED:
        return make_error(request.role, Outcome.FILTERED, detail)
    where = f"{request.role} at {endpoint.base_url} (model {endpoint.model})"
    wait = read_wait(fault) if meaning.kind is Kind.BUSY and isinstance(fault, HttpError) else None
    asked = f"it asks to wait {write_duration(wait)}; " if wait and wait < math.inf else ""
    return choose_error(fault, meaning)(f"{where}: {detail}; tried for {tried_s:.0f} s; {asked}{meaning.advice}")


def describe_fault(fault: Fault, endpoint: Endpoint) -> str:
    """Name a fault and quote what the endpoint says, without the key."""
    name = f"HTTP {fault.status}" if isinstance(fault, HttpError) else type(fault).__name__
    return f"{name}, {hide_key(str(fault), endpoint)[:SHOWN_CHARS] or 'without a reason'}"


def choose_error(fault: Fault, meaning: Meaning) -> type[EndpointError]:
    """Choose the error by who must act: the user before any further call, or nobody for other requests."""
    if meaning.kind in (Kind.CLOSED, Kind.BUSY):  # BUSY: for longer than the recipe is patient
        return EndpointClosed
    return RequestRefused if isinstance(fault, HttpError) and fault.status in REFUSALS else EndpointError


def hide_key(text: str, endpoint: Endpoint) -> str:
    """Remove the API key from a text of a server, because some servers echo the key."""
    return _mask(text, list_secrets(endpoint))


def hide_key_in_reply(reply: Reply, endpoint: Endpoint) -> Reply:
    """Remove the API key from a reply, because replies are stored and shown to other models."""
    secrets = list_secrets(endpoint)
    texts = {name: getattr(reply, name) for name in ("content", "reasoning", "model", "tool", "arguments")}
    masked = {name: _mask(text, secrets) for name, text in texts.items()}
    return reply if masked == texts else replace(reply, **masked)


def _mask(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text
