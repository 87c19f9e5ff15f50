"""Layer 1 of the decision: what code refuses in a question, whatever the loop-judge says (paper Sec. 3.2)."""

import re
import unicodedata
from dataclasses import dataclass

_PHRASES = (  # paper Sec. 3.2: a retold case, or the manner of an exam
    "court of appeals",
    "supreme court of",
    "in the case of",
    "in re",
    "you are an",
    "act as",
    "as a law clerk",
    "draft the arguments",
    "draft the brief",
    "the trial court held",
    "on appeal",
)
# Whole words: a "contract as agreed" does not act as anything, and "in re-reading" names no case.
_PATTERNS = {phrase: re.compile(rf"\b{phrase}\b(?!-)", re.IGNORECASE) for phrase in _PHRASES} | {
    # A sum such as $1850 or 1,850 is no year.
    "a year from 1800 to 1939": re.compile(r"(?<![\d$£€])(?<!\d[.,])(?:18\d\d|19[0-3]\d)(?!\d|[.,]\d)"),
}
NAMES = tuple(_PATTERNS)


@dataclass(frozen=True)
class Findings:
    """What was found in a question."""

    body_length: int
    length_concern: str  # empty: short enough
    case_recap: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        return [f for f in (self.length_concern, *self.case_recap) if f]


def inspect(question: str, at_most: int | None) -> Findings:
    """The findings of a question of at most `at_most` characters; None: of any length."""
    is_long = at_most is not None and len(question) > at_most
    concern = f"{len(question)} characters, more than {at_most}" if is_long else ""
    # No-break spaces, line breaks and compatibility letters hide nothing.
    plain = " ".join(unicodedata.normalize("NFKC", question).split())
    return Findings(len(question), concern, tuple(name for name, found in _PATTERNS.items() if found.search(plain)))
