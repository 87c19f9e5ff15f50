"""Finds out whether two formulas could be equal only because their symbols are numbers, whose product has no order.

Operators and matrices do not commute: σ_x σ_y is not σ_y σ_x. Nothing in a final answer says what its letters mean.
"""

import re
from collections.abc import Iterator
from itertools import combinations

_SYMBOL = re.compile(r"(?:\\(?P<command>[A-Za-z]+)|[A-Za-z])(?:_(?:\{[^{}]*\}|[A-Za-z0-9]))?")
_NUMBERS = frozenset({"e", "i", r"\pi", r"\hbar", r"\infty"})
_FUNCTIONS = re.compile(r"[dt]?frac|sqrt|cdot|left|right|exp|ln|(?:arc)?(?:sin|cos|tan)h?|cot|sec|csc")
_SIGN = re.compile(r"[-+]")
_NUMERATOR = re.compile(r"\\[dt]?frac\s*$")


def needs_commuting(*formulas: str) -> bool:
    """Return True unless every product has its symbols in the same order in all formulas.

    If no two symbols stand in both orders, equal formulas are equal for matrices too, as each product can be written
    in one way only. What is a function or a power of several symbols counts as both orders.
    """
    orders: set[tuple[str, str]] = set()
    for formula in formulas:
        if any(len(set(_list_symbols(group))) > 1 for group in _list_mixing_groups(formula)):
            return len({symbol for text in formulas for symbol in _list_symbols(text)}) > 1
        for term in _split_sum(formula):
            orders.update(combinations(_list_symbols(term), 2))
    return any(first != second and (second, first) in orders for first, second in orders)


def _list_symbols(formula: str) -> Iterator[str]:
    for match in _SYMBOL.finditer(formula):
        if not _FUNCTIONS.fullmatch(match["command"] or "") and match[0] not in _NUMBERS:
            yield match[0]


def _split_sum(formula: str) -> list[str]:
    """Split a formula at the signs outside all brackets."""
    depth, masked = 0, ""
    for character in formula:
        depth += (character in "([{") - (character in ")]}")
        masked += "\n" if depth == 0 and _SIGN.match(character) else character
    return masked.split("\n")


def _list_mixing_groups(formula: str) -> Iterator[str]:
    """Yield each group in brackets or braces of which a function, a power or an inverse is taken."""
    opened: list[int] = []
    for at, character in enumerate(formula):
        if character in "([{":
            opened.append(at)
        elif character in ")]}" and opened:
            start = opened.pop()
            before, after = formula[:start], formula[at + 1 :].lstrip()
            before = re.sub(r"\\left\s*$", "", before).rstrip()
            is_plain = character != "}" or _NUMERATOR.search(before) or formula[start - 1 : start] == "\\"
            is_factor = not re.search(r"\\(?!cdot)[a-z]+$|[/^]$", before) or _NUMERATOR.search(before)
            if not (is_plain and is_factor) or after.startswith("^"):
                yield formula[start + 1 : at]
