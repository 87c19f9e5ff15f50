"""Reads data from a model's text: tolerant of wrapping, strict about content."""

import json
import re
import unicodedata
from collections.abc import Mapping
from operator import itemgetter

import json_repair

from autodata.loop.checks import latex
from autodata.types import Criterion

MAX_CHARS = 20_000  # per field of a candidate
MAX_CRITERION_CHARS = 2_000
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# A whole number with what models write around it: "minus three", "+8 points", "**7**", "9 (critical)".
_INTEGER = re.compile(
    rf"[(*_ ]{{0,3}}(?P<sign>plus|minus|[+-])?\s{{0,2}}(?P<size>[0-9]{{1,4}}|{'|'.join(_WORDS)})"
    r"(?:\.0{1,4})?[)*_ ]{0,3}(?:points?|pts)?\.?(?: ?\([^()0-9]{0,40}\))?",
    re.IGNORECASE,
)
_MINUS = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{HYPHEN}", "-"))
_OBJECT = re.compile(r"\{(?=\s*[\"}])")  # where a JSON object may begin; "{x}" is none
_NEARLY_OBJECT = re.compile(r"\{(?=\s*[\"'“”‘’])")
_OTHER_QUOTES = re.compile(
    r"\{\s*['“”‘’][^'\"“”‘’{}]{1,80}['“”‘’]\s*:"
)  # an object whose first key is not in straight quotes
# Braces, and texts in any quotes, which may hold some. A text without an end goes on to the end.
_BRACES = re.compile(
    r"""[{}]|'(?:[^'\\]|\\.|(?<=[^\W_])'(?=[^\W_]))*+(?:'|\\?\Z)|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|“[^”]*+|‘[^’]*+""",
    re.DOTALL,
)
_CURLY_KEY = re.compile(r"[{,]\s*[“”][^\"“”{}]{1,80}[“”]\s*:")
# A text in straight quotes, or one in curly quotes up to where JSON would go on.
_QUOTED = re.compile(
    r'"(?:[^"\\]|\\.)*"|[“”](?P<curly>[^“”]*(?:[“”][^“”]*){0,20}?)[“”](?=\s*(?::|[}\]]|,\s*["“”{\[]))'
)
_NUMBERED = re.compile(
    r"(?:(?:criterion|no\.?|#)?\s{0,3}#?([+-]?[0-9]{1,4})(?:\.0)?\s{0,3}[.:)]?|([0-9]{1,4})[.:)]\s.*)",
    re.IGNORECASE | re.DOTALL,
)
_BOOLEANS = {"true": True, "yes": True, "met": True, "1": True, "1.0": True, "y": True, "t": True}
_BOOLEANS |= {
    "false": False,
    "no": False,
    "not met": False,
    "not_met": False,
    "not-met": False,
    "n": False,
    "f": False,
    "unmet": False,
    "0": False,
    "0.0": False,
}


class ParseError(ValueError):
    """A model's reply does not hold what was asked for; the message says what is missing."""


def read_object(text: str) -> dict[str, object]:
    """Find the JSON object in a reply: alone, in a code fence, or between sentences.

    Of several whole ones the last counts, unless it has other keys than the longest, as a remark after it may have.
    LaTeX commands are restored in its texts. Raises ParseError.
    """
    found: list[tuple[int, dict[str, object]]] = []
    start = _find_object(text, 0)
    while start:
        try:
            value, end = json.JSONDecoder().raw_decode(text, start.start())
        except (ValueError, RecursionError):  # ValueError also for numbers of thousands of digits
            break  # what stands inside a broken object is only a part of it
        found.append((end - start.start(), value))
        start = _find_object(text, end)
    if found:
        _, longest = max(found, key=itemgetter(0))
        return _restore(next(v for _, v in reversed(found) if len(v.keys() & longest.keys()) * 2 >= len(longest)))
    raise ParseError("no JSON object in the reply" if text.strip() else "the reply is empty")


def _find_object(text: str, at: int) -> re.Match[str] | None:
    """Find where the next object may begin; None if it is a part of one whose keys are not in straight quotes."""
    start = _OBJECT.search(text, at)
    while start and (other := _OTHER_QUOTES.search(text, at, start.start())):
        if (at := _find_end(text, other.start(), start.start())) < 0:
            return None
    return start


def _find_end(text: str, start: int, stop: int) -> int:
    """Return where the object that begins at `start` ends; -1 if it is still open at `stop`."""
    depth = 0
    for match in _BRACES.finditer(text, start, stop):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return -1


def repair_object(text: str) -> dict[str, object]:
    """Read an object that is not quite JSON, because a quote or a comma is missing. Raises ParseError.

    This is the last resort, and each use is counted. A reply that was cut off is never repaired: that would turn half
    a rubric into a whole one.
    """
    text = _straighten(text)
    start = _NEARLY_OBJECT.search(text)
    at = start.start() if start else text.find("{")
    try:
        value = json_repair.loads(text[at:]) if at >= 0 else None
    except (ValueError, RecursionError) as error:
        raise ParseError("no JSON object in the reply") from error
    if isinstance(value, list):  # a reply with several objects
        value = next((item for item in reversed(value) if isinstance(item, dict) and item), None)
    if not isinstance(value, dict) or not value:
        raise ParseError("no JSON object in the reply")
    return _restore(value)


def _straighten(text: str) -> str:
    """Write an object whose keys stand in curly quotes with straight ones; curly quotes inside a text stay."""
    if not _CURLY_KEY.search(text):
        return text
    return _QUOTED.sub(lambda m: m[0] if m["curly"] is None else '"' + m["curly"].replace('"', '\\"') + '"', text)


def _restore(record: dict[str, object]) -> dict[str, object]:
    return {key: latex.restore(value) for key, value in record.items()}


def unwrap(record: dict[str, object], key: str) -> dict[str, object]:
    """Return the object that has `key`: the record, or what stands alone in it, as in {"candidate": {…}}."""
    inner = next(iter(record.values())) if len(record) == 1 else None
    return inner if key not in record and isinstance(inner, dict) and key in inner else record


def read_text(record: Mapping[str, object], key: str, at_most: int = MAX_CHARS) -> str:
    """Read a field that must be text, not blank and of bounded length; paragraphs may be a list. Raises ParseError."""
    value = record.get(key)
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = "\n\n".join(value)
    if not isinstance(value, str) or not value.strip():
        raise ParseError(f"no text in `{key}`")
    if len(value) > at_most:
        raise ParseError(f"`{key}` has {len(value)} characters, more than {at_most}")
    if control := latex.find_control_character(value):
        raise ParseError(f"`{key}` has a control character ({control}); {latex.BACKSLASHES}")
    return value.strip()


def read_texts(record: Mapping[str, object], key: str) -> list[str]:
    """Read a field that must be a list of texts, or one text; blank texts are left out. Raises ParseError."""
    value = record.get(key)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ParseError(f"`{key}` is not a list of texts")
    return [v.strip() for v in value if v.strip()]


def read_integer(value: object) -> int:
    """Read a whole number, even if a model wrote "+8", "minus eight" or 8.0 (paper Sec. 4: some broke parsing)."""
    plain = unicodedata.normalize("NFKC", value).translate(_MINUS).strip() if isinstance(value, str) else ""
    if written := _INTEGER.fullmatch(plain):
        size = written["size"].casefold()
        number = _WORDS.index(size) if size in _WORDS else int(size)
        return -number if (written["sign"] or "").casefold() in ("-", "minus") else number
    if type(value) is int or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise ParseError(f"{str(value)[:40]!r} is not a whole number")


def read_rubric(record: Mapping[str, object]) -> tuple[Criterion, ...]:
    """Read the list `rubric` of {criterion, weight, category[, capability]}. Raises ParseError.

    The category gives the sign and the weight gives the size, so −5 and 5 mean the same in category negative.
    """
    rubric = tuple(_read_criterion(number, item) for number, item in enumerate(read_items(record, "rubric"), 1))
    if not any(c.weight > 0 for c in rubric):
        raise ParseError("the rubric has no criterion of positive weight")
    texts = [" ".join(c.text.casefold().split()) for c in rubric]
    twice = next((t for t in texts if texts.count(t) > 1), "")
    if twice:
        raise ParseError(f"the same criterion twice: {twice[:80]}")
    return rubric


def read_items(record: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """Read a list of objects, also where a model numbered them, {"1": {…}}, or named it, {"criteria": […]}."""
    value = record.get(key)
    if isinstance(value, str):  # a list that was written as JSON once more
        value = _read_json(value)
    if isinstance(value, dict):
        inner = list(value.values())
        value = inner[0] if len(inner) == 1 and isinstance(inner[0], list) else inner
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ParseError(f"no list of criteria in `{key}`")
    return value


def _read_json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_criterion(number: int, item: Mapping[str, object]) -> Criterion:
    try:
        return _read_weighed(item)
    except ParseError as error:
        raise ParseError(f"criterion {number}: {error}") from None


def _read_weighed(item: Mapping[str, object]) -> Criterion:
    weight = read_integer(item.get("weight"))
    category = str(item.get("category") or ("positive" if weight > 0 else "negative")).strip(" .*_`").casefold()
    if category not in ("positive", "negative"):
        raise ParseError(f"category {str(category)[:40]!r} is neither positive nor negative")
    if weight == 0 or (category == "positive" and weight < 0):
        raise ParseError(f"weight {weight} in category {category}")
    capability = item.get("capability", "")
    signed = weight if category == "positive" else -abs(weight)
    # A criterion stays on one line, so that it cannot look like two criteria in the judge's list.
    text = " ".join(read_text(item, "criterion", MAX_CRITERION_CHARS).split())
    return Criterion(text, signed, capability if isinstance(capability, str) else "")


def read_verdicts(reply: Mapping[str, object], count: int) -> tuple[tuple[bool, ...], str]:
    """Read one boolean per criterion, and the judge's reasons.

    The set must be complete: criteria 1 to `count`, each exactly once, each with a clear `met`. Anything else raises
    ParseError, so that a broken judge is never read as a score.
    """
    verdicts = reply.get("verdicts")
    if isinstance(verdicts, dict) and verdicts:  # {"1": {"reason": …, "met": …}, …}
        verdicts = [{"criterion": key, **(v if isinstance(v, dict) else {"met": v})} for key, v in verdicts.items()]
    if not isinstance(verdicts, list):
        raise ParseError("no list `verdicts` in the judge's reply")
    by_number: dict[int, tuple[bool, str]] = {}
    for verdict in verdicts:
        number, is_met, reason = _read_verdict(verdict)
        if number in by_number:
            raise ParseError(f"criterion {number} was judged twice")
        by_number[number] = (is_met, reason)
    if set(by_number) != set(range(1, count + 1)):
        raise ParseError(f"verdicts for criteria {sorted(by_number)} instead of 1 to {count}")
    ordered = [by_number[n] for n in range(1, count + 1)]
    return tuple(is_met for is_met, _ in ordered), "\n".join(reason for _, reason in ordered)


def _read_verdict(verdict: object) -> tuple[int, bool, str]:
    """Read number, boolean and reason of one verdict, as models write them: "1", 1.0, "true", "not met"."""
    record = verdict if isinstance(verdict, dict) else {}
    number = _NUMBERED.fullmatch(_as_word(record.get("criterion", record.get("number"))))
    is_met = read_boolean(record.get("met"))
    if not number or is_met is None:
        raise ParseError(f"not a verdict: {str(verdict)[:80]}")
    return int(number[1] or number[2]), is_met, str(record.get("reason") or "")


def read_boolean(value: object) -> bool | None:
    """Read a boolean, even if a model wrote it as a word or as 0 or 1; None for anything else."""
    return value if isinstance(value, bool) else _BOOLEANS.get(_as_word(value).casefold().strip(" .!*_`'\""))


def _as_word(value: object) -> str:
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
