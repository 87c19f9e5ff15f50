"""Recognises a proposal that repeats an earlier one of the same document in other words."""

import re
from collections.abc import Sequence

from autodata.types import Candidate, Round

ALIKE = 0.8  # share of common words (Jaccard) from which two sentences say the same
REPEATED = 0.5  # share of criteria that an entirely new rubric does not have in common with an earlier one
_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")


def find_repeat(candidate: Candidate, rounds: Sequence[Round]) -> str:
    """Return what a candidate repeats of an earlier round, or an empty string."""
    for round in rounds:
        if round.candidate and (repeated := _compare(candidate, round.candidate)):
            return f"{repeated} as in round {round.number}; an entirely new question with a new rubric is wanted"
    return ""


def _compare(new: Candidate, old: Candidate) -> str:
    if normalize(new.question) == normalize(old.question):
        return "the same question"
    if is_alike(new.question, old.question):
        return "nearly the same question"
    same = [c for c in new.rubric if any(is_alike(c.text, other.text) for other in old.rubric)]
    if len(new.rubric) > 1 and len(same) >= REPEATED * len(new.rubric):
        return f"{len(same)} of {len(new.rubric)} criteria"
    return ""


def is_alike(first: str, second: str) -> bool:
    """Return True if two sentences have nearly the same words and the same numbers: another number is another case."""
    if sorted(_NUMBER.findall(first)) != sorted(_NUMBER.findall(second)):
        return False
    words, others = ({w.casefold() for w in _WORD.findall(text)} for text in (first, second))
    return bool(words | others) and len(words & others) >= ALIKE * len(words | others)


def normalize(text: str) -> str:
    """Return the words of a text, without case, punctuation and spaces."""
    return " ".join(re.findall(r"\w+", text.casefold()))
