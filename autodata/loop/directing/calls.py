"""Offers the moves of an orchestrating model, and reads its call: generous in form, strict about what is legal."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from autodata.loop.agents import make_object
from autodata.loop.directing.recap import shorten
from autodata.loop.parsing import ParseError, read_object, repair_object
from autodata.types import Reply

MAX_TEXT_CHARS = 2_000  # the most that is kept of an instruction or a diagnosis
PROPOSE, READ, GIVE_UP = "propose", "read", "give_up"
_TEXT = {"type": "string", "maxLength": MAX_TEXT_CHARS}
_MOVES: dict[str, tuple[str, dict[str, object]]] = {
    PROPOSE: ("Ask the challenger for an entirely new candidate.", {"diagnosis": _TEXT, "instruction": _TEXT}),
    READ: ("Read a section of the document's outline before you propose.", {"section": {"type": "integer"}}),
    GIVE_UP: ("Leave this document: nothing good will come of it.", {"diagnosis": _TEXT}),
}
_PREFIX = re.compile(r"^(?:functions?|tools?|default_api|api)\s*[.:/]\s*|^(?:call|function)\s+")
_NUMBER = re.compile(r":[0-9]+$")  # Kimi counts its calls: functions.propose:0
# A move that stands before its arguments: give_up({…}), functions.give_up:0<…>{…}, read(section=3).
_WRITTEN = re.compile(
    r"\b(?P<name>propose|read|give_up)(?::[0-9]+)?(?:\s*<[^<>\s]{1,40}>\s*|\s*\(\s*|(?<!read)\s*:?\s*)(?P<object>\{)"
    r"|\b(?P<call>propose|read|give_up)\((?P<pairs>[^{}]{0,4000})\)[\s`;.\]]*$"
)
# A move in tags, as Qwen and GLM write it: <function=propose><parameter=…>…, <tool_call>propose<arg_key>….
_TAGGED = re.compile(r"<(?:function=|tool_call>\s*)(?P<name>[A-Za-z_.]{1,40})(?![\w\s]*[({])(?P<body>.*)", re.DOTALL)
_TAGGED_PAIR = re.compile(
    r"<(?:parameter=|arg_key>)\s*(\w{1,40})\s*(?:>|</arg_key>\s*<arg_value>)(.*?)</(?:parameter|arg_value)>", re.DOTALL
)
_PAIR = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([0-9]+))")
_LIKENESS = 0.75  # "instructions" is read as "instruction", "rubric" as nothing


class IllegalMove(RuntimeError):
    """The model called something that it may not call now; the message says what it may."""


@dataclass(frozen=True)
class Call:
    """A legal move with its arguments. `ignored` says which arguments were not read, for the model's next turn."""

    name: str
    texts: Mapping[str, str]
    section: int = 0
    ignored: str = ""


def offer(legal: Sequence[str]) -> tuple[dict[str, object], ...]:
    """Return the functions that may be called now."""
    return tuple(
        {"name": name, "description": _MOVES[name][0], "parameters": make_object(dict(_MOVES[name][1]))}
        for name in legal
    )


def read_call(reply: Reply, legal: Sequence[str]) -> Call:
    """Read which move a reply makes, as a function call or as JSON in the text. Raises IllegalMove."""
    name, arguments = (reply.tool, reply.arguments) if reply.tool else _find_in_text(reply.content, legal)
    move = re.sub(r"[\s-]+", "_", _NUMBER.sub("", _PREFIX.sub("", name.strip().casefold()).strip("`'\"() ")))
    if move not in legal:
        raise IllegalMove(f"{shorten(name)} is not legal now; legal: {', '.join(legal)}")
    given = _read_arguments(move, arguments)
    known, ignored = _match(given, list(_MOVES[move][1]))
    texts = {key: _as_text(known.get(key)) for key in ("instruction", "diagnosis")}
    note = f"{move} takes {', '.join(_MOVES[move][1])}; ignored: {shorten(', '.join(ignored), 200)}" if ignored else ""
    return Call(move, texts, _read_section(known) if move == READ else 0, note)


def _find_in_text(content: str, legal: Sequence[str]) -> tuple[str, str]:
    """Find a move that a model without function calls wrote as JSON: {"name": …, "arguments": {…}}."""
    tagged = _TAGGED.search(content)
    if tagged and "{" not in content[: tagged.start()]:  # inside an object such words are only words
        return tagged["name"], json.dumps({key: text.strip() for key, text in _TAGGED_PAIR.findall(tagged["body"])})
    written = _WRITTEN.search(content)
    if written and "{" not in content[: written.start()]:
        return _read_written(written)
    try:
        record = _read_generously(content)
    except ParseError:
        raise IllegalMove(
            'no function was called; call one, or write {"name": "propose", "arguments": {…}}. '
            "See tool-call-parser in the flags of the orchestrator's server"
        ) from None
    if len(record) == 1 and (move := next(iter(record))) in _MOVES and isinstance(record[move], dict):
        return move, json.dumps(record[move])
    calls = record.get("tool_calls")
    record = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], dict) else record
    inner = record.get("function")
    record = inner if isinstance(inner, dict) else record
    name = next((v for k in ("name", "function", "tool", "move") if isinstance(v := record.get(k), str)), "")
    arguments = next((record[k] for k in ("arguments", "parameters", "args", "input") if k in record), None)
    if not name and PROPOSE in legal and _match(record, list(_MOVES[PROPOSE][1]))[0]:
        return PROPOSE, json.dumps(record)  # the arguments alone
    if not name:
        raise IllegalMove(f"no function is named in the reply; legal: {', '.join(legal)}")
    rest = {k: v for k, v in record.items() if k not in ("name", "function", "tool", "move", "type", "id")}
    arguments = rest if arguments is None else arguments
    return name, arguments if isinstance(arguments, str) else json.dumps(arguments)


def _read_written(written: re.Match[str]) -> tuple[str, str]:
    """Return the move and the arguments of a call that stands in a text."""
    if written["object"]:
        return written["name"], written.string[written.start("object") :]
    pairs = {key: double or single or number for key, double, single, number in _PAIR.findall(written["pairs"])}
    return written["call"], json.dumps(pairs) if pairs else written["pairs"]


def _read_arguments(move: str, arguments: str) -> dict[str, object]:
    if (arguments or "").strip() in ("", "null", "None", "{}"):
        return {}
    if move == READ and re.fullmatch(r"\W{0,3}[0-9]{1,4}\W{0,3}", arguments.strip()):
        return {"section": arguments}  # read(3)
    try:
        return _read_generously(arguments)
    except ParseError:
        raise IllegalMove(f"the arguments of {move} are no JSON object") from None


def _read_generously(text: str) -> dict[str, object]:
    """Read an object, after a repair if it needs one. Raises ParseError."""
    try:
        return read_object(text)
    except ParseError:
        return repair_object(text)


def _match(given: Mapping[str, object], names: list[str]) -> tuple[dict[str, object], list[str]]:
    """Assign the given arguments to the names of a move, misspelt ones too; also return those that fit none."""
    known = {name: given[name] for name in names if name in given}
    ignored = []
    for key, value in given.items():
        if key in known:
            continue
        near = get_close_matches(key.strip().casefold(), names, 1, _LIKENESS)
        if near and near[0] not in known:
            known[near[0]] = value
        else:
            ignored.append(key)
    return known, ignored


def _read_section(known: Mapping[str, object]) -> int:
    number = re.search(r"[0-9]{1,4}", str(known.get("section", "")))
    if not number:
        raise IllegalMove("read takes section: its number in the outline")
    return int(number[0])


def _as_text(value: object) -> str:
    """Return an argument as text; what is no text was still meant to be one."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "\n".join(map(_as_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
