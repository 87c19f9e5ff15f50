"""Personal data in texts: found by form, replaced by what they were, and counted."""

import re
from collections import Counter
from ipaddress import ip_address

# Bounded everywhere, so that no text makes them slow.
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_NUMBERS = re.compile(
    r"(?<![\w.,/-])(?:(?P<ssn>\d{3}-\d{2}-\d{4})"
    r"|(?P<phone>(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[-. ])[2-9]\d\d[-. ]\d{4})"
    r"|(?P<card>\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{3,4}|\d{15,16})"
    r"|(?P<ip>\d{1,3}(?:\.\d{1,3}){3}))(?![\w/-]|\.\d)"
)
NAMES = {"ssn": "social security number", "phone": "telephone number", "card": "card number", "ip": "IP address"}
# Where a number can be, with a character on either side: found many times faster than the numbers themselves.
_PLACES = re.compile(r"[0-9(+][0-9 .()+-]{5,60}[0-9]")


def mask(text: str) -> tuple[str, Counter[str]]:
    """The text with `[e-mail address]` and the like in place of what was found, and how often of each kind.

    E-mail addresses, US telephone and social security numbers, card numbers that check, public IP addresses.
    Names and addresses of people are left: court opinions and papers name their parties and authors.
    """
    found = Counter[str]()

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup or ""
        if not _is_real(kind, match[0]):
            return match[0]
        found[NAMES[kind]] += 1
        return f"[{NAMES[kind]}]"

    if "@" in text:
        text, found["e-mail address"] = _EMAIL.subn("[e-mail address]", text)
    pieces, end = [], 0
    for place in _PLACES.finditer(text):
        start, stop = max(end, place.start() - 1), place.end() + 2  # what stands beside a number decides, too
        pieces += [text[end:start], _NUMBERS.sub(replace, text[start:stop])]
        end = stop
    return "".join([*pieces, text[end:]]), +found


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
    """Luhn's rule, which one number in ten meets by chance."""
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return digits[0] in (2, 3, 4, 5, 6) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
