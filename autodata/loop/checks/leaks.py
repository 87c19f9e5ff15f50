"""Finds answers that a context gives away, word for word or in other words."""

import re
from collections.abc import Iterator

from autodata.types import Candidate, Criterion

SHARED_WORDS = 12  # in a row, from which context and reference answer are said to share a passage
WHOLE = 0.6  # share of the reference answer's words that stand in such passages, from which the answer itself is there
STATED = 0.8  # share of a criterion's content words in one sentence of the context, from which it is stated there
MOST = 0.5  # share of the positive points
_FEWEST = 4  # content words; a shorter criterion is too general to be recognised
_STEM = 6  # letters
_COMMON_WORDS = """
about above after again also and answer answers any are because been being below between both but can claims could does
down each either every explains fact few for from had has have here how identifies into its itself just less may might
more most must name names not notes now off once one only other our out over own points rather same says shall should
shows some states such than that the their them then there these they this those through too under until very was were
what when where which while who whose why will with would
"""
# A sentence that denies or only supposes something does not state what a criterion asserts, and the other way round.
_DENIES = re.compile(
    r"\b(?:not|no|never|cannot|none|neither|nor|without|fails? to|hardly|denies|false)\b"
    r"|n['’]t\b|\bun(?:changed|affected)\b",
    re.IGNORECASE,
)
_SUPPOSES = re.compile(
    r"\b(?:assum\w{1,4}|suppos\w{1,4}|imagin\w{1,4}|suspect\w{0,3}|believ\w{1,3}|expect\w{0,3}|hop(?:e|es|ed|ing)|guess\w{0,3}"
    r"|whether|if|unless|might|would|hypothes\w{1,4}|wonders?|claims? that|conjectur\w{1,3})\b",
    re.IGNORECASE,
)
_COMMON = frozenset(_COMMON_WORDS.split())


def find_leaks(candidate: Candidate) -> tuple[list[str], list[str]]:
    """Return (faults, hints): where the answer stands in the context, and where code cannot decide."""
    faults, hints = [], []
    context, answer = _words(candidate.context), _words(candidate.reference_answer)
    covered, passage = _find_shared(context, answer)
    if passage and covered >= WHOLE * len(answer):
        faults.append("the context contains the answer word for word")
    elif passage:
        hints.append(f"context and reference answer share the words “{passage}”: set-up, or the answer?")
    stated = list_stated(candidate)
    points = sum(c.weight for c in candidate.rubric if c.weight > 0)
    if stated and sum(c.weight for c in stated) > MOST * points:
        faults.append(f"the context states most of what the rubric asks for: {'; '.join(c.text for c in stated[:3])}")
    elif doubtful := list_stated(candidate, is_asserted=False):
        hints.append(f"the context may state what these criteria ask for: {'; '.join(c.text for c in doubtful[:5])}")
    return faults, hints


def list_stated(candidate: Candidate, is_asserted: bool = True) -> list[Criterion]:
    """List the positive criteria whose content words nearly all stand in one sentence of the context.

    With `is_asserted` the sentence must also say so: one that denies or only supposes it gives nothing away.
    """
    sentences = [(s, _stems(s)) for s in re.split(r"(?<=[.!?;])\s+|\n+", candidate.context)]
    wanted = [(c, _stems(c.text)) for c in candidate.rubric if c.weight > 0]
    return [
        c
        for c, stems in wanted
        if len(stems) >= _FEWEST
        and any(
            len(stems & words) >= STATED * len(stems) and (not is_asserted or _asserts_as(c.text, sentence))
            for sentence, words in sentences
        )
    ]


def _asserts_as(criterion: str, sentence: str) -> bool:
    """Return True if both affirm or both deny, and the sentence does not only suppose what the criterion asserts."""
    denies, supposes = (
        [bool(pattern.search(text)) for text in (criterion, sentence)] for pattern in (_DENIES, _SUPPOSES)
    )
    return denies[0] == denies[1] and (supposes[0] or not supposes[1])


def _find_shared(context: list[str], answer: list[str]) -> tuple[int, str]:
    """Count the words of the answer in passages that the context shares; return also the first passage."""
    runs, shared = set(_list_runs(context)), [False] * len(answer)
    for start, run in enumerate(_list_runs(answer)):
        if run in runs:
            shared[start : start + SHARED_WORDS] = [True] * SHARED_WORDS
    first = shared.index(True) if any(shared) else 0
    return sum(shared), " ".join(answer[first : first + SHARED_WORDS]) if any(shared) else ""


def _list_runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + SHARED_WORDS]) for i in range(len(words) - SHARED_WORDS + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _stems(text: str) -> set[str]:
    """Return the beginnings of the words that carry meaning, and the numbers."""
    return {w[:_STEM] for w in _words(text) if w not in _COMMON and (len(w) > 2 or w.isdigit())}
