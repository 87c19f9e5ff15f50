"""Finds personal data in texts by its form, replaces it by the name of its kind, and counts it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise

# Every repetition is bounded, so that no text can make these patterns slow.
_LOCAL = r"[\w.+%-]{1,64}+"
_EMAIL = re.compile(
    # Papers write several addresses as {ann, bob}@example.org.
    rf"(?:(?<![\w.+%-]){_LOCAL}|[{{(\[]\s?{_LOCAL}(?:\s?[,;|/]\s?{_LOCAL}){{1,30}}\s?[}})\]]\s?|\{{{_LOCAL}\}}\s?)"
    r"(?:@\s?|(?<=[\w%+-])\s?[\[(]\s?at\s?[\])]\s?)(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}\b"
)
_AT = re.compile(r"at\s?[\])]")  # in place of the @ of an address
_REACH = 2_200  # characters; no match of `_EMAIL` reaches that far from its @
_NUMBERS = re.compile(
    r"(?<![\w.,/-])(?:(?P<ssn>\d{3}-\d{2}-\d{4})"
    r"|(?P<phone>(?:\+?1[-. ])?(?:\([2-9]\d\d\) ?|[2-9]\d\d/)[2-9]\d\d[-. ]\d{4}"
    r"|(?:\+?1[-. ])?[2-9]\d\d(?P<between>[-. ])[2-9]\d\d(?P=between)\d{4}"
    r"|\+[1-9]\d{0,2}[ ./-]?(?:\(0\)[ ]?)?\(?\d{1,5}\)?(?:[ ./-]{1,2}\d{1,8}){1,6}|\+[1-9]\d{9,13})"
    r"|(?P<card>\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{3,4}|\d{15,16})"
    r"|(?P<ip>\d{1,3}(?:\.\d{1,3}){3}))(?![\w/-]|\.\d)"
)
NAMES = {"ssn": "social security number", "phone": "telephone number", "card": "card number", "ip": "IP address"}
# Finds the places where a number can be, many times faster than `_NUMBERS`, which then looks only there.
_PLACES = re.compile(r"[0-9(+][0-9 .()/+-]{5,60}[0-9]")
# The words after which a number with dots and hyphens names a part of a law or a document, or a version.
_PARTS = (
    r"§+|\b(?:sections?|secs?|chapters?|ch|clauses?|cl|articles?|arts?|rules?|regulations?|paragraphs?|paras?|parts?|"
    r"appendix|annex|tables?|figures?|figs?|items?|steps?|titles?|numbers?|nos?|dockets?|cases?|versions?|vers?|v|"
    r"releases?|rev|revisions?|builds?|firmware|kernel|c\.\s?f\.\s?r|cfr|u\.\s?s\.\s?c|usc|oid|doi|isbn|issn)\b\.?"
)
_NAMES_A_PART = re.compile(
    # Other numbers may stand between, as in "Sections 4.2.1.3, 4.2.1.4 and 4.2.1.5".
    rf"(?:{_PARTS})[\s#:=(\"'§v]{{0,4}}(?:[\d.()\-–a-z]{{1,20}}\s?(?:,|;|&|-|–|and|or|to|through)\s?){{0,4}}\Z",
    re.IGNORECASE,
)
_CONTEXT = 100  # characters before a number that are searched for such words
_HEADING = re.compile(r"(?:\A|\n)[#\s]{0,10}\Z")  # a number at the beginning of a line counts headings


def mask(text: str) -> tuple[str, Counter[str]]:
    """Return the text with each match replaced by `[e-mail address]` or the like, and the number of each kind.

    Masks e-mail addresses, telephone numbers in the forms of the United States or with a country code, US social
    security numbers, card numbers with a valid checksum, and public IP addresses. Keeps names and addresses of people:
    court opinions and papers name their parties and authors.
    """
    counts = Counter[str]()
    text, counts["e-mail address"] = _mask_addresses(text)
    pieces, end = [], 0
    for place in _PLACES.finditer(text):
        start, stop = max(end, place.start() - 1), place.end() + 2  # with the characters beside it, which decide too
        before = text[max(0, start - _CONTEXT) : start]
        pieces += [text[end:start], _mask_numbers(before, text[start:stop], counts)]
        end = stop
    return "".join([*pieces, text[end:]]), +counts


def _mask_addresses(text: str) -> tuple[str, int]:
    """Replace e-mail addresses, and count them. The slow pattern looks only at what is around an @."""
    places = sorted([*(match.start() for match in _AT.finditer(text)), *_find_signs(text)])
    pieces, end, count = [], 0, 0
    for first, last in _join_near(places):
        start, stop = max(end, first - _REACH), last + _REACH
        masked, number = _EMAIL.subn("[e-mail address]", text[start:stop])
        pieces += [text[end:start], masked]
        end, count = stop, count + number
    return "".join([*pieces, text[end:]]), count


def _find_signs(text: str) -> Iterator[int]:
    """Yield the place of each @."""
    place = text.find("@")
    while place >= 0:
        yield place
        place = text.find("@", place + 1)


def _join_near(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last place of each group of places whose surroundings overlap."""
    breaks = [i for i, (one, other) in enumerate(pairwise(places), 1) if other - one > 2 * _REACH]
    return [(places[start], places[end - 1]) for start, end in pairwise([0, *breaks, len(places)]) if end > start]


def _mask_numbers(before: str, piece: str, counts: Counter[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        kind = next(name for name in NAMES if match[name])
        if not _is_real(kind, match[0], before + piece[: match.start()]):
            return match[0]
        counts[NAMES[kind]] += 1
        return f"[{NAMES[kind]}]"

    return _NUMBERS.sub(replace, piece)


def _is_real(kind: str, number: str, before: str) -> bool:
    if kind == "card":
        return _checks([int(d) for d in number if d.isdigit()])
    if kind == "phone":
        digits = sum(c.isdigit() for c in number)
        return 8 <= digits <= 15 and not _NAMES_A_PART.search(before)
    if kind == "ip":
        return _is_public(number) and not _NAMES_A_PART.search(before) and not _HEADING.search(before)
    return True


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _checks(digits: list[int]) -> bool:
    """True for a usual first digit and a checksum by Luhn's rule, which one number in ten has by chance."""
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return digits[0] in (2, 3, 4, 5, 6) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
