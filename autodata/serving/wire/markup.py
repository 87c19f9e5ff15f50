"""Finds a function call that a server left in the text, in the markup that the model was taught."""

import json
import re
from contextlib import suppress

_MAX_CHARS = 50_000  # a longer text is no call
_NAME = r"[\w.-]{1,80}"
# The marks after which a call begins, as model families write them: Qwen and Hermes, Mistral, Llama, Kimi, DeepSeek.
_START = re.compile(
    r"<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|<\|tool_call_begin\|>|<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?"
    r"|<\|tool_call>call:|(?=<function=)|(?=<invoke )"
)
_TAGGED = re.compile(rf'<(?:function=|invoke name=")({_NAME})"?>')
_PARAMETER = re.compile(r'<parameter(?:=| name=")([\w.-]{1,80})"?[^<>]{0,80}>')
_NAMED = re.compile(
    rf"\s*(?:functions\.)?({_NAME}?)(?::\d+)?\s*"
    r"(?:\[ARGS\]|\[CALL_ID\]\w{1,40}\[ARGS\]|<\|tool_call_argument_begin\|>|<｜tool▁sep｜>)?\s*(?:```json)?\s*(?=\{)"
)
_PAIR = re.compile(r"<arg_key>([^<]{1,80})</arg_key>\s*<arg_value>")  # GLM
_GLM_NAME = re.compile(rf"\s*({_NAME})\s*(?=<arg_key>)")


def find_call(text: str) -> tuple[str, str] | None:
    """Find the first function call in a text. Return its name and JSON arguments."""
    text = text.strip()[:_MAX_CHARS]
    start = _START.search(text)
    if not start and not text.endswith(("}", "]")):  # prose, that may begin with an object
        return None
    inside = text[start.end() :] if start else text
    for read in (_read_tagged, _read_pairs, _read_json, *([_read_named] if start else [])):
        with suppress(ValueError, RecursionError):
            if call := read(inside):
                return call
    return None


def _read_tagged(text: str) -> tuple[str, str] | None:
    """Read <function=name><parameter=key>value</parameter></function>, or JSON inside <function=name>."""
    if not (tag := _TAGGED.match(text.lstrip())):
        return None
    rest = text.lstrip()[tag.end() :]
    if rest.lstrip().startswith("{"):
        return tag[1], json.dumps(json.JSONDecoder().raw_decode(rest.lstrip())[0])
    marks = [*_PARAMETER.finditer(rest)]
    values = [rest[mark.end() :].partition("</parameter>")[0].strip() for mark in marks]
    return tag[1], json.dumps({mark[1]: value for mark, value in zip(marks, values, strict=True)})


def _read_pairs(text: str) -> tuple[str, str] | None:
    """Read name<arg_key>key</arg_key><arg_value>value</arg_value>."""
    if not (name := _GLM_NAME.match(text)):
        return None
    pairs = {pair[1].strip(): text[pair.end() :].partition("</arg_value>")[0].strip() for pair in _PAIR.finditer(text)}
    return name[1], json.dumps(pairs)


def _read_json(text: str) -> tuple[str, str] | None:
    """Read {"name": …, "arguments": {…}}, alone or as the first of a list."""
    value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    value = value["function"] if isinstance(value.get("function"), dict) else value
    if not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters")) or {}
    return value["name"], arguments if isinstance(arguments, str) else json.dumps(arguments)


def _read_named(text: str) -> tuple[str, str] | None:
    """Read a name and then its arguments as JSON, with some mark between them or none."""
    if not (name := _NAMED.match(text)) or not name[1]:
        return None
    value, _ = json.JSONDecoder().raw_decode(text, name.end())
    return (name[1], json.dumps(value)) if isinstance(value, dict) else None
