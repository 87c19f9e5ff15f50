"""Licences as sources state them → the identifiers that the Hub knows, what asks most of a user first."""

import re
from collections.abc import Iterable

UNKNOWN = "unknown"
_PUBLIC = "other"  # the Hub has no word for the public domain
# Strictest first: nothing is allowed, no trade, no changes, share alike, name the source, no conditions.
_ORDER = (
    UNKNOWN,
    *("cc-by-nc-nd", "cc-by-nc-sa", "cc-by-nc", "cc-by-nd"),
    *("agpl-3.0", "gpl-3.0", "gpl-2.0", "lgpl-3.0", "cc-by-sa", "odbl", "mpl-2.0"),
    *("cc-by", "odc-by", "apache-2.0", "bsd-3-clause", "bsd-2-clause", "mit", "isc"),
    *("unlicense", "pddl", "cc0-1.0", _PUBLIC),
)
_CC = re.compile(r"cc-?by-?(nc)?-?(nd|sa)?(?:-?([1-4]\.[05]))?")
_OWN_WORDS = {"cc0": "cc0-1.0", "public-domain": _PUBLIC, "publicdomain": _PUBLIC, "apache2": "apache-2.0",
              "odcby": "odc-by", "public": _PUBLIC}  # fmt: skip


def name_licences(stated: str) -> list[str]:
    """The Hub's names of what a document's source states, `; ` between several; unknown for what has no name."""
    return [_read(part)[0] for part in stated.split(";")]


def is_known(stated: str) -> bool:
    return UNKNOWN not in name_licences(stated)


def order_licences(stated: Iterable[str]) -> list[str]:
    """All names that occur, strictest first."""
    found = {_read(part) for text in stated for part in text.split(";")}
    names = sorted(found, key=lambda pair: (_ORDER.index(pair[1]), pair[0]))
    return list(dict.fromkeys(name for name, _ in names))


def _read(stated: str) -> tuple[str, str]:
    """The Hub's name, and the family that says how strict it is."""
    text = re.sub(r"[\s_]+", "-", stated.strip().casefold())
    if found := _CC.fullmatch(text):
        family = "-".join(("cc-by", *(part for part in found.groups()[:2] if part)))
        return (f"{family}-{found[3]}" if found[3] else "cc"), family  # the Hub has none without a version but `cc`
    text = _OWN_WORDS.get(text, text)
    return (text, text) if text in _ORDER[1:] else (UNKNOWN, UNKNOWN)
