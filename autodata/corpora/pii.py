"""Finds personal data in texts by its form, replaces it by the name of its kind, and counts it."""

import re
from collections import Counter
from ipaddress import ip_address

# Every repetition is bounded, so that no text can make these patterns slow.
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_NUMBERS = re.compile(
    r"(?<![\w.,/-])(?:(?P<ssn>\d{3}-\d{2}-\d{4})"
    r"|(?P<phone>(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4})"
    r"|(?P<card>\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{3,4}|\d{15,16})"
    r"|(?P<ip>\d{1,3}(?:\.\d{1,3}){3}))(?![\w/-]|\.\d)"
)
NAMES = {"ssn": "social security number", "phone": "telephone number", "card": "card number", "ip": "IP address"}
# Finds the places where a number can be, many times faster than `_NUMBERS`, which then looks only there.
_PLACES = re.compile(r"[0-9(+][0-9 .()+-]{5,60}[0-9]")


def mask(text: str) -> tuple[str, Counter[str]]:
    """Return the text with each match replaced by `[e-mail address]` or the like, and the number of each kind.

    Masks e-mail addresses, US telephone and social security numbers, card numbers with a valid checksum, and public IP
    addresses. Keeps names and addresses of people: court opinions and papers name their parties and authors.
    """
    counts = Counter[str]()

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if not _is_real(kind, match[0]):
            return match[0]
        counts[NAMES[kind]] += 1
        return f"[{NAMES[kind]}]"

    if "@" in text:
        text, counts["e-mail address"] = _EMAIL.subn("[e-mail address]", text)
    pieces, end = [], 0
    for place in _PLACES.finditer(text):
        start, stop = max(end, place.start() - 1), place.end() + 2  # with the characters beside it, which decide too
        pieces += [text[end:start], _NUMBERS.sub(replace, text[start:stop])]
        end = stop
    return "".join([*pieces, text[end:]]), +counts


def _is_real(kind: str, digits: str) -> bool:
    if kind == "card":
        return _checks([int(d) for d in digits if d.isdigit()])
    if kind == "ip":
        try:
            return ip_address(digits).is_global
        except ValueError:
            return False
    return True


def _checks(digits: list[int]) -> bool:
    """True for a usual first digit and a checksum by Luhn's rule, which one number in ten has by chance."""
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return digits[0] in (2, 3, 4, 5, 6) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
