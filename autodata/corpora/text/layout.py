"""Undoes what printing did to a text: running heads, page numbers, and words divided at the end of a line."""

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import chain

from autodata.corpora.text.pages import drop_running_heads, join_pages

HEADS, WORDS = "running heads and page numbers removed", "divided words joined"  # the names of the changes
# A hyphen at the end of a line or before blanks, between letters. The patterns begin with the hyphen, because hyphens
# are fewer than words.
_AFTER_HYPHEN = r"(?<=[^\W\d_]{2}.)(?:([ \t]*(?:\n[ \t]*){1,4})|[ \t]{1,40})([^\W\d_]{2,40})"
_HYPHEN, _ANY_HYPHEN = re.compile(f"-{_AFTER_HYPHEN}"), re.compile(f"[-‐]{_AFTER_HYPHEN}")
_LONGEST_PART = 40  # letters of a divided word before its hyphen
_LAST_PART = re.compile(rf"(?<![^\W\d_])[^\W\d_]{{2,{_LONGEST_PART}}}\Z")
_NUMBERED = re.compile(r"(?<!\w)(\w{1,40}[-‐])[ \t]*\n[ \t]*(\d{1,9})\b")  # "COVID-" at the end of a line
_WITH_NUMBER = re.compile(r"(?<!\w)\w{1,40}[-‐]\d{1,9}\b")
# Before these a hyphen stands for the rest of a word, or for a dash.
_SUSPENDED = re.compile(
    r"and|or|as|to|nor|but|than|versus|vs|rather|through|instead|if|not|both|either|und|oder|bzw|sowie|bis|als|wie|"
    r"aber|en|of|dan|tot|et|ou|ni|och|eller|og|lub|oraz|ve|veya",
    re.IGNORECASE,
)
_WRAPPED = 40  # characters of a line that goes on in the next one, at least; shorter ones may be labels
# What stands around the parts of an address, an option or the name of a file, which have hyphens of their own.
_NAME_BEGINS = re.compile(r"[(<\[\"']?(?:\w{2,10}://|www\.|~?\.{0,2}/)")
_LONGEST_NAME = 200
_NAME_JOINS = frozenset("-‐_@\\")
_NAME_GOES_ON = re.compile(r"[_@\\]|\.[a-z]")
# Compounds that are written with a hyphen wherever they stand. Most hyphens at the end of a line divide a word
# ("long-itude", "real-located"), so only what begins or ends no ordinary word is listed; other compounds are joined.
_COMPOUND = re.compile(
    r"well-(?!ness|ington|head|spring)[^\W\d_]{4,}|self-(?!less|hood|same|ish)[^\W\d_]{4,}"
    r"|(?:long|short|high|low|full|half|large|small|real|first|second|third|one|two|three|four|five|six|seven|eight|"
    r"nine|ten)-(?:term|range|run|lived|standing|distance|level|quality|order|dimensional|speed|scale|class|party|"
    r"year|day|time|world|valued|step|stage|sided|length|risk|cost|energy|performance|resolution|frequency|pressure|"
    r"temperature|thirds)",
    re.IGNORECASE,
)
_LAST_PARTS = re.compile(
    r"only|based|dependent|independent|specific|aware|driven|oriented|related|compatible|friendly|intensive|sensitive|"
    r"efficient|agnostic|supervised"
)
# What stands before such a part inside a word: "unrelated", "autocorrelated", "hypersensitive", "diagnostic".
_PREFIX = re.compile(
    r"[^\W\d_]{0,30}(?:cor|inter)|comm|con|dis|non|pre|over|under|mis|sub|super|hyper|ultra|semi|multi|"
    r"auto|bio|cardio|chemo|electro|geo|histo|immuno|magneto|neuro|photo|radio|thermo",
    re.IGNORECASE,
)
_SHORT_PREFIX = re.compile(r"[^\W\d_][a-z]")  # "un", "in", "di"; not "AI" and "TV"
_ADVERB = re.compile(r"[^\W\d_]{3,38}ly(?<!poly)", re.IGNORECASE)
_PARTICIPLE = re.compile(r"[^\W\d_]{3,38}(?:ed|ing)")
_PROVEN = 3  # words divided inside lines, at least, that the text also has whole, if its layout divides words there
_WORD = re.compile(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*")
_NO_LETTER = re.compile(r"[^\x00-\x7f](?<![^\W\d_])")  # beyond ASCII
_LETTERS = bytes(c if c > 127 or chr(c).isalpha() or chr(c) == "-" else 32 for c in range(256))  # the others as blanks


def mend(text: str) -> tuple[str, Counter[str]]:
    """Return a text without running heads and divided words, and the number of each of these changes."""
    text, heads = mend_pages(text)
    text, divided = mend_words(text)
    return text, heads + divided


def mend_pages(text: str) -> tuple[str, Counter[str]]:
    """Join the pages of a text, without their running heads. A text without form feeds stays as it is."""
    pages = text.split("\f")
    if len(pages) == 1:
        return text, Counter()
    pages, count = drop_running_heads(pages)
    return join_pages(pages), +Counter({HEADS: count})


def mend_words(text: str) -> tuple[str, Counter[str]]:
    """Join the words that are divided at the end of a line."""
    text, count = join_divided_words(text)
    return text, +Counter({WORDS: count})


def join_divided_words(text: str) -> tuple[str, int]:
    """Join words that are divided at the end of a line, and count them.

    Whether the hyphen belongs to the word is seen from the rest of the text: "fac-" and "tors" on the next line are
    one word, "well-" and "known" keep their hyphen if the text has it elsewhere. Inside a line parts are joined only
    if the text has the word elsewhere, or has so many such words that its layout must have divided them.
    """
    text, count = _join_numbers(text)
    divided = list(_find_divided(text))
    if not divided:
        return text, count
    ends = [0, *(part.end for part in divided)]
    between = [text[end : part.start] for end, part in zip(ends, divided, strict=False)] + [text[ends[-1] :]]
    words = _list_words(" ".join(between).casefold())
    inside = [
        _is_known(part, words) for part in divided if not part.is_at_end and not _SUSPENDED.fullmatch(part.right)
    ]
    is_layout = sum(inside) >= _PROVEN and 2 * sum(inside) > len(inside)
    joined = [_join(part, words, is_layout=is_layout) for part in divided]
    wholes = [
        text[part.start : part.end] if whole is None else whole for whole, part in zip(joined, divided, strict=True)
    ]
    pieces = chain.from_iterable(zip(between, wholes, strict=False))
    return "".join([*pieces, between[-1]]), count + len(joined) - joined.count(None)


def _join_numbers(text: str) -> tuple[str, int]:
    """Join "COVID-" and "19" on the next line if the text has "COVID-19" elsewhere: a list can begin with a number."""
    if not _NUMBERED.search(text):
        return text, 0
    known = set(_WITH_NUMBER.findall(text))
    joined = _NUMBERED.sub(lambda m: whole if (whole := f"{m[1]}{m[2]}") in known else m[0], text)
    return joined, text.count("\n") - joined.count("\n")


@dataclass(frozen=True)
class _Divided:
    """The two parts of a word, and where they are."""

    start: int
    left: str
    end: int
    right: str
    is_at_end: bool  # of a line
    is_compound: bool  # the parts belong to a longer name: another hyphen before them, an address, the name of a file
    is_wrapped: bool  # the line is so long that it goes on in the next one


def _find_divided(text: str) -> Iterator[_Divided]:
    end = 0
    for match in (_ANY_HYPHEN if "‐" in text else _HYPHEN).finditer(text):
        if left := _LAST_PART.search(text, max(end, match.start() - _LONGEST_PART), match.start()):
            start, end = left.start(), match.end()
            is_compound = _is_in_name(text, start, end)
            is_wrapped = "\n" not in text[max(match.start() - _WRAPPED, 0) : match.start()] and start >= _WRAPPED
            is_at_end = (match[1] or "").count("\n") == 1  # a blank line ends a paragraph, and seldom divides a word
            yield _Divided(start, left[0], end, match[2], is_at_end, is_compound, is_wrapped)


def _is_in_name(text: str, start: int, end: int) -> bool:
    """True if what stands around the two parts of a word makes a longer name of it."""
    if text[max(start - 1, 0) : start] in _NAME_JOINS or _NAME_GOES_ON.match(text, end):
        return True
    before = text[max(start - _LONGEST_NAME, 0) : start]
    name = before[max(before.rfind(" "), before.rfind("\n")) + 1 :]
    return ("/" in name or "." in name) and _NAME_BEGINS.match(name) is not None


def _list_words(text: str) -> set[str]:
    """Return the words and hyphenated words of a text that is casefolded."""
    if "‐" in text:
        return set(_WORD.findall(text))
    plain = _NO_LETTER.sub(" ", text).encode("utf-8", "replace").translate(_LETTERS).replace(b"--", b"  ")
    return {word.strip("-") for word in plain.decode().split()}


def _is_known(part: _Divided, words: Container[str]) -> bool:
    return any(f"{part.left}{hyphen}{part.right}".casefold() in words for hyphen in ("", "-"))


def _join(part: _Divided, words: Container[str], *, is_layout: bool) -> str | None:
    """Return the word of two parts, or None if they are not one word."""
    left, right = part.left, part.right
    whole, hyphenated = f"{left}{right}", f"{left}-{right}"
    if _SUSPENDED.fullmatch(right):
        return None
    if whole.casefold() in words and not (right[0].isupper() and not left.isupper()):
        return whole
    if hyphenated.casefold() in words:
        return hyphenated
    if right[0].isupper() and not left.isupper():
        return hyphenated if part.is_at_end and part.is_wrapped else None
    if part.is_at_end or is_layout:
        return _join_unknown(part, words)
    return None


def _is_compound(left: str, right: str) -> bool:
    """True for two words that are written with a hyphen between them.

    Both errors occur: "decisionmaking" and "long-itude". More lines end inside a word than inside a compound, so what
    no pattern knows is one word.
    """
    if _COMPOUND.fullmatch(f"{left}-{right}"):
        return True
    if _LAST_PARTS.fullmatch(right):
        return not _PREFIX.fullmatch(left) and not _SHORT_PREFIX.fullmatch(left)
    return _ADVERB.fullmatch(left) is not None and _PARTICIPLE.fullmatch(right) is not None


def _join_unknown(part: _Divided, words: Container[str]) -> str | None:
    """Return the word of two parts that the text has nowhere else."""
    if part.is_compound or (part.is_at_end and _is_compound(part.left, part.right)):
        return f"{part.left}-{part.right}"
    if part.left.casefold() in words and part.right.casefold() in words:  # each part is a word by itself
        return f"{part.left}-{part.right}" if part.is_at_end else None
    return f"{part.left}{part.right}"
