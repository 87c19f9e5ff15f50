"""Finds words that refer to the source document, which no solver sees: a question must make sense without it."""

import re
from collections.abc import Sequence
from functools import cache

from autodata.types import Candidate

PAPER = ("paper", "study", "manuscript", "preprint")  # what a document is called, unless its domain says otherwise
# In the third person, where a noun that follows would make another sentence: "the article lists" may be a page's.
_REPORTS = (
    r"(?:proposes|reports|shows|finds|claims|argues|concludes|presents|introduces|evaluates|demonstrates|discusses"
    r"|suggests)"
)
_REPORTING = (
    r"(?:propos|report|show|find|found|claim|argu|conclud|present|introduc|describ|evaluat|observ|demonstrat|discuss"
    r"|state"
    r"|note|suggest|mention|say|said|write|wrote|explain|list|cite|refer|measur|test|compare|use|call|motivat)\w{0,4}"
)
# "Section 12 of the beam" is a part of a thing in the question, "Section 12 of the paper" a part of the source.
_OF_A_THING = (
    r"of (?:the|an?|each|every) (?!(?:\w+ )?(?:paper|study|manuscript|preprint|article|document|report|text|work"
    r"|appendix|supplement|publication|thesis|authors?|source|material|original|same|proof|evaluation|analysis)s?\b)"
)
_ALWAYS = (
    r"\bin this work\b(?=\s*(?:[,.;:?!)]|$|(?:we|it|they|the|our|is|are|was|were|has|have|one)\b))"
    # "the table 10 times" and "we figure 3 ways" count something
    r"|(?<!\bthe )\b(?:(?:section|figure|table|appendix|equation|theorem|lemma)\s*\(?\d"
    rf"(?![\d.]* (?:times?|ways?|rows?|bytes?|to \d|or \d)|[\d.]* {_OF_A_THING})"
    r"|(?-i:Sec\.|Eqs?\.)\s*\(?\d|fig\.\s*\(?\d"
    r"|(?-i:Table|TABLE|Section|SECTION|Figure|FIGURE|Fig\.|Appendix|APPENDIX)\s*(?-i:[IVX]+)\b"
    r"|(?:appendix|section)\s*(?-i:[A-H])\b)"
    r"|\b(?:titled|entitled)\s*[:,]?\s*[\"'“‘]"
)
# What stands in a document, after "as shown in the".
_PARTS = (
    r"article|appendix|abstract|introduction|text|figures?|plots?|tables?|sections?|previous|document|experiments?"
)
# These may also be things of which the question speaks: authors of packages, a paper tray, an article that users read.
_OTHER_THINGS = (
    r"(?!['’]?s? (?:of|who|that|whose|tray|trail|feed|jam|size|form|ballot|clip|machine|mill|cup|bag|group|arm|cohort"
    r"|protocol|participants?|field|list|index|page|id|name|record|note|towel|room|hall|plan|session)s?\b)"
    r"(?!(?<=authors) (?:can|could|may|must|are|were|edit|get|earn|upload)\b)"
)
_ARTICLE = (
    r"(?:\b(?:do|does|did) |\b)(?:the|this) (?P<article>article)s?\b(?=['’]s (?:\w{1,12} )?(?:claim|finding|result"
    r"|conclusion|experiment|method|argument|author|evaluation|proposal|approach)s?\b"
    rf"|\s(?:\w{{1,12}}\s)?{_REPORTS}\b|(?<=(?:does|.did) the article) (?:\w{{1,12}} )?{_REPORTING}\b)"
)


@cache
def _compile(words: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Make the patterns for what is always a reference, and for what may be one."""
    called = "|".join(map(re.escape, words))
    shown = r"as (?:shown|described|discussed|reported|seen|stated) in the"
    sure = rf"\b(?:this|present|said) (?:{called})\b(?! (?:group|room|area|hall|session))|{_ALWAYS}"
    sure += rf"|\b{shown} (?:{called}|{_PARTS})\b"
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
