"""How one text became another, for readers: whole lines that stayed, words that came and went in the others."""

import difflib
import re
from collections.abc import Iterator, Sequence

_AROUND = 2  # lines that stayed, shown before and after a change
_TOKEN = re.compile(r"\s+|[^\s]+")
Stretch = tuple[str, str]  # "=", "-", "+" or "…", and the text


def compare_texts(before: str, after: str) -> list[Stretch]:
    """Stretches in reading order; of long ones that stayed only the edges, with "…" and the number left out."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    found: list[Stretch] = []
    opcodes = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for number, (what, from_old, to_old, from_new, to_new) in enumerate(opcodes):
        if what == "equal":
            found += _fold(old[from_old:to_old], number == 0, number == len(opcodes) - 1)
        else:
            found += _compare_words("".join(old[from_old:to_old]), "".join(new[from_new:to_new]))
    return found


def _fold(lines: Sequence[str], is_first: bool, is_last: bool) -> list[Stretch]:
    head, tail = 0 if is_first else _AROUND, 0 if is_last else _AROUND
    left_out = len(lines) - head - tail
    if left_out <= 1:
        return [("=", "".join(lines))]
    edges = ("".join(lines[:head]), "".join(lines[len(lines) - tail :]))
    return [("=", edges[0]), ("…", f"{left_out} lines as they were\n"), ("=", edges[1])]


def _compare_words(before: str, after: str) -> Iterator[Stretch]:
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    for _, from_old, to_old, from_new, to_new in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        went, came = "".join(old[from_old:to_old]), "".join(new[from_new:to_new])
        if went == came:
            yield "=", went
        else:
            yield from ((sign, text) for sign, text in (("-", went), ("+", came)) if text)
