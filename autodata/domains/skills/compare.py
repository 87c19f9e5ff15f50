"""Compares the end of a sentence with the right one. Exported environments take this file with them, as it is."""

import re

PUNCTUATION = "\"'“”‘’()[]{}<>.,;:!?…*_-–—"  # stripped from both ends of a word


def is_right(reference: str, answer: str) -> bool:
    """Return True if an answer, as `read_answer` returned it, is the reference."""
    return answer == normalize(reference)


def read_answer(text: str) -> str:
    """Return what stands before the closing quotation mark, as `normalize` leaves it."""
    return normalize(re.split('[”"]', text, maxsplit=1)[0])


def normalize(answer: str) -> str:
    """Strip the punctuation around every word and lower the case, unless the whole answer is in capitals."""
    words = [word.strip(PUNCTUATION) for word in answer.split()]
    plain = " ".join(word for word in words if word)
    return plain if len(plain) > 1 and plain.isupper() else plain.casefold()
