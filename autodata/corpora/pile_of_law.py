"""Makes documents from Pile of Law: public legal texts, mainly court opinions (paper Sec. 3.2)."""

import hashlib
import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from autodata.corpora.record import Drop, Record, require_length
from autodata.corpora.text import layout
from autodata.corpora.text.encodings import unify
from autodata.corpora.text.pages import join_pages
from autodata.corpora.text.raised import write_raised
from autodata.recipes.corpora import PileOfLawFilters

LICENCE = "cc-by-nc-sa-4.0"  # the licence of the compilation; opinions of US courts are in the public domain
_KEPT = ("url", "created_timestamp", "downloaded_timestamp")  # created: the database row, not the court's decision
_NAME = re.compile(r"(train|validation)\.([\w-]+)(?:\.\d+)?\.jsonl\.xz")  # only large subsets are numbered
# A tag of one letter has no words in it but attributes: in `a<b and c>d` there is none.
_IS_TAG = r"(?=\s*/?>|\s+[\w:-]{1,40}\s*=)"
_BREAKING = (
    rf"p{_IS_TAG}|pre|div|br|hr|center|blockquote|h[1-6]|ul|ol|li|dl|dt|dd|table|thead|tbody|tr|td|th|section|article"
)
_INLINE = rf"span|[ibusqa]{_IS_TAG}|em|strong|small|big|font|strike|cite|tt|code|sub|opinion|author"
_TAG = re.compile(rf"</?(?:{_BREAKING}|{_INLINE}|sup)\b[^<>]{{0,500}}>", re.IGNORECASE)
_MARK_UP = re.compile(rf"</?(?:{_INLINE})\b[^<>]{{0,500}}>", re.IGNORECASE)
_BREAK = re.compile(rf"</?(?:{_BREAKING})\b[^<>]{{0,500}}>", re.IGNORECASE)
# Stops at the next opening tag, so that many opening tags without an end do not take quadratic time.
_SCRIPT = re.compile(r"<(script|style)\b(?:(?!<(?:script|style)\b).){0,100000}?</\1>", re.IGNORECASE | re.DOTALL)
_RAISED = re.compile(r"<sup\b[^<>]{0,500}>((?:(?!<sup\b).){0,200}?)</sup>", re.IGNORECASE | re.DOTALL)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#\d{2,6}|#x[0-9a-f]{2,5});", re.IGNORECASE)
# Lines that belong to the page and not to the opinion: star pages, rules, and numbers in the form of a page number.
_PAGE = re.compile(r"\[?\*\d{1,4}[*\]]{0,2}|-\s*\d{1,4}\s*-|page \d+ of \d+|[_=-]{3,}", re.IGNORECASE)
_NUMBER = re.compile(r"\[?(\d{1,4})\]?|page (\d{1,4})", re.IGNORECASE)  # of a page only if it counts pages
_PAGE_BEGINS = frozenset("[*-_=pP0123456789")  # or with a digit beyond ASCII
_FEWEST_PAGES, _PAGE_CHARS = 3, 400  # numbers that count up, at least; characters from one to the next, at least
_OTHER_BLANKS = "\t\v\f\r\x1c\x1d\x1e\x1f"
_REASONS = re.compile(
    r"\b(?:because|therefore|held|conclude|reason|whether|argue|contend|statute|requires|evidence|standard)\w*",
    re.IGNORECASE,
)
_MIN_REASONS = 8  # words of reasoning in a document; an order that only disposes has one or two


def is_wanted(file: str, filters: PileOfLawFilters) -> bool:
    """True if the name of a shard has a subset and a split that the recipe asks for."""
    split, subset = read_name(file)
    return split in filters.splits and subset in filters.subsets


def read_name(file: str) -> tuple[str, str]:
    """Return split and subset from the name of a shard, both empty if it is no shard."""
    name = _NAME.fullmatch(file)
    return (name[1], name[2]) if name else ("", "")


def parse(row: Mapping[str, object], filters: PileOfLawFilters) -> Record:
    """Make the document of a row. Raises Drop."""
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Drop("no text")
    if len(text) < filters.min_chars:  # cleaning never makes a text longer
        raise Drop("too short")
    fields = {key: row[key] for key in _KEPT if isinstance(row.get(key), str)}
    text, changes = clean(text)
    require_length(text, filters.min_chars, filters.max_chars)
    if sum(1 for _ in islice(_REASONS.finditer(text), _MIN_REASONS)) < _MIN_REASONS:  # stops counting at the minimum
        raise Drop("no reasoning")
    return Record(identify(row), text, LICENCE, dict(fields), changes)


def identify(row: Mapping[str, object]) -> str:
    """Return an id made from the address of a document, or else from its text."""
    name = str(row.get("url") or row.get("text"))
    return f"law-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"


def clean(text: str) -> tuple[str, Counter[str]]:
    """Remove mark-up and lines that belong to the page, and undo line breaks inside paragraphs and words.

    Also returns the number of changes that `layout` counts.
    """
    text = unify(text)
    if "<" in text and _TAG.search(text):
        text = _MARK_UP.sub("", _BREAK.sub("\n\n", _SCRIPT.sub("", text)))
        text = _TAG.sub("", _RAISED.sub(_write_raised, text))
    if "&" in text:
        text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text, heads = layout.mend_pages(text)
    text, pages = _drop_page_lines(text)
    text, divided = layout.mend_words(text)
    return _join_lines(text), heads + +Counter({layout.HEADS: pages}) + divided


def _write_raised(match: re.Match[str]) -> str:
    """Keep a footnote mark and an exponent apart from the word or number before."""
    before = match.string[max(match.start() - 60, 0) : match.start()]
    return write_raised(before, match[1].strip())


def _drop_page_lines(text: str) -> tuple[str, int]:
    """Remove the lines that belong to the page, and count them. A sentence goes on after a page number."""
    lines = text.split("\n")
    numbers = _find_page_numbers(lines)
    pages: list[list[str]] = [[]]
    count = 0
    for place, line in enumerate(lines):
        if place in numbers:
            pages.append([])
        elif not _is_of_page(line.strip()):
            pages[-1].append(line)
            continue
        count += 1
    return join_pages("\n".join(page) for page in pages), count


def _find_page_numbers(lines: Sequence[str]) -> set[int]:
    """Return the places of the lines with nothing but a number that counts pages: one more than on the page before."""
    runs: dict[int, list[tuple[int, int]]] = {}  # the last number of a run → place and character of each number
    found: set[int] = set()
    character = 0
    for place, line in enumerate(lines):
        if number := _read_page_number(line.strip()):
            run = runs.pop(number - 1, [])
            is_far = run and character - run[-1][1] >= _PAGE_CHARS
            runs[number] = [*(run if is_far else []), (place, character)]
            if len(runs[number]) >= _FEWEST_PAGES:
                found |= {before for before, _ in runs[number][-_FEWEST_PAGES:]}
        character += len(line) + 1
    return found


def _read_page_number(line: str) -> int:
    """Return the number on a line in the form of a page number, 0 if there is none."""
    match = _NUMBER.fullmatch(line) if _may_be_of_page(line) else None
    return int(match[1] or match[2]) if match else 0


def _join_lines(text: str) -> str:
    """Put one blank in the place of all white space inside paragraphs."""
    paragraphs = (p.strip() for p in re.split(r"\n\s*\n", text))
    if text.isascii() and not any(blank in text for blank in _OTHER_BLANKS):
        paragraphs = (p.replace("\n", " ") for p in paragraphs)
        return "\n\n".join(" ".join(p.split()) if "  " in p else p for p in paragraphs if p)  # most have single blanks
    return "\n\n".join(" ".join(p.split()) for p in paragraphs if p)


def _is_of_page(line: str) -> bool:
    return _may_be_of_page(line) and _PAGE.fullmatch(line) is not None


def _may_be_of_page(line: str) -> bool:
    """Refuse most lines by their first character, faster than the patterns do."""
    first = line[:1]
    return first in _PAGE_BEGINS or not first.isascii()
