"""Finds words that refer to the source document, which no solver sees: a question must make sense without it."""

import re

from autodata.types import Candidate

_SOURCE = r"(?:paper|authors?|study|manuscript|preprint)"
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
_ALWAYS = re.compile(
    r"\b(?:this|present|said) (?:paper|manuscript|preprint|study)\b(?! (?:group|room|area|hall|session))"
    r"|\bin this work\b(?=\s*(?:[,.;:?!)]|$|(?:we|it|they|the|our|is|are|was|were|has|have|one)\b))"
    # "the table 10 times" and "we figure 3 ways" count something
    r"|(?<!\bthe )\b(?:(?:section|figure|table|appendix|equation|theorem|lemma)\s*\(?\d"
    r"(?![\d.]* (?:times?|ways?|rows?|bytes?|to \d|or \d))|(?-i:Sec\.|Eqs?\.)\s*\(?\d|fig\.\s*\(?\d"
    r"|(?-i:Table|TABLE|Section|SECTION|Figure|FIGURE|Fig\.|Appendix|APPENDIX)\s*(?-i:[IVX]+)\b"
    r"|(?:appendix|section)\s*(?-i:[A-H])\b)"
    r"|\bas (?:shown|described|discussed|reported|seen|stated) in the "
    r"(?:paper|article|study|appendix|abstract|introduction|text|manuscript|figures?|plots?|tables?|sections?|previous"
    r"|document|experiments?)\b"
    r"|\b(?:titled|entitled)\s*[:,]?\s*[\"'“‘]",
    re.IGNORECASE,
)
# These may also be things of which the question speaks: authors of packages, a paper tray, an article that users read.
_NOUN = re.compile(
    rf"\b(?:the|these|that) (?P<noun>{_SOURCE})\b(?!['’]?s? (?:of|who|that|whose|tray|trail|feed|jam|size|form|ballot"
    rf"|clip"
    r"|machine|mill|cup|bag|group|arm|cohort|protocol|participants?|field|list|index|page|id|name|record|note|towel|room"
    rf"|hall|plan|session)s?\b)(?!(?<=authors) (?:can|could|may|must|are|were|edit|get|earn|upload)\b)"
    rf"|(?:\b(?:do|does|did) |\b)(?:the|this) (?P<article>article)s?\b(?=['’]s (?:\w{{1,12}} )?(?:claim|finding|result"
    rf"|conclusion|experiment|method|argument|author|evaluation|proposal|approach)s?\b|\s(?:\w{{1,12}}\s)?{_REPORTS}\b"
    rf"|(?<=(?:does|.did) the article) (?:\w{{1,12}} )?{_REPORTING}\b)",
    re.IGNORECASE,
)


def find_source_reference(candidate: Candidate) -> str:
    """Return the first words that refer to the source document, or an empty string."""
    text = f"{candidate.context}\n{candidate.question}"
    sure = _ALWAYS.search(text)
    nouns = (m for m in _NOUN.finditer(text) if not _is_introduced(m["noun"] or m["article"], text[: m.start()]))
    first = min(filter(None, [sure, next(nouns, None)]), key=re.Match.start, default=None)
    return first[0] if first else ""


def _is_introduced(noun: str, before: str) -> bool:
    """Return True if an earlier sentence introduces such a thing, as "a paper" that a reviewer gets."""
    introduced = rf"\b(?:an?|each|every|any|one|two|some|many|several|of|most|all) (?:[\w-]{{1,20}} ){{0,2}}{noun}s?\b"
    return bool(re.search(introduced, before, re.IGNORECASE))
