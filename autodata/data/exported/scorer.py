"""Scores an answer to a task, exactly as it was scored when the task was made. Needs nothing but Python.

A task is a line of tasks.jsonl. Its score follows from one boolean per criterion, which code or a judge decides.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from fractions import Fraction
from importlib import import_module
from operator import itemgetter
from types import ModuleType
from typing import Any

Task = dict[str, Any]
Turns = list[dict[str, str]]

PLACE = "(the answer to be judged: 5d1f0c92e7)"  # stands in the judge's messages where an answer goes
_MARK = hashlib.sha256(PLACE.encode()).hexdigest()[:16]  # the tags around it bear its hash
_PLACES = re.compile(f"{re.escape(PLACE)}|{_MARK}")

# Servers read these as control tokens even inside a text, so they are written in another way.
_TAGS = "think|tool_call|tool_response|s|bos|eos|start_of_turn|end_of_turn"
_CONTROL = re.compile(rf"<(?=\||/?(?:{_TAGS})>)|>(?<=\|>)|\[(?=/?INST\])")
_HARMLESS = {"<": "‹", ">": "›", "[": "⟦"}

_OBJECT = re.compile(r"\{(?=\s*[\"}])")  # where a JSON object may begin
_LONE_BACKSLASH = re.compile(r'\\(\\|["/bfnrtu])?')
_NUMBERED = re.compile(
    r"(?:(?:criterion|no\.?|#)?\s{0,3}#?([+-]?[0-9]{1,4})(?:\.0)?\s{0,3}[.:)]?|([0-9]{1,4})[.:)]\s.*)",
    re.IGNORECASE | re.DOTALL,
)
_WORDS = dict.fromkeys(("true", "yes", "met", "1", "1.0", "y", "t"), True)
_WORDS |= dict.fromkeys(("false", "no", "not met", "not_met", "not-met", "unmet", "0", "0.0", "n", "f"), False)


class Unreadable(ValueError):
    """A judge's reply does not hold the verdicts that were asked for. There is no default verdict."""


def score(task: Task, met: Sequence[bool]) -> float:
    """Divide the points earned by all positive points, clipped to [0, 1]; criteria of negative weight cost points.

    Raises ValueError if there is not one boolean per criterion, or if nothing can be earned.
    """
    weights = [line["weight"] for line in task["rubric"]]
    if len(met) != len(weights):
        raise ValueError(f"{len(met)} verdicts for {len(weights)} criteria")
    attainable = sum(weight for weight in weights if weight > 0)
    if attainable == 0:
        raise ValueError("the rubric has no criterion of positive weight")
    earned = sum(weight for weight, is_met in zip(weights, met, strict=True) if is_met)
    return float(min(max(Fraction(earned, attainable), Fraction(0)), Fraction(1)))


def cut_reasoning(text: str) -> str:
    """Return the answer after the reasoning that a server left in a text; nothing if the reasoning does not end."""
    is_open = text.lstrip().startswith("<think>") and "</think>" not in text
    return "" if is_open else text.rpartition("</think>")[2]


def decide(task: Task, answer: str) -> list[bool] | None:
    """Return the verdicts that need no judge; None if a judge has to decide. No answer meets no criterion."""
    if not answer.strip():
        return [False] * len(task["rubric"])
    if not task["compare"]:
        return None
    compare = _load(task["compare"])
    is_right = compare.is_right(task["reference_answer"], compare.read_answer(answer))
    return None if is_right is None else [is_right]


def write_calls(task: Task, answer: str) -> list[Turns]:
    """Write the messages of all calls to the judge that an answer needs."""
    shown = _load(task["compare"]).read_answer(answer) if task["compare"] else answer
    return [fill(call["messages"], shown) for call in task["judge_calls"]]


def fill(messages: Turns, answer: str) -> Turns:
    """Put an answer in its place. The tags around it bear its hash, so that the answer cannot close them."""
    mark = hashlib.sha256(answer.encode(errors="replace")).hexdigest()[:16]
    harmless = _CONTROL.sub(lambda match: _HARMLESS[match[0]], answer)

    def put(match: re.Match[str]) -> str:
        return harmless if match[0] == PLACE else mark

    return [{"role": turn["role"], "content": _PLACES.sub(put, turn["content"]).strip()} for turn in messages]


def read_reply(reply: str, criteria: int) -> list[bool]:
    """Read the verdicts on so many criteria in a judge's reply; 0 stands for one decision. Raises Unreadable."""
    record = _read_object(reply)
    if criteria:
        return read_verdicts(record, criteria)
    if (is_met := _read_boolean(record.get("equivalent"))) is None:
        raise Unreadable("`equivalent` is not true or false")
    return [is_met]


def read_verdicts(record: dict[str, Any], count: int) -> list[bool]:
    """Read criteria 1 to `count`, each exactly once, each with a clear `met`. Raises Unreadable."""
    verdicts = record.get("verdicts")
    if isinstance(verdicts, dict) and verdicts:  # {"1": {"reason": …, "met": …}, …}
        verdicts = [{"criterion": key, **(v if isinstance(v, dict) else {"met": v})} for key, v in verdicts.items()]
    if not isinstance(verdicts, list):
        raise Unreadable("no list `verdicts` in the judge's reply")
    pairs = [_read_verdict(verdict) for verdict in verdicts]
    if sorted(number for number, _ in pairs) != list(range(1, count + 1)):
        raise Unreadable(f"verdicts for criteria {sorted(number for number, _ in pairs)} instead of 1 to {count}")
    return [is_met for _, is_met in sorted(pairs)]


def _read_verdict(verdict: object) -> tuple[int, bool]:
    record = verdict if isinstance(verdict, dict) else {}
    number = _NUMBERED.fullmatch(_as_word(record.get("criterion", record.get("number"))))
    is_met = _read_boolean(record.get("met"))
    if not number or is_met is None:
        raise Unreadable(f"not a verdict: {str(verdict)[:80]}")
    return int(number[1] or number[2]), is_met


def _read_boolean(value: object) -> bool | None:
    """Read a boolean, even if a model wrote it as a word or as 0 or 1; None for anything else."""
    return value if isinstance(value, bool) else _WORDS.get(_as_word(value).casefold().strip(" .!*_`'\""))


def _as_word(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _read_object(text: str) -> dict[str, Any]:
    """Find the JSON object, alone or between sentences. Raises Unreadable.

    Of several whole ones the last counts, unless it has other keys than the longest, as a remark after it may have.
    """
    doubled = _LONE_BACKSLASH.sub(lambda match: match[0] if match[1] else r"\\", text)  # "\alpha" is no JSON
    found: list[tuple[int, dict[str, Any]]] = []
    start = _OBJECT.search(doubled)
    while start:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(doubled, start.start())
        except (ValueError, RecursionError):
            break  # what stands inside a broken object is only a part of it
        found.append((end - start.start(), value))
        start = _OBJECT.search(doubled, end)
    if not found:
        raise Unreadable("no JSON object in the reply" if text.strip() else "the reply is empty")
    _, longest = max(found, key=itemgetter(0))
    return next(v for _, v in reversed(found) if len(v.keys() & longest.keys()) * 2 >= len(longest))


def _load(name: str) -> ModuleType:
    """Load the file with which a domain compares answers."""
    return import_module(f".{name}", __package__)
