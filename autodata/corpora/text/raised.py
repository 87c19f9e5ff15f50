"""Writes raised text, such as exponents and footnote marks, on the line."""

import re

_ORDINALS = re.compile(r"st|nd|rd|th|er|re|ère|e|ème|o|a|os|as", re.IGNORECASE)
_UNITS = r"(?:[mcdknµ]?m|ft|in|mi|yd|sec)"
_BASE = re.compile(rf"(?:\d\s?|(?<![^\W_])(?:[^\W\d_]|{_UNITS}))\Z")  # a number, or a variable or unit by itself
_NUMBER = re.compile(r"[+−–-]?\d{1,6}|[^\W\d_]")
_MARK = re.compile(r"[\d*†‡§¶,;\s]{1,20}|[a-z]", re.IGNORECASE)


def write_raised(before: str, raised: str) -> str:
    """Return what stands on the line for raised text after `before`: 10^6, x^(n+1), 5th, or Co.[1]."""
    if not raised or raised[0] in "[(" or not before.strip():
        return raised
    if before[-1].isdecimal() and _ORDINALS.fullmatch(raised):
        return raised
    if _BASE.search(before) or _closes_formula(before):
        return f"^{raised}" if _NUMBER.fullmatch(raised) else f"^({raised})"
    return f"[{raised}]" if _MARK.fullmatch(raised) else raised


def _closes_formula(before: str) -> bool:
    """True after a parenthesis with numbers and variables in it, but no word."""
    inside = re.search(r"\(([^()]{1,60})\)\Z", before)
    return inside is not None and re.search(r"[^\W\d_]{3}", inside[1]) is None
