"""What every source turns its rows into, and how it says why a row is left out."""

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
