"""Finds personal data in texts by its form, replaces it by the name of its kind, and counts it."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise

# Every repetition is bounded, so that no text can make these patterns slow.
_LOCAL = r"[\w.+%-][\w.+%'\\-]{0,63}+"  # with an apostrophe, and as LaTeX and Markdown write ann\_lee
_AT_WORD, _DOT_WORD = (rf"[\[(<{{]\s?(?:{word})\s?[\])>}}]" for word in ("at|AT", "dot|DOT|[.]"))
_EMAIL = re.compile(
    # Papers write several addresses as {ann, bob}@example.org. In git@example.org:team/code nobody is named.
    rf"(?:(?<![\w.+%-])(?!git@[\w.-]{{1,80}}[:/]){_LOCAL}"
    rf"|[{{(\[]\s?{_LOCAL}(?:\s?[,;|/]\s?{_LOCAL}){{1,30}}\s?[}})\]]\s?|\{{{_LOCAL}\}}\s?)"
    rf"(?:[@＠]\s?|(?<=[\w%+-])\s?{_AT_WORD}\s?)(?:[\w-]{{1,63}}(?:\.|\s?{_DOT_WORD}\s?)){{1,8}}[^\W\d_]{{2,24}}\b"
    # In a program @ multiplies: `x@y.transpose(0)`, `q@k.shape[0]`.
    r"(?<!\.shape)(?<!\.dtype)(?<!\.transpose)"
    r"(?:(?<=\.(?:com|edu|gov|net|org))|(?!(?:\.\w{1,40}){0,8}[(\[]))"
)
_ATS = [re.compile(rf"{word}\s?[\])>}}]") for word in ("at", "AT")]  # in place of the @ of an address
_REACH = 2_200  # characters; no match of `_EMAIL` reaches that far from its @
_NUMBERS = re.compile(
    r"(?:(?<![\w.,/~+‑-])|(?<=://))(?:(?P<ssn>(?!000|666)\d{3}(?P<dash>[- ]?)(?!00)\d\d(?P=dash)(?!0000)\d{4})"
    r"|(?P<phone>(?:(?:\+?1[-. ‑])?(?:\([2-9]\d\d\)[- ]?|[2-9]\d\d/)[2-9]\d\d[-. ‑–]\d{4}"
    r"|(?:\+?1[-. ‑])?[2-9]\d\d(?P<between>[-. ‑–])[2-9]\d\d(?P=between)\d{4})(?: ?(?:x|ext\.?) ?\d{1,6})?"
    r"|\+[1-9]\d{0,2}[ ./‑-]?(?:\(0\)[ ]?)?\(?\d{1,5}\)?(?:[ ./‑-]{1,2}\d{1,8}){1,6}|\+[1-9]\d{9,13})"
    r"|(?P<local>[2-9]\d\d-\d{4}|[2-9]\d\d[2-9]\d{6}|0\d{1,5}(?:[ ./‑-]{1,2}\d{1,8}){1,6})"
    r"|(?P<card>\d{4}[- ]\d{4}[- ]\d{4}[- ]\d{3,4}|3\d{3}[- ]\d{6}[- ]\d{5}|\d{15,16})"
    r"|(?P<ip>\d{1,3}(?:\.\d{1,3}){3}))(?![\w‑-]|\.\d)(?(ip)|(?!/))"
)
_COLONS = re.compile(r":[0-9a-f]{0,4}:", re.IGNORECASE)  # an address of IPv6 has them, most texts do not
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-f]{3}(?::[0-9a-f]{0,4}){3,7}(?![\w:])", re.IGNORECASE)
NAMES = {
    "ssn": "social security number",
    "phone": "telephone number",
    "local": "telephone number",
    "card": "card number",
    "ip": "IP address",
}
# Finds the places where a number can be, many times faster than `_NUMBERS`, which then looks only there.
_PLACES = re.compile(r"[0-9(+][0-9 .()/+‑–-]{5,60}[0-9](?: ?(?:x|ext\.?) ?[0-9]{1,6})?")
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
# Three numbers between blanks may be a row of a table: beside another number, or if they are round or count in steps.
_ROW = re.compile(r"[2-9]\d\d [2-9]\d\d \d{4}")
_DATE = re.compile(
    r"\+?(?:19|20)\d\d([-./ ])\d{1,2}\1\d{1,2}(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([-./])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d(?!\d)"
    r"|[0-3]?\d/[0-3]?\d/\d\d(?![\d/])"
)
_DECIMAL = re.compile(r"[+-]?\d{1,12}\.\d{1,12}")
_PHONE = "tel|telephone|telefon|tél|phone|cellphone|fax"
# Other numbers may stand between, as in "phone: 650-723-2300 or 650-723-2301".
_OTHERS = r"(?:[\d ().+‑–-]{2,24}+(?:,|;|and|or|/)\s?){0,6}\Z"
_CALLS = re.compile(rf"\b(?:{_PHONE}|mobile|cell|call|dial)\b[^\d\n]{{0,30}}{_OTHERS}", re.IGNORECASE)
_BETWEEN = r"(?:\W{0,2}(?:numbers?|nos?))?\W{0,4}(?:is|at)?\W{0,2}"  # the word and its number
# A number of cells or of mobile things is none to call, unless a colon or "number" stands between or it is long.
_CALLS_HERE = re.compile(
    rf"\b(?:{_PHONE}|(?:mobile|cell)(?=\s?:|\W{{0,2}}(?:number|no)\b)|(?P<vague>mobile|cell))\b{_BETWEEN}{_OTHERS}",
    re.IGNORECASE,
)
_LEAST_DIGITS, _LONG = 7, 9  # of a telephone number without its area code, and with it
_RANGE = re.compile(r"\d[05]0-\d\d[05]0")  # "400-1000", from one round number to another
_INSURES = re.compile(r"\b(?:ssns?|social security)\b[^\d\n]{0,30}\Z", re.IGNORECASE)
# The words after which a number in the form of a social security number names a document.
_FILED = re.compile(
    r"(?:§|\b(?:sections?|dockets?|cases?|docs?|documents?|publications?|sp|parts?)\b)\W{0,3}"
    r"(?:(?:nos?|numbers?)\b)?\W{0,4}\Z",
    re.IGNORECASE,
)
# A number with three dots is an address only after such words, before a port, or in a line of a log.
_HOSTS = re.compile(
    r"(?<![^\W_])(?:ip(?:v4|s)?|addr(?:ess(?:es)?)?|hosts?|hostname|(?-i:servers?)|nameserver|ports?|ping(?:s|ed|ing)?|dns|"
    r"resolver|gateway|router|proxy|firewall|subnet|traceroute|ssh|scp|sftp|rsync|telnet|curl|connect(?:ed|s|ing|ions?)?|"
    r"log(?:ged)?[ -]?in|requests?)\b"
    r"[^\w\n]{0,4}(?:(?:is|are|was|at|of|to|from|on|in|for|by|and|or|the|ip|address|adresse|[\d.]{7,15})\b[^\w\n]{0,3}){0,6}"
    r"(?:[\w.-]{1,32}@)?\Z",
    re.IGNORECASE,
)
_PORT = re.compile(r":\d{2,5}\b|,? port\b")
_CLOCK = re.compile(r"\b\d{1,2}:\d\d:\d\d\b")  # a line of a log has the time
_LOGGED = re.compile(
    r"(?:\A|[\[(\"'=:,|>]\s?|(?:\d|\])\s|\b(?:from|to|by|for|with|via|peer|client|user|src|dst|source|dest)\s)\Z", re.I
)
_CONTEXT = 100  # characters before a number that are searched for such words


def mask(text: str) -> tuple[str, Counter[str]]:
    """Return the text with each match replaced by `[e-mail address]` or the like, and the number of each kind.

    Masks e-mail addresses, telephone numbers in the forms of the United States or with a country code and others that
    a word announces, US social security numbers, card numbers with a valid checksum, and public IP addresses: those of
    four numbers if a word announces them or they stand in a log or a URL. Keeps names and addresses of people: court
    opinions and papers name their parties and authors.
    """
    counts = Counter[str]()
    text, counts["e-mail address"] = _mask_addresses(text)
    pieces, end = [], 0
    for place in _PLACES.finditer(text):
        start, stop = max(end, place.start() - 3), place.end() + 2  # with the characters beside it, which decide too
        before, after = text[max(0, start - _CONTEXT) : start], text[stop : stop + _CONTEXT]
        pieces += [text[end:start], _mask_numbers(before, text[start:stop], after, counts)]
        end = stop
    text = "".join([*pieces, text[end:]])
    if _COLONS.search(text):
        text, counts["IP address"] = _mask_ipv6(text, counts["IP address"])
    return text, +counts


def _mask_ipv6(text: str, count: int) -> tuple[str, int]:
    """Replace public addresses of IPv6, and add their number to `count`."""
    pieces, end = [], 0
    for match in _IPV6.finditer(text):
        if _is_public(match[0]):
            pieces += [text[end : match.start()], "[IP address]"]
            end = match.end()
    return "".join([*pieces, text[end:]]), count + len(pieces) // 2


def _mask_addresses(text: str) -> tuple[str, int]:
    """Replace e-mail addresses, and count them. The slow pattern looks only at what is around an @."""
    words = (match.start() for word in _ATS for match in word.finditer(text))
    places = sorted([*words, *_find_signs(text, "@"), *_find_signs(text, "＠")])
    pieces, end, count = [], 0, 0
    for first, last in _join_near(places):
        start, stop = max(end, first - _REACH), last + _REACH
        masked, number = _EMAIL.subn("[e-mail address]", text[start:stop])
        pieces += [text[end:start], masked]
        end, count = stop, count + number
    return "".join([*pieces, text[end:]]), count


def _find_signs(text: str, sign: str) -> Iterator[int]:
    """Yield the place of each sign."""
    place = text.find(sign)
    while place >= 0:
        yield place
        place = text.find(sign, place + 1)


def _join_near(places: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last place of each group of places whose surroundings overlap."""
    breaks = [i for i, (one, other) in enumerate(pairwise(places), 1) if other - one > 2 * _REACH]
    return [(places[start], places[end - 1]) for start, end in pairwise([0, *breaks, len(places)]) if end > start]


def _mask_numbers(before: str, piece: str, after: str, counts: Counter[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        kind = next(name for name in NAMES if match[name])
        if not _is_real(kind, match[0], before + piece[: match.start()], piece[match.end() :] + after):
            return match[0]
        counts[NAMES[kind]] += 1
        return f"[{NAMES[kind]}]"

    return _NUMBERS.sub(replace, piece)


def _is_real(kind: str, number: str, before: str, after: str) -> bool:
    if kind == "card":
        return _checks([int(d) for d in number if d.isdigit()])
    if kind == "ssn":
        is_written_so = number.count("-") == 2 and not _FILED.search(before)
        return is_written_so or _INSURES.search(before) is not None
    if kind == "local":  # without an area code, or without a sign between the digits
        return _is_local(number, before)
    if kind == "phone":
        return _is_phone(number, before, after)
    if kind == "ip":
        return _is_public(number) and not _NAMES_A_PART.search(before) and _is_of_host(before, after)
    return True


def _is_phone(number: str, before: str, after: str) -> bool:
    """Refuse dates, signed or decimal numbers, and rows of numbers, which no word announces as a telephone number."""
    if not 8 <= _count_digits(number) <= 15 or _DATE.match(number):
        return False
    if _CALLS.search(before):
        return True
    if _NAMES_A_PART.search(before):
        return False
    is_signed = re.search(r"\s[-+]\d", number) is not None
    is_decimal = any(_DECIMAL.fullmatch(part) for part in number.split())
    return not (is_signed or is_decimal or _is_row(number, before, after))


def _is_local(number: str, before: str) -> bool:
    """True if a word announces the number, and it is neither a date, nor a range, nor too short."""
    call, digits = _CALLS_HERE.search(before), _count_digits(number)
    if not call or digits < (_LONG if call["vague"] else _LEAST_DIGITS):
        return False
    return not (_DATE.match(number) or _RANGE.fullmatch(number))


def _count_digits(number: str) -> int:
    return sum(c.isdigit() for c in number)


def _is_row(number: str, before: str, after: str) -> bool:
    if not _ROW.fullmatch(number):
        return False
    if re.search(r"\d\s+\Z", before) or re.match(r"\s+\d", after):
        return True
    first, second, third = (int(part) for part in number.split())
    is_round = any(first % step == second % step == third % step == 0 for step in (4, 5))
    return is_round or third - second == second - first or first * third == second * second


def _is_of_host(before: str, after: str) -> bool:
    """True for the address of a machine; OpenSSL 1.1.1.8 and section 4.2.1.3 have the same form."""
    line = before.rpartition("\n")[2]
    if _HOSTS.search(line) or _PORT.match(after) or line.endswith("://"):
        return True
    whole = f"{line} {after.partition(chr(10))[0]}"
    return _CLOCK.search(whole) is not None and _LOGGED.search(line) is not None


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return False


def _checks(digits: list[int]) -> bool:
    """True for a usual first digit and a checksum by Luhn's rule, which one number in ten has by chance."""
    doubled = (sum(divmod(2 * d, 10)) for d in digits[-2::-2])
    return digits[0] in (2, 3, 4, 5, 6) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
