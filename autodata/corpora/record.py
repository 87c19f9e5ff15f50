"""Defines the record that every source makes from a row, and the exception that says why a row is left out."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """A document on its way into a corpus. `fields` holds what is kept of its source, all of it JSON values."""

    id: str
    text: str
    licence: str = ""  # as the source states it; empty if it states none
    fields: dict[str, object] = field(default_factory=dict)
    changes: Mapping[str, int] = field(default_factory=dict)  # what was mended or left out, and how often


class Drop(ValueError):
    """A row or file becomes no document. `reason` is one of a few fixed phrases, by which drops are counted.

    `detail` says more about this row alone.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


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
