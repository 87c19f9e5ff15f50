"""Bytes of unknown origin → clean text."""

import unicodedata

from charset_normalizer import from_bytes

_SNIFFED = 64_000  # bytes looked at to tell an encoding
_UNWANTED = {c for c in range(0x20) if chr(c) not in "\n\t"} | set(range(0x7F, 0xA0))
_CONTROL = dict.fromkeys(_UNWANTED | set(range(0xD800, 0xE000)))


class Unreadable(ValueError):
    """There is no text in it; the message is one of few fixed phrases, so that it can be counted."""


def decode(data: bytes) -> str:
    """UTF-8 or UTF-16 by its mark, else what the bytes look like. Raises Unreadable."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise Unreadable("binary, not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        guess = from_bytes(data[:_SNIFFED]).best()
    if guess is None:
        raise Unreadable("neither UTF-8 nor an encoding that could be told; convert it to UTF-8")
    return data.decode(guess.encoding, "replace")


def normalize(text: str) -> str:
    """Composed Unicode without control characters; line breaks as \\n."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", text).translate(_CONTROL).strip()
