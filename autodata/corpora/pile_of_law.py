"""Makes documents from Pile of Law: public legal texts, mainly court opinions (paper Sec. 3.2)."""

import hashlib
import html
import re
from collections import Counter
from collections.abc import Mapping
from itertools import islice

from autodata.corpora.record import Drop, Record, require_drawn, require_length
from autodata.corpora.text import layout
from autodata.recipes.corpora import PileOfLawFilters

LICENCE = "cc-by-nc-sa-4.0"  # the licence of the compilation; opinions of US courts are in the public domain
_KEPT = ("url", "created_timestamp", "downloaded_timestamp")  # created: the database row, not the court's decision
_NAME = re.compile(r"(train|validation)\.([\w-]+)(?:\.\d+)?\.jsonl\.xz")  # only large subsets are numbered
_BREAKING = r"p|pre|div|br|center|blockquote|h[1-6]"  # tags that end a paragraph
_TAG = re.compile(rf"</?(?:{_BREAKING}|span|i|b|em|a|sup|opinion|author)\b[^<>]{{0,500}}>", re.IGNORECASE)
_BREAK = re.compile(rf"</?(?:{_BREAKING})\b[^<>]{{0,500}}>", re.IGNORECASE)
# Stops at the next opening tag, so that many opening tags without an end do not take quadratic time.
_SCRIPT = re.compile(r"<(script|style)\b(?:(?!<(?:script|style)\b).){0,100000}?</\1>", re.IGNORECASE | re.DOTALL)
# Lines that belong to the page and not to the opinion: page numbers, star pages, rules.
_PAGE = re.compile(r"\[?\*?\d{1,4}[*\]]{0,2}|-\s*\d{1,4}\s*-|page \d+(?: of \d+)?|[_=-]{3,}", re.IGNORECASE)
_PAGE_BEGINS = frozenset("[*-_=pP0123456789")  # or with a digit beyond ASCII
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


def parse(row: Mapping[str, object], filters: PileOfLawFilters, one_in: int = 1) -> Record:
    """Make the document of a row. Raises Drop."""
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise Drop("no text")
    if len(text) < filters.min_chars:  # cleaning never makes a text longer
        raise Drop("too short")
    fields = {key: row[key] for key in _KEPT if isinstance(row.get(key), str)}
    identity = identify(row)
    require_drawn(identity, one_in)
    text, changes = clean(text)
    require_length(text, filters.min_chars, filters.max_chars)
    if sum(1 for _ in islice(_REASONS.finditer(text), _MIN_REASONS)) < _MIN_REASONS:  # stops counting at the minimum
        raise Drop("no reasoning")
    return Record(identity, text, LICENCE, dict(fields), changes)


def identify(row: Mapping[str, object]) -> str:
    """Return an id made from the address of a document, or else from its text."""
    name = str(row.get("url") or row.get("text"))
    return f"law-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:16]}"


def clean(text: str) -> tuple[str, Counter[str]]:
    """Remove mark-up and lines that belong to the page, and undo line breaks inside paragraphs and words.

    Also returns the number of changes that `layout` counts.
    """
    if "<" in text and _TAG.search(text):
        text = html.unescape(_TAG.sub("", _BREAK.sub("\n\n", _SCRIPT.sub("", text))))
    text, heads = layout.mend_pages(text)
    lines = [line for line in text.split("\n") if not _is_of_page(line.strip())]
    text, divided = layout.mend_words("\n".join(lines))
    return _join_lines(text), heads + divided


def _join_lines(text: str) -> str:
    """Put one blank in the place of all white space inside paragraphs."""
    paragraphs = (p.strip() for p in re.split(r"\n\s*\n", text))
    if text.isascii() and not any(blank in text for blank in _OTHER_BLANKS):
        paragraphs = (p.replace("\n", " ") for p in paragraphs)
        return "\n\n".join(" ".join(p.split()) if "  " in p else p for p in paragraphs if p)  # most have single blanks
    return "\n\n".join(" ".join(p.split()) for p in paragraphs if p)


def _is_of_page(line: str) -> bool:
    """True for a line that belongs to the page. The first character refuses most lines faster than the pattern."""
    first = line[:1]
    return (first in _PAGE_BEGINS or not first.isascii()) and _PAGE.fullmatch(line) is not None
