"""Reads a server's reply: how it ended, its content and reasoning, function calls, and token counts."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from autodata.recipes.models import MODEL_NAME, Endpoint
from autodata.serving.embedded import cache_folder
from autodata.serving.measured import ENDED, read_outcome
from autodata.serving.request import Request
from autodata.serving.usage import read_usage
from autodata.serving.wire.faults import BadShape, HttpError, read_status
from autodata.serving.wire.markup import find_call
from autodata.types import Message, Outcome, Reply

_LEAST_CONTEXT = 256  # tokens; no server has a smaller context
_USED_UP = 0.9  # share of a budget; a reply that used at least this much was ended by its budget
_FILTERED = "content_filter"
_NO_FIELDS: Mapping[str, object] = {}


def read_reply(completion: Mapping[str, object]) -> Reply:
    """Read a reply as it came, whatever its outcome. Raises BadShape, HttpError."""
    choice = _read_choice(completion)
    message = _as_mapping(choice.get("message"))
    content, reasoning = _read_answer(message)
    tool, arguments = _find_called(message)
    refusal, finish_reason = _as_text(message.get("refusal")), _as_text(choice.get("finish_reason"))
    return Reply(
        outcome=read_outcome(finish_reason, content + tool, bool(refusal)),
        content=content,
        reasoning=reasoning,
        finish_reason=finish_reason,
        model=_as_text(completion.get("model")),
        latency_s=0.0,
        tool=tool,
        arguments=arguments,
        **vars(read_usage(completion.get("usage"))),
    )


def _read_choice(completion: Mapping[str, object]) -> Mapping[str, object]:
    """Return the first choice. A provider whose filter refuses the prompt sends no choice.

    Raises BadShape, and HttpError for an error that stands where an answer should.
    """
    choices = completion.get("choices")
    if not choices and "choices" in completion and ("id" in completion or "model" in completion):
        return {"message": _NO_FIELDS, "finish_reason": _FILTERED}
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise BadShape(f"the reply has no choices: {str(completion)[:200]!r}")
    choice = next((choice for choice in choices if choice.get("index") == 0), choices[0])
    if error := _as_mapping(choice.get("error")):  # of the provider behind a gateway, which answers with HTTP 200
        raise HttpError(read_status(error), json.dumps(error))
    if not isinstance(choice.get("message"), dict):
        raise BadShape(f"the reply has no message: {str(choice)[:200]!r}")
    return choice


def _read_answer(message: Mapping[str, object]) -> tuple[str, str]:
    """Return answer and reasoning, which stands in a field of its own, in a part of the content, or in its text."""
    written, thought = _read_content(message.get("content"))
    apart = "".join(_read_content(message.get("reasoning") or message.get("reasoning_content"))) or thought
    inside, answer = split_thinking(written)
    if not apart:
        return answer or "", inside
    is_repeated = answer is not None and written.lstrip().startswith(OPEN_THINKING)  # some gateways send it twice
    return (answer if is_repeated else written) or "", apart


def _read_content(content: object) -> tuple[str, str]:
    """Read a text, a part, or a list of parts, some of which may hold reasoning; return (answer, reasoning)."""
    if isinstance(content, list):
        pairs = [_read_content(part) for part in content]
        return "".join(answer for answer, _ in pairs), "".join(reasoning for _, reasoning in pairs)
    if not isinstance(content, dict):
        return _as_text(content), ""
    if thought := content.get("thinking") or content.get("reasoning"):
        return "", "".join(_read_content(thought))
    answer, reasoning = _read_content(content.get("text") or content.get("content") or content.get("value"))
    is_thought = re.search("think|reason", str(content.get("type")))
    return ("", reasoning + answer) if is_thought else (answer, reasoning)


def find_answer(reply: Reply, request: Request) -> Reply:
    """Move a JSON object or a function call that the server left in the wrong place, if the reply ended by itself.

    Some reasoning parsers leave a whole constrained reply in the reasoning; some tool parsers leave a call in the
    content. Both are answers, and their readers check them like any other.
    """
    if reply.finish_reason.casefold() not in ENDED or reply.outcome is Outcome.REFUSED:
        return reply
    if reply.tool:
        is_wanted = bool(request.tools) or reply.content.strip()
        return reply if is_wanted else replace(reply, outcome=Outcome.EMPTY)  # a call of an unknown function
    if request.tools and (called := find_call(reply.content) or find_call(reply.reasoning)):
        tool, arguments = map(_as_text, called)
        return replace(reply, tool=tool, arguments=arguments, outcome=Outcome.ANSWERED)
    if request.schema and not reply.content.strip() and (last_object := find_last_object(reply.reasoning)):
        return replace(reply, content=last_object, outcome=Outcome.ANSWERED)
    return reply


def find_limit(reply: Reply, budget: int) -> Reply:
    """Turn a cut-off reply into a context overflow if the server ended it before its budget was used up.

    Servers that lower a budget to the room left in their context say "length" in both cases. Counts that are smaller
    than any context, and counts that we estimated, prove nothing.
    """
    completion_tokens = max(reply.completion_tokens, count_tokens([reply.reasoning, reply.content]))
    is_known = not reply.is_usage_estimated and reply.prompt_tokens + reply.completion_tokens >= _LEAST_CONTEXT
    if reply.outcome is Outcome.CUT_OFF and is_known and completion_tokens < _USED_UP * budget:
        return replace(reply, outcome=Outcome.CONTEXT_OVERFLOW)
    return reply


def _find_called(message: Mapping[str, object]) -> tuple[str, str]:
    """Return name and arguments of the first function called: a model makes one move.

    Some servers send one call instead of a list, or nothing around name and arguments, or arguments that are no text.
    """
    calls = message.get("tool_calls") or message.get("function_call")
    for call in map(_as_mapping, calls if isinstance(calls, list) else [calls]):
        function = _as_mapping(call.get("function")) or call
        if name := _as_text(function.get("name")):
            arguments = function.get("arguments", function.get("input"))
            return name, _as_text(arguments) if isinstance(arguments, str) else json.dumps(arguments or {})
    return "", ""


def _as_mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else _NO_FIELDS


def _as_text(value: object) -> str:
    if not isinstance(value, str | None):
        raise BadShape(f"the reply has another value where text belongs: {str(value)[:200]!r}")
    return (value or "").encode(errors="replace").decode()  # without lone surrogates: SQLite needs UTF-8


OPEN_THINKING, CLOSE_THINKING = "<think>", "</think>"


def split_thinking(text: str) -> tuple[str, str | None]:
    """Split a text into reasoning and answer, if a server left both; no answer (None) if the reasoning never ends."""
    if CLOSE_THINKING in text:  # a thinking model's prompt can open the block: then the text holds only its end
        reasoning, _, answer = text.rpartition(CLOSE_THINKING)
        return reasoning, answer
    return (text, None) if text.lstrip().startswith(OPEN_THINKING) else ("", text)


_OBJECT_START = re.compile(r"(?m)^[ \t]{0,20}\{|(?<=\s)\{")
_MAX_STARTS = 40  # at most so many are tried: each costs a pass over the rest of the text


def find_last_object(text: str) -> str:
    """Find the JSON object that a text ends with, alone or in a code fence; an empty string if there is none."""
    text = text.strip().removesuffix("```").rstrip()
    starts = [m.start() for m in _OBJECT_START.finditer(text)] if text.endswith("}") else []
    for start in starts[:_MAX_STARTS]:
        with suppress(ValueError, RecursionError):
            value, end = json.JSONDecoder().raw_decode(text, start)
            if isinstance(value, dict) and end == len(text):
                return text[start:]
    return ""


_BYTES_PER_TOKEN = 4  # used if no tokenizer is at hand
_PER_MESSAGE = 4  # tokens that a chat template adds to a message
_WORD = re.compile(r"[^\W\d_]+|\d+")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿가-힯]")  # scripts without spaces between words
_CHARS_PER_TOKEN = 4  # at most, in such a script
_LARGE = 1_500  # words; a shorter prompt fits every context that servers cut to (2,048 tokens and more)
_FAR_BELOW = 0.95  # share of the fewest tokens that a prompt can have
_NO_COUNT = 64  # tokens; no context is this short, so a smaller number is not a real count


def count_tokens(texts: Sequence[str], weights: str = "") -> int:
    """Count tokens with the tokenizer of `weights` if it is on this machine, else as a quarter of the bytes."""
    tokenizer = _find_tokenizer(weights) if weights else None
    if tokenizer is None:
        return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)
    return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)


def count_prompt(request: Request) -> int:
    """Estimate the tokens of a prompt, from its bytes alone: a rate needs no exact count."""
    return count_tokens([m.content for m in request.messages]) + _PER_MESSAGE * len(request.messages)


def estimate_usage(request: Request, endpoint: Endpoint, reply: Reply) -> Reply:
    """Fill in our own token counts if the server reports none: a budget must not run on zeros."""
    prompts, texts = [m.content for m in request.messages], [reply.reasoning, reply.content, reply.arguments]
    if reply.prompt_tokens and (reply.completion_tokens or not any(texts)):
        return reply
    weights = endpoint.server.weights if endpoint.server else endpoint.model
    return replace(
        reply,
        prompt_tokens=reply.prompt_tokens or count_tokens(prompts, weights) + _PER_MESSAGE * len(prompts),
        completion_tokens=reply.completion_tokens or count_tokens(texts, weights),
        is_usage_estimated=True,
    )


def is_cut(messages: Sequence[Message], prompt_tokens: int) -> bool:
    """True if a server that counts `prompt_tokens` cannot have read the whole prompt.

    A tokenizer makes at least one token of each word, so the number of words is a lower bound for every model. Short
    prompts always pass, and so do servers that count nothing.
    """
    if not _NO_COUNT < prompt_tokens < sum(len(m.content) for m in messages) / 2:
        return False  # a word and its space are at least two characters, so most prompts need no counting of words
    fewest = 0.0
    for text in (m.content for m in messages):
        spaced, unspaced = _UNSPACED.subn(" ", text)
        fewest += unspaced / _CHARS_PER_TOKEN + len(_WORD.findall(spaced))
    return fewest > _LARGE and prompt_tokens < _FAR_BELOW * fewest


@cache
def _find_tokenizer(weights: str):
    """Load the tokenizer of a folder, of the embedded model, or of a hub name downloaded earlier; else None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError
    from tokenizers import Tokenizer

    folder = cache_folder() / MODEL_NAME if weights == "embedded" else Path(weights)
    path = str(folder / "tokenizer.json")
    try:
        if not Path(path).is_file():
            path = try_to_load_from_cache(weights, "tokenizer.json")
    except (HFValidationError, OSError):  # no name of the hub, as for an API's model
        return None
    try:
        return Tokenizer.from_file(path) if isinstance(path, str) else None
    except Exception:  # the library raises Exception itself for a file that it cannot read
        return None
