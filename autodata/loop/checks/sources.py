"""Finds words that refer to the source document, which no solver sees: a question must make sense without it."""

import re
from collections.abc import Sequence
from functools import cache

from autodata.types import Candidate

PAPER = ("paper", "study", "manuscript", "preprint")  # what a document is called, unless its domain says otherwise
_REPORTING = (
    r"(?:propos|report|show|find|found|claim|argu|conclud|present|introduc|describ|evaluat|observ|demonstrat|discuss"
    r"|state"
    r"|note|suggest|mention|say|said|write|wrote|explain|list|cite|refer|measur|test|compare|use|call|motivat)\w{0,4}"
)
_ALWAYS = (
    r"\bin this work\b(?=\s*(?:[,.;:?!)]|$|(?:we|it|they|the|our|is|are|was|were|has|have|one)\b))"
    r"|\b(?:(?:section|figure|table|appendix|equation|theorem|lemma)\s*\(?\d|(?-i:Sec\.|Eqs?\.)\s*\(?\d|fig\.\s*\(?\d"
    r"|(?-i:Table|TABLE|Section|SECTION|Figure|FIGURE|Fig\.|Appendix|APPENDIX)\s*(?-i:[IVX]+)\b"
    r"|(?:appendix|section)\s*(?-i:[A-H])\b)"
    r"|\bas (?:shown|described|discussed|reported|seen|stated) in\b"
    r"(?! the (?:context|question|scenario|problem|setting)\b)"
    r"|\b(?:titled|entitled)\s*[:,]?\s*[\"'“‘]"
)
# These may also be things of which the question speaks: authors of packages, a paper tray, an article that users read.
_OTHER_THINGS = (
    r"(?!['’]?s? (?:of|who|that|whose|tray|trail|feed|jam|size|form|ballot|clip|machine|mill|cup|bag|group|arm|cohort"
    r"|protocol|participants?|field|list|index|page|id|name|record)s?\b)"
)
_ARTICLE = (
    rf"\b(?:the|this) (?P<article>article)s?\b(?=['’]s\b|\s(?:\w{{1,12}}\s)?{_REPORTING}\b(?! (?:by|to|in|on|at|for"
    rf"|with)\b))"
)


@cache
def _compile(words: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Make the patterns for what is always a reference, and for what may be one."""
    called = "|".join(map(re.escape, words))
    sure = rf"\b(?:this|present|said) (?:{called})\b|{_ALWAYS}"
    maybe = rf"\b(?:the|these|that) (?P<noun>{called}|authors?)\b{_OTHER_THINGS}|{_ARTICLE}"
    return re.compile(sure, re.IGNORECASE), re.compile(maybe, re.IGNORECASE)


def find_source_reference(candidate: Candidate, words: Sequence[str] = PAPER) -> str:
    """Return the first words that refer to the source document, which is called by these words, or an empty string."""
    always, noun = _compile(tuple(words) or PAPER)
    text = f"{candidate.context}\n{candidate.question}"
    sure = always.search(text)
    nouns = (m for m in noun.finditer(text) if not _is_introduced(m["noun"] or m["article"], text[: m.start()]))
    first = min(filter(None, [sure, next(nouns, None)]), key=re.Match.start, default=None)
    return first[0] if first else ""


def _is_introduced(noun: str, before: str) -> bool:
    """Return True if an earlier sentence introduces such a thing, as "a paper" that a reviewer gets."""
    introduced = r"\b(?:an?|each|every|any|one|two|some|many|several|of|most|all) (?:[\w-]{1,20} ){0,2}"
    return bool(re.search(rf"{introduced}{re.escape(noun)}s?\b", before, re.IGNORECASE))
