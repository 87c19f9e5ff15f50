"""Splits texts into the units by which they are compared: words, and characters where a script has no spaces."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

Gram = tuple[str, ...]
NGRAM_OF_CHARACTERS = 3  # by which near-duplicates are found in a script without spaces
# Han, kana, Thai, Lao, Tibetan, Burmese and Khmer are written without spaces between words.
_SPACELESS = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"\d+(?:[.,]\d+)*|[^\W\d_{_SPACELESS}]+|(?=[{_SPACELESS}])[^\W\d_]")
_CHARACTER = re.compile(f"[{_SPACELESS}]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_NO_WORD = re.compile(r"[^\w\s]+")
_BLANKS = bytes(c if c > 127 or chr(c).isalnum() else 32 for c in range(256))  # ASCII punctuation as blanks
# A hyphen at the end of a line. The letter before it is looked at last, because hyphens are fewer than letters.
_DIVIDED = re.compile(r"[-‐\u00ad](?<=[^\W\d_].)\s+(?!(?:and|or|to)\b)(?=[^\W\d_])")
_DIVIDED_ASCII = re.compile(r"-(?<=[^\W\d_]-)\s+(?!(?:and|or|to)\b)(?=[^\W\d_])")


def split_words(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, without diacritics and punctuation."""
    return _WORD.findall(fold(text))


def fold(text: str) -> str:
    """Return a text in lower case, without diacritics and invisible characters, its divided words joined."""
    plain = text.casefold()
    if not plain.isascii():
        plain = _BEYOND_ASCII.sub(lambda run: _fold_run(run[0]), plain)
    return (_DIVIDED_ASCII if plain.isascii() else _DIVIDED).sub("", plain)


def grams(words: Sequence[str], size: int) -> Iterator[Gram]:
    """Yield all n-grams of `size` words, in order."""
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def split_quickly(text: str) -> bytes:
    """Return nearly the words of `split_words`, separated by blanks; for whole corpora.

    Everything that is neither a letter nor a digit separates words.
    """
    plain = fold(text)
    if not plain.isascii():
        plain = _BEYOND_ASCII.sub(lambda run: _space_run(run[0]), plain)
    return plain.encode("utf-8", "replace").translate(_BLANKS)


def _fold_run(run: str) -> str:
    """Fold characters beyond ASCII. ASCII characters around them change nothing."""
    return _find_invisible().sub("", unicodedata.normalize("NFKD", run)).casefold()


def _space_run(run: str) -> str:
    """Make blanks of characters beyond ASCII that are no words, and around characters that are words by themselves."""
    return _CHARACTER.sub(r" \g<0> ", _NO_WORD.sub(" ", run))


def is_spaceless(words: Sequence[str]) -> bool:
    """True if more than half of the words are characters of a script without spaces."""
    return 2 * sum(1 for word in words if _CHARACTER.match(word)) > len(words)


@cache
def _find_invisible() -> re.Pattern[str]:
    """Match the marks that stand on other characters, and the characters that nobody sees, below U+10000.

    A class with characters beyond that would be searched a thousand times as slowly.
    """
    characters = (chr(code) for code in range(0x10000))
    return re.compile(f"[{''.join(c for c in characters if _is_invisible(c))}]+")


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "M" or (category == "Cf" and character != "\u00ad")
