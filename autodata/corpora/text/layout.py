"""Undoes what printing did to a text: running heads, page numbers, and words divided at the end of a line."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise

HEADS, WORDS = "running heads and page numbers removed", "divided words joined"  # the names of the changes
_EDGE = 3  # lines at the top and at the bottom of a page that can be running heads
_LONGEST = 120  # characters of a running head
_PAGE_CHARS = (400, 20_000)  # characters from one running head to the next, where no form feed marks the page
_NUMBERED = re.compile(
    r"(?P<before>\d{1,4})[ \t]{1,40}(?P<right>[^\d\s].{3,100})|(?P<left>.{3,100}[^\d\s])[ \t]{1,40}(?P<after>\d{1,4})"
)
# A hyphen at the end of a line or before blanks, between letters. The patterns begin with the hyphen, because hyphens
# are fewer than words.
_AFTER_HYPHEN = r"(?<=[^\W\d_]{2}.)(?:([ \t]*(?:\n[ \t]*){1,4})|[ \t]{1,40})([^\W\d_]{2,40})"
_HYPHEN, _ANY_HYPHEN = re.compile(f"-{_AFTER_HYPHEN}"), re.compile(f"[-‐]{_AFTER_HYPHEN}")
_LONGEST_PART = 40  # letters of a divided word before its hyphen
_LAST_PART = re.compile(rf"(?<![^\W\d_])[^\W\d_]{{2,{_LONGEST_PART}}}\Z")
_BEFORE_NUMBER = r"(?<=\w.)[ \t]*\n[ \t]*(?=\d)"
_NUMBER, _ANY_NUMBER = re.compile(f"(-){_BEFORE_NUMBER}"), re.compile(f"([-‐]){_BEFORE_NUMBER}")
_SUSPENDED = {"and", "or", "to", "nor", "but", "than", "und", "oder", "bzw", "sowie", "bis", "et", "ou", "y", "o", "e"}
_WORD = re.compile(r"[^\W\d_]+(?:[-‐][^\W\d_]+)*")
_NO_LETTER = re.compile(r"[^\x00-\x7f](?<![^\W\d_])")  # beyond ASCII
_LETTERS = bytes(c if c > 127 or chr(c).isalpha() or chr(c) == "-" else 32 for c in range(256))  # the others as blanks
_GOES_ON = re.compile(r"[a-z,;\-‐–]\s*\Z")


def mend(text: str) -> tuple[str, Counter[str]]:
    """Return a text without running heads and divided words, and the number of each of these changes."""
    text, heads = mend_pages(text)
    text, divided = mend_words(text)
    return text, heads + divided


def mend_pages(text: str) -> tuple[str, Counter[str]]:
    """Join the pages of a text, without their running heads."""
    pages = text.split("\f") if "\f" in text else _split_at_heads(text)
    if len(pages) == 1:
        return text, Counter()
    pages, count = drop_running_heads(pages)
    return join_pages(pages), +Counter({HEADS: count})


def mend_words(text: str) -> tuple[str, Counter[str]]:
    """Join the words that are divided at the end of a line."""
    text, count = join_divided_words(text)
    return text, +Counter({WORDS: count})


def drop_running_heads(pages: Sequence[str]) -> tuple[list[str], int]:
    """Remove the lines that pages have in common at their edges, and count them.

    Two pages suffice for lines that differ in their numbers, three for equal ones.
    """
    lines = [page.split("\n") for page in pages]
    edges = [_find_edges(page) for page in lines]
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for page, numbers in zip(lines, edges, strict=True):
        for key in {_fold(page[n]): page[n] for n in numbers}.items():
            texts[key[0]].append(key[1].strip())
    heads = {key for key, raw in texts.items() if len(raw) > 2 or len(set(raw)) == 2}
    removed = [{n for n in numbers if _fold(page[n]) in heads} for page, numbers in zip(lines, edges, strict=True)]
    kept = [[line for n, line in enumerate(page) if n not in gone] for page, gone in zip(lines, removed, strict=True)]
    return ["\n".join(page) for page in kept], sum(map(len, removed))


def join_pages(pages: Iterable[str]) -> str:
    """Join pages with a blank line, or with a line break where a sentence goes on."""
    whole = [page.strip("\n") for page in pages if page.strip()]
    parts = whole[:1]
    for page, following in pairwise(whole):
        goes_on = _GOES_ON.search(page[-100:]) or (
            following.lstrip()[:1].islower() and not page.rstrip().endswith(".")
        )
        parts += ["\n" if goes_on else "\n\n", following]
    return "".join(parts)


def join_divided_words(text: str) -> tuple[str, int]:
    """Join words that are divided at the end of a line, and count them.

    Whether the hyphen belongs to the word is seen from the rest of the text: "fac- tors" is one word, "well- known"
    keeps its hyphen if the text has it elsewhere, and "pre- and post-test" stays as it is.
    """
    text, count = (_ANY_NUMBER if "‐" in text else _NUMBER).subn(r"\1", text)
    divided = list(_find_divided(text))
    if not divided:
        return text, count
    ends = [0, *(end for _, _, end, *_ in divided)]
    between = [text[end:start] for end, (start, *_) in zip(ends, divided, strict=False)] + [text[ends[-1] :]]
    words = _list_words(" ".join(between).casefold())
    joined = [
        _join(left, right, words, is_at_end=is_at_end, is_compound=text[max(start - 1, 0) : start] in ("-", "‐"))
        for start, left, _, right, is_at_end in divided
    ]
    wholes = [
        text[start:end] if whole is None else whole for whole, (start, _, end, *_) in zip(joined, divided, strict=True)
    ]
    pieces = chain.from_iterable(zip(between, wholes, strict=False))
    return "".join([*pieces, between[-1]]), count + len(joined) - joined.count(None)


def _find_divided(text: str) -> Iterator[tuple[int, str, int, str, bool]]:
    """Find the divided words: start, left part, end, right part, and True at the end of a line."""
    end = 0
    for match in (_ANY_HYPHEN if "‐" in text else _HYPHEN).finditer(text):
        if left := _LAST_PART.search(text, max(end, match.start() - _LONGEST_PART), match.start()):
            end = match.end()
            yield left.start(), left[0], end, match[2], match[1] is not None


def _list_words(text: str) -> set[str]:
    """Return the words and hyphenated words of a text that is casefolded."""
    if "‐" in text:
        return set(_WORD.findall(text))
    plain = _NO_LETTER.sub(" ", text).encode("utf-8", "replace").translate(_LETTERS).replace(b"--", b"  ")
    return {word.strip("-") for word in plain.decode().split()}


def _join(left: str, right: str, words: set[str], *, is_at_end: bool, is_compound: bool) -> str | None:
    """Return the word of two parts, or None if they are not one word."""
    whole, hyphenated = f"{left}{right}", f"{left}-{right}"
    if right in _SUSPENDED:
        return None
    if right[0].isupper() and not left.isupper():
        return hyphenated if is_at_end else None
    if whole.casefold() in words:
        return whole
    if is_compound or hyphenated.casefold() in words:
        return hyphenated
    if left.casefold() in words and right.casefold() in words:  # each part is a word by itself
        return hyphenated if is_at_end else None
    return whole


def _find_edges(lines: Sequence[str]) -> list[int]:
    """Return the numbers of the lines at the top and at the bottom of a page, without blank and long ones."""
    filled = [n for n, line in enumerate(lines) if line.strip()]
    edges = sorted({*filled[:_EDGE], *filled[-_EDGE:]})
    return [n for n in edges if len(lines[n].strip()) <= _LONGEST]


def _fold(line: str) -> str:
    """Return a line in the form in which running heads are compared: numbers do not count."""
    folded = " ".join(re.sub(r"\d+", "0", line.casefold()).split())
    return "0" if re.fullmatch(r"\W*(?:0|[ivxl]{1,6})\W*", folded) else folded


def _split_at_heads(text: str) -> list[str]:
    """Split a text before each running head: lines that are equal but for a rising number, about a page apart."""
    found: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # head → its places and page numbers
    place = 0
    for line in text.split("\n"):
        words = line.strip()
        if len(line) <= _LONGEST and _has_number_at_edge(words) and (match := _NUMBERED.fullmatch(words)):
            found[(match["right"] or match["left"]).casefold()].append((place, int(match["before"] or match["after"])))
        place += len(line) + 1
    places = sorted(place for marks in found.values() if _are_pages(marks) for place, _ in marks)
    return [text[start:end] for start, end in pairwise([0, *places, len(text)])]


def _has_number_at_edge(line: str) -> bool:
    """Refuse most lines faster than the pattern does."""
    return line[:1].isdecimal() or line[-1:].isdecimal()


def _are_pages(marks: Sequence[tuple[int, int]]) -> bool:
    least, most = _PAGE_CHARS
    steps = [(second[0] - first[0], second[1] - first[1]) for first, second in pairwise(marks)]
    return len(steps) > 1 and all(least <= distance <= most and 1 <= step <= 4 for distance, step in steps)
