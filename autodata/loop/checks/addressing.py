"""Finds texts that address a solver or speak of grading: a question must only pose the problem."""

import re

_WHO = r"(?:weak|strong|small|large|dumb|smart)(?:er|est)?[ -](?:solver|model|llm|language model|assistant|ai)s?"
_ROLE_WORDS = re.compile(
    rf"\b{_WHO}\b[^.?!]*\b(?:should|must|pretend|you)\b"
    rf"|\bif you are (?:a|the) {_WHO}"
    r"|\b(?:pretend|act as (?:if|though)) (?:that )?you\b"
    r"|\bdeliberately (?:answer|fail|give)"
    r"|\b(?:the|this) rubric\b[^.?!]*\b(?:points?|scores?|grades?|graded|criteri\w+)\b",
    re.IGNORECASE,
)


SPEAKS_OF_SOLVERS = "the text speaks of solvers or grading; it must only pose the problem"


def speaks_of_solvers(text: str) -> bool:
    """True if a text addresses a solver by its role, asks it to act, or tells what is graded (paper Sec. 6)."""
    return bool(_ROLE_WORDS.search(text))
