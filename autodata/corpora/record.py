"""What every source turns its rows into, and how it says why a row is left out."""

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Record:
    """A document on its way into a corpus. `fields` are those of its source that are kept, all JSON values."""

    id: str
    text: str
    licence: str = ""  # as the source states it; empty where it states none
    fields: dict[str, object] = field(default_factory=dict)


class Drop(ValueError):
    """A row that becomes no document. `reason` is one of few fixed phrases: drops are counted by it."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def require_drawn(identity: str, one_in: int) -> None:
    """Raise Drop unless the identity is among the one in so many that are used: the same ones in every run.

    Asked before a text is looked at, so that a sample of a large corpus costs little more than reading it.
    """
    if one_in > 1 and int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8]) % one_in:
        raise Drop("not drawn")
