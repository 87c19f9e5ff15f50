"""Defines the record that every source makes from a row, and the exception that says why a row is left out."""

import hashlib
import unicodedata
from dataclasses import dataclass, field

from charset_normalizer import from_bytes


@dataclass(frozen=True)
class Record:
    """A document on its way into a corpus. `fields` holds what is kept of its source, all of it JSON values."""

    id: str
    text: str
    licence: str = ""  # as the source states it; empty if it states none
    fields: dict[str, object] = field(default_factory=dict)


class Drop(ValueError):
    """A row or file becomes no document. `reason` is one of a few fixed phrases, by which drops are counted."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def require_drawn(identity: str, one_in: int) -> None:
    """Raise Drop unless the document belongs to the sample of one in `one_in`; the same ones in every run.

    This is checked before the text is looked at, so a sample of a large corpus costs little more than reading it.
    """
    if one_in > 1 and int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) % one_in:
        raise Drop("not drawn")


def require_length(text: str, at_least: int, at_most: int) -> None:
    """Raise Drop for a text of fewer or more characters."""
    if len(text) < at_least:
        raise Drop("too short")
    if len(text) > at_most:
        raise Drop("too long")


_UNWANTED = {c for c in range(0x20) if chr(c) not in "\n\t"} | set(range(0x7F, 0xA0))
_CONTROL = dict.fromkeys(_UNWANTED | set(range(0xD800, 0xE000)))


def decode(data: bytes) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or else the encoding that is detected. Raises Drop."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise Drop("binary, not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        guess = from_bytes(data[:64_000]).best()
    if guess is None:
        raise Drop("neither UTF-8 nor another encoding that could be detected; convert it to UTF-8")
    return data.decode(guess.encoding, "replace")


def normalize(text: str) -> str:
    """Return the text in composed Unicode (NFC), stripped, without control characters, with \\n as line break."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text).translate(_CONTROL).strip()
