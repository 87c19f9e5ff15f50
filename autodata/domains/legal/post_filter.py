"""Finds retold cases, exams and overlong questions: layer 1 of the decision (paper Sec. 3.2).

The paper lists phrases that a question must not contain. A client can use most of them honestly ("may my son act as
my agent?"), so a phrase counts as a fault only where it can mean nothing else ("Act as my lawyer."). Elsewhere it is a
hint, which the loop-judge weighs.
"""

import re
import unicodedata
from dataclasses import dataclass

_DECIDES = (
    r"(?:(?:held|holds|ruled|found|affirmed|reversed|concluded|reasoned|explained|rejected|agreed|upheld|decided"
    r"|said|says)\b(?!\s+(?:that\s+)?(?:I|we|my|our|me|us)\b))"
)
_PARTY = (
    r"(?:plaintiff|defendant|appellant|appellee|petitioner|respondent|tenant|landlord|court|panel|judge|state)s?\b"
)
_JOB = (
    r"(?:lawyer|attorney|counsel|advocate|judge|associate|law clerk|paralegal|legal \w+|expert|assistant|advis[eo]r)"
)
_ASKED = (
    r"(?:(?:^|[.?!:;\"“]\s*)(?:(?:please|now|then)\s+)?(?:(?:imagine|suppose|assume|pretend)\s+(?:that\s+)?)?"
    r"|\b(?:please|you (?:must|should|are to)|task is to)\s+)"
)
# Who or what a case is named after: a proper name, or the kind of proceeding.
_CASE_NAME = (
    r"(?:the\s+)?(?:(?!(?-i:My|Our|I|The|A)\b)(?-i:[A-Z])|(?:matter|estate|marriage|guardianship|adoption)\s+of\b)"
)

# Name → (the phrase of the paper, the same phrase where no client would use it).
_PHRASES = {
    "court of appeals": (
        r"court of appeals",
        rf"court of appeals\s+(?:(?:for|of|in)\s+(?:the\s+)?(?:\w+\s+){{1,4}}?)?(?:\w+\s+)?{_DECIDES}",
    ),
    "supreme court of": (r"supreme court of", rf"supreme court of\s+(?:\w+\s+){{1,4}}{_DECIDES}"),
    "in the case of": (
        r"in the case of",
        rf"in the case of\s+[^.?!]{{1,60}}?(?:\bvs?\b|,?\s+(?:the|a)\s+(?:\w+\s+)?(?:court|judge|panel)\s+{_DECIDES})",
    ),
    "in re": (r"in re\b(?!-)", rf"\bin re\s+{_CASE_NAME}"),
    "you are an": (
        rf"(?:you are an|you are\s+(?:a\s+(?:\w+\s+){{0,2}}?{_JOB}|counsel (?:for|to)))",
        rf"{_ASKED}you are\s+(?:an?\s+(?:\w+\s+){{0,3}}?{_JOB}\b|counsel (?:for|to)\b)",
    ),
    "act as": (r"act as\b", rf"{_ASKED}act as\s+(?:if you were\s+)?(?:(?:an?|my|the)\s+)?(?:\w+\s+){{0,3}}{_JOB}"),
    "as a law clerk": (r"as a law clerk", r"(?:^|[.?!:;]\s*)as a law clerk\b"),
    "draft the arguments": (r"draft the arguments", rf"{_ASKED}draft the arguments"),
    "draft the brief": (r"draft the brief", rf"{_ASKED}draft the brief"),
    "the trial court held": (
        r"the trial court held",
        r"the trial court held(?!\s+(?:on|onto|up|back|off|an?|my|me|our|us|its|another|\w+ hearings?)\b)",
    ),
    "on appeal": (r"on appeal", rf"(?:^|[.?!]\s*)on appeal,?\s+(?:the\s+)?(?:\w+\s+)?{_PARTY}"),
}
_COMPILED = {
    # Only whole words match: "act as" must not match "contract as agreed".
    name: (re.compile(rf"\b{said}\b", re.IGNORECASE), re.compile(certain, re.IGNORECASE))
    for name, (said, certain) in _PHRASES.items()
}

YEAR = "a year from 1800 to 1939"
_YEAR = re.compile(r"(?<![\d$£€#-])(?<!\d[.,])(?:18\d\d|19[0-3]\d)(?!\d|[.,]\d)")
_PAYS = (
    "pay|pays|paid|paying|owe|owes|owed|cost|costs|charge|charges|charged|offered|lost|earn|earns|earned|billed|fined"
)
_COUNTED = re.compile(  # four digits that are a sum, a quantity, a house number or another number, but no year
    rf"\b(?:{_PAYS})\s+(?:(?:me|us|him|her|them|about|only|nearly|over|almost)\s+){{0,2}}\d{{4}}\b"
    r"|\b(?:no\.?|number|unit|apartment|apt\.?|flat|suite|room|lot|block|model|form|section|page|box|route|highway"
    r"|policy|invoice|case|file|account|claim|at)\s+\d{4}\b"
    r"|\b\d{4}\s*(?:dollars?|bucks|euros?|pounds|francs|pesos|usd|eur|gbp|sq\b|square|feet|ft|per\b|/|(?:a|each)\s+"
    r"(?:day|week|month|year|night))"
    r"|\b\d{4}\s+(?:[NSEW]\.?\s+)?(?-i:(?:[A-Z][\w’'.-]*\s+){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr"
    r"|Boulevard|Blvd|Court|Ct|Place|Way|Terrace|Square|Highway|Circle|Row)\b)"
    # "1850 shares", but no "1925 rulings", which are of a year
    r"|\b\d{4}\s+(?:shares|units|bonds|stocks|stones|seats|sheets|acres|tons|miles)\b"
    r"|(?<!\bin )(?<!\bof )(?<!since )\b\d{4}\s+(?!rulings?\b|decisions?\b|cases?\b|opinions?\b|judg|holdings?\b"
    r"|orders?\b|statutes?\b|laws?\b|acts?\b|amendments?\b|deeds?\b|wills?\b)[a-rt-z][a-z]{2,}s\b",
    re.IGNORECASE,
)
_OLD = re.compile(  # things of today that are old
    r"\b(?:deeds?|covenants?|easements?|plats?|surveys?|titles?|patents?|charters?|treaty|treaties|statutes?|acts?|laws?"
    r"|ordinances?|constitution|code|registered|recorded|dat(?:ed|es|ing)|built|buildings?|houses?|home|farm(?:house)?|barn"
    r"|mill|church|born|birth\w*|found(?:ed|ing|er)|established|incorporated|histor\w+|bridge|cemetery|grand\w+|great-\w+|ancestors?|heirlooms?"
    r"|antiques?|vintage|painting|piano|violin|coins?"
    r"|stamps?|(?:a|the|his|her|last) will|trust|maps?|mine|dam|canal|railway|cars?)\b",
    re.IGNORECASE,
)
# "1920s furniture" describes a thing of today; "in the 1920s" and "early 1920s Chicago" are times.
_DECADE = re.compile(
    r"(?<!the )(?<!in )(?<!early )(?<!late )(?<!mid-)"
    r"\b(?:18\d|19[0-3])0['’]?s[- ](?!rulings?\b|decisions?\b|cases?\b)[a-z]"
)
_IN_COURT = re.compile(r"\b(?:plaintiff|defendant|appell\w+|petitioner|respondent|the court)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Findings:
    """What the post-filter found in a question."""

    body_length: int
    length_concern: str  # empty if the question is short enough
    case_recap: tuple[str, ...]
    hints: tuple[str, ...]  # phrases that an honest client may use as well

    @property
    def flags(self) -> list[str]:
        """All faults; a question with any of them is never accepted."""
        return [f for f in (self.length_concern, *self.case_recap) if f]


def inspect(question: str, max_chars: int | None) -> Findings:
    """Inspect a question. `max_chars` is the number of characters it may have; None means any length."""
    is_long = max_chars is not None and len(question) > max_chars
    concern = f"{len(question)} characters, more than {max_chars}" if is_long else ""
    # Normalised, so that no-break spaces, line breaks and compatibility letters cannot hide a phrase.
    plain = " ".join(unicodedata.normalize("NFKC", question).split())
    doubts = {name: certain.search(plain) is None for name, (said, certain) in _COMPILED.items() if said.search(plain)}
    doubts |= _inspect_years(plain)
    faults, hints = (tuple(name for name, is_doubt in doubts.items() if is_doubt is kind) for kind in (False, True))
    return Findings(len(question), concern, faults, hints)


def _inspect_years(plain: str) -> dict[str, bool]:
    """Return {YEAR: whether each such year may be the date of something old}; empty if there is no year."""
    sentences = [s for s in re.split(r"(?<=[.?!])\s", _COUNTED.sub("", plain)) if _YEAR.search(s)]
    may_be_old = [(_OLD.search(s) or _DECADE.search(s)) and not _IN_COURT.search(s) for s in sentences]
    return {YEAR: all(may_be_old)} if sentences else {}
