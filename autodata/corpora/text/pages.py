"""Finds running heads and page numbers: the lines that most pages of a text have at their edge."""

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise, takewhile

_FEWEST = 3  # pages that have a running head, and that a text must have: two can end alike by chance
_ALONE = "\0"  # stands for the page number in a head
_EDGE = 3  # lines at the top and at the bottom of a page that can be running heads
_LONGEST = 120  # characters of a running head
_MARKDOWN = re.compile(r"#{1,6}\s")  # begins a heading, which may repeat
# A page number stands at the beginning or at the end of its line, or before "of" and the number of pages.
_PAGE_NUMBER = re.compile(
    r"(?<![\w.,:/])\d{1,5}(?=\W{0,3}\Z|\s+of\s+\d{1,5}\W{0,3}\Z)|(?<=\A)\d{1,5}(?=\s)"
    r"|(?<=\A)[ivxl]{1,8}(?=\Z)|(?<=\A[-–—]\s)(?:\d{1,5}|[ivxl]{1,8})(?=\s[-–—]\Z)",
    re.IGNORECASE,
)
# A number after such a word counts parts of the text, which can begin with every page.
_COUNTS_PARTS = re.compile(
    r"\b(?:chapter|section|article|step|week|day|month|year|part|lesson|lecture|unit|module|question|exercise|problem|"
    r"example|table|figure|fig|item|appendix|annex|volume|act|scene|clause|rule|session|round|level|phase|task|test|"
    r"case|theorem|lemma|invoice|no|nr|kapitel|teil|abschnitt|artikel|hoofdstuk|les|chapitre|partie|article|capítulo|"
    r"capitolo|rozdział|total|sum|balance|score)\b\W{0,3}\Z",
    re.IGNORECASE,
)
_YEAR = re.compile("(?:19|20)[0-9]{2}")  # "Results of 2021" on a page, and "Results of 2022" on the next
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50}
_GOES_ON = re.compile(r"[a-z,;\-‐–]\s*\Z")


def drop_running_heads(pages: Sequence[str]) -> tuple[list[str], int]:
    """Remove the lines that most pages have at their edge, equal but for a page number, and count them.

    A page number is one that counts up by one with the pages. Where most pages have one, two pages of a chapter are
    enough for a head with it.
    """
    lines = [page.split("\n") for page in pages if page.strip()]
    heads = _find_heads(lines)
    kept, count = [], 0
    for number, page in enumerate(lines):
        gone = _peel(page, heads, number)
        kept.append("\n".join(line for n, line in enumerate(page) if n not in gone))
        count += len(gone)
    return kept, count


def _find_heads(pages: Sequence[Sequence[str]]) -> set[tuple[str, int | None]]:
    """Return the forms of the lines that are running heads."""
    found: defaultdict[str, defaultdict[int | None, set[int]]] = defaultdict(lambda: defaultdict(set))
    for number, lines in enumerate(pages):
        for line in chain.from_iterable(_list_edges(lines)):
            for text, offset in _fold(lines[line], number):
                found[text][offset].add(number)
    heads = {
        (text, offset)
        for text, offsets in found.items()
        for offset, on in offsets.items()
        if len(on) >= _FEWEST and _are_most(set[int]().union(*offsets.values()), len(pages))
    }
    return heads | _find_numbered_heads(found, len(pages))


def _find_numbered_heads(found: Mapping[str, Mapping[int | None, set[int]]], count: int) -> set[tuple[str, int]]:
    """Return the heads of chapters, which few pages have, by the page number in them: most pages have one there."""
    numbered: defaultdict[int, set[int]] = defaultdict(set)
    for offsets in found.values():
        for offset, on in offsets.items():
            if offset is not None:
                numbered[offset] |= on
    numbering = {offset for offset, on in numbered.items() if len(on) >= _FEWEST and 2 * len(on) > count}
    return {
        (text, offset)
        for text, offsets in found.items()
        for offset in numbering & set(offsets)
        if len(offsets[offset]) > 1 or text == _ALONE
    }


def _are_most(numbers: set[int], count: int) -> bool:
    """True for more than half of all pages, or of the left or of the right ones, which can have heads of their own."""
    of_one_side = len({number % 2 for number in numbers}) == 1
    among = len(range(min(numbers) % 2, count, 2)) if of_one_side else count
    return 2 * len(numbers) > among


def _peel(lines: Sequence[str], heads: Container[tuple[str, int | None]], number: int) -> set[int]:
    """Return the running heads of a page: from each edge inwards, up to the first line that is none."""
    gone: set[int] = set()
    for edge in _list_edges(lines):
        gone |= set(takewhile(lambda n: any(form in heads for form in _fold(lines[n], number)), edge))
    return gone


def _list_edges(lines: Sequence[str]) -> tuple[list[int], list[int]]:
    """Return the numbers of the filled lines at the top and at the bottom of a page, each from its edge inwards."""
    filled = [n for n, line in enumerate(lines) if line.strip()]
    return filled[:_EDGE], filled[: -_EDGE - 1 : -1]


def _fold(line: str, page: int) -> Iterator[tuple[str, int | None]]:
    """Yield a line in the forms in which running heads are compared.

    They are the line itself, and the line without a number, with how far that number is ahead of the page's.
    """
    text = " ".join(line.casefold().split())
    if len(text) > _LONGEST or _MARKDOWN.match(text) or not any(c.isalnum() for c in text):
        return
    if not text.isdecimal():
        yield text, None
    for match in _PAGE_NUMBER.finditer(text):
        if not (_COUNTS_PARTS.search(text[: match.start()]) or (_YEAR.fullmatch(match[0]) and match[0] != text)):
            yield f"{text[: match.start()]}{_ALONE}{text[match.end() :]}", _read_number(match[0]) - page


def _read_number(digits: str) -> int:
    """Return the value of a number in Arabic or Roman digits."""
    if digits.isdecimal():
        return int(digits)
    values = [_ROMAN[digit] for digit in digits]
    return sum(-one if one < other else one for one, other in pairwise([*values, 0]))


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
