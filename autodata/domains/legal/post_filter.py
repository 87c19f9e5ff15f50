"""Finds what code refuses in a question, whatever the loop-judge says: layer 1 of the decision (paper Sec. 3.2)."""

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
# Only whole words match: "act as" must not match "contract as agreed", nor "in re" match "in re-reading".
_PATTERNS = {phrase: re.compile(rf"\b{phrase}\b(?!-)", re.IGNORECASE) for phrase in _PHRASES} | {
    # A sum of money such as $1850 or 1,850 is not a year.
    "a year from 1800 to 1939": re.compile(r"(?<![\d$£€])(?<!\d[.,])(?:18\d\d|19[0-3]\d)(?!\d|[.,]\d)"),
}
NAMES = tuple(_PATTERNS)


@dataclass(frozen=True)
class Findings:
    """What the post-filter found in a question."""

    body_length: int
    length_concern: str  # empty if the question is short enough
    case_recap: tuple[str, ...]

    @property
    def flags(self) -> list[str]:
        """All concerns; a question with any of them is never accepted."""
        return [f for f in (self.length_concern, *self.case_recap) if f]


def inspect(question: str, max_chars: int | None) -> Findings:
    """Inspect a question. `max_chars` is the number of characters it may have; None means any length."""
    is_long = max_chars is not None and len(question) > max_chars
    concern = f"{len(question)} characters, more than {max_chars}" if is_long else ""
    # Normalised, so that no-break spaces, line breaks and compatibility letters cannot hide a phrase.
    plain = " ".join(unicodedata.normalize("NFKC", question).split())
    recap = tuple(name for name, pattern in _PATTERNS.items() if pattern.search(plain))
    return Findings(len(question), concern, recap)
