"""Reads what a server answered: how it ended, its content and reasoning, calls, and tokens."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from autodata.serving.measured import ENDED, read_outcome
from autodata.serving.request import Request
from autodata.types import Message, Outcome, Reply

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletion, ChatCompletionMessage


_LEAST_CONTEXT = 256  # tokens
_USED_UP = 0.9  # of a budget, from which on it was the budget that ended a reply


class BadShape(ValueError):
    """A reply with HTTP 200 that is not a chat completion."""


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


_OBJECT_START = re.compile(r"(?m)^[ \t]{0,20}\{|(?<=\s)\{")
_MAX_STARTS = 40  # tried; each costs a pass over the rest of a text
_FUNCTION = re.compile(r"<function=(\w{1,80})>")


def find_last_object(text: str) -> str:
    """The JSON object that a text ends with, alone or in a code fence; empty where it ends with none."""
    text = text.strip().removesuffix("```").rstrip()
    starts = [m.start() for m in _OBJECT_START.finditer(text)] if text.endswith("}") else []
    for start in starts[:_MAX_STARTS]:
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and end == len(text):
            return text[start:]
    return ""


def find_call(text: str) -> tuple[str, str] | None:
    """Name and JSON arguments of a function call that stands in a text, in the two forms that models are taught."""
    start = text.find("<tool_call>")
    whole = text[start + len("<tool_call>") :].partition("</tool_call>")[0] if start >= 0 else text
    inside = whole.strip()
    if named := _FUNCTION.match(inside):
        parts = [part.partition(">") for part in inside.split("<parameter=")[1:]]
        return named[1], json.dumps({key: rest.partition("</parameter>")[0].strip() for key, _, rest in parts})
    try:
        value = json.loads(inside)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    return value["name"], json.dumps(value.get("arguments") or {})


_BYTES_PER_TOKEN = 4  # where no tokenizer is at hand
_PER_MESSAGE = 4  # tokens that a chat template puts around a turn
_WORD = re.compile(r"[^\W\d_]+|\d+")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿가-힯]")  # scripts whose words no blank divides
_CHARS_PER_TOKEN = 4  # at most, of such a script
_LARGE = 1_500  # words; a shorter prompt fits every context that servers cut to (2,048 tokens and more)
_FAR_BELOW = 0.95  # of the fewest tokens that a prompt can have
_NO_COUNT = 64  # tokens; no server has a context as short, so a smaller number counts nothing


def count_tokens(texts: Sequence[str], weights: str = "") -> int:
    """Tokens of `texts` by the tokenizer of `weights` where it is on this machine, else a quarter of their bytes."""
    tokenizer = _find_tokenizer(weights) if weights else None
    if tokenizer is None:
        return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)
    return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)


def count_prompt_tokens(messages: Sequence[Message], weights: str = "") -> int:
    return count_tokens([m.content for m in messages], weights) + _PER_MESSAGE * len(messages)


def is_cut(messages: Sequence[Message], prompt_tokens: int) -> bool:
    """True if a server that counts `prompt_tokens` cannot have read all of the prompt.

    A tokenizer makes at least one token of a word, so words are a lower bound that holds for every model. Short
    prompts are let through, and so is a server that counts nothing.
    """
    if not _NO_COUNT < prompt_tokens < sum(len(m.content) for m in messages) / 2:
        return False  # a word and the blank after it are two characters at least, so most prompts need no counting
    fewest = sum(_count_words(m.content) for m in messages)
    return fewest > _LARGE and prompt_tokens < _FAR_BELOW * fewest


def _count_words(text: str) -> float:
    unspaced = len(_UNSPACED.findall(text))
    return unspaced / _CHARS_PER_TOKEN + len(_WORD.findall(_UNSPACED.sub(" ", text)))


@cache
def _find_tokenizer(weights: str):
    """The tokenizer of a folder, of the embedded model, or of a hub name that was downloaded before; else None."""
    from tokenizers import Tokenizer

    path = _find_file(weights)
    try:
        return Tokenizer.from_file(str(path)) if path else None
    except Exception:  # the library raises exactly that for a file that it cannot read
        return None


def _find_file(weights: str) -> Path | None:
    from autodata.recipes.models import MODEL_NAME
    from autodata.serving.embedded import cache_folder

    folder = cache_folder() / MODEL_NAME if weights == "embedded" else Path(weights)
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(weights, "tokenizer.json")
    except HFValidationError:  # the name of an API's model need not be one of the hub
        return None
    return Path(found) if isinstance(found, str) else None
