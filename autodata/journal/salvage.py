"""Repairs a damaged journal: makes a new one with every reply that can be read, and keeps the old one beside it."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from autodata.serving import journal
from autodata.serving.journal import JournalError

StoredReply = tuple[str, str | bytes, int]  # key, reply as stored, time in seconds
_INTERIOR, _LEAF = 2, 10  # the types of the pages that hold rows


def salvage(path: Path) -> tuple[int, Path]:
    """Repair a journal; return how many replies were kept, and where the damaged file is now. Raises JournalError."""
    aside = Path(f"{path}.damaged")
    if aside.exists():
        raise JournalError(f"{aside}: this file exists already; move it away first")
    with journal.lock(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".salvage") as folder:
        copy, sound = Path(folder) / "copy", Path(folder) / "sound"
        _copy(path, copy)
        journal.create(sound)
        with closing(sqlite3.connect(sound)) as target, target:
            target.executemany(journal.INSERT, filter(_is_sound, _find_rows(copy.read_bytes())))
            kept = target.execute("SELECT count(*) FROM replies").fetchone()[0]
        for suffix in ("", "-wal", "-shm"):
            if Path(f"{path}{suffix}").exists():
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        sound.rename(path)
    return kept, aside


def _copy(path: Path, copy: Path) -> None:
    """Copy the database, including the changes in its -wal file."""
    if path.exists() and path.stat().st_size:
        shutil.copyfile(path, copy)
    else:
        journal.create(copy)
    if Path(f"{path}-wal").exists():
        shutil.copyfile(f"{path}-wal", f"{copy}-wal")
    with closing(sqlite3.connect(copy)) as connection:
        # Without this, SQLite refuses a file that is shorter than its header says.
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _is_sound(row: StoredReply) -> bool:
    """Return True if the reply can be read and is an answer (older journals hold other replies too)."""
    try:
        return journal.name_outcome(journal.decompress(row[1])).is_measured
    except ValueError:
        return False


def _find_rows(data: bytes) -> Iterator[StoredReply]:
    """Yield every row on every page, even if the B-tree above it is broken (sqlite.org/fileformat2.html)."""
    # The header stores 65,536 as 1; any other small value means that the header is lost.
    size = stored if (stored := int.from_bytes(data[16:18], "big")) >= 512 else 65_536
    for start in range(size, len(data), size):
        if data[start] in (_INTERIOR, _LEAF):
            yield from _read_page(data, start, size)


def _read_page(data: bytes, start: int, size: int) -> Iterator[StoredReply]:
    is_leaf = data[start] == _LEAF
    first, count = start + (8 if is_leaf else 12), int.from_bytes(data[start + 3 : start + 5], "big")
    for at in range(first, first + 2 * count, 2):
        cell = start + int.from_bytes(data[at : at + 2], "big") + (0 if is_leaf else 4)
        with suppress(ValueError, IndexError):  # the row is overwritten, or its rest is on a lost page
            yield _read_record(_read_payload(data, cell, size))


def _read_payload(data: bytes, at: int, size: int) -> bytes:
    """Read a record from its page and its overflow pages. Raises IndexError, ValueError."""
    length, at = _read_varint(data, at)
    most, least = (size - 12) * 64 // 255 - 23, (size - 12) * 32 // 255 - 23
    if length <= most:
        return data[at : at + length]
    if length > len(data):
        raise ValueError("longer than the file")
    local = least + (length - least) % (size - 4)
    local = local if local <= most else least
    payload, next_at = data[at : at + local], at + local
    while len(payload) < length:
        page = int.from_bytes(data[next_at : next_at + 4], "big")
        next_at = (page - 1) * size
        if page < 2 or next_at + size > len(data):
            raise ValueError("flows over to a page that is not there")
        payload += data[next_at + 4 : next_at + 4 + min(size - 4, length - len(payload))]
    return payload


def _read_record(payload: bytes) -> StoredReply:
    """Decode a record into key, reply and time. Raises IndexError, ValueError."""
    end, at = _read_varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _read_varint(payload, at)
        kinds.append(kind)
    # How many bytes a value of each serial type has.
    widths = [(kind - 12) // 2 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind] for kind in kinds]
    key, stored, second = (payload[end + sum(widths[:i]) :][:width] for i, width in enumerate(widths))
    is_text = kinds[1] % 2 == 1
    return key.decode(), stored.decode() if is_text else stored, int.from_bytes(second[:8], "big", signed=True)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint; return the number and the position after it. Raises IndexError, ValueError."""
    value = 0
    for byte in range(at, at + 9):
        value = value << 7 | data[byte] & 0x7F
        if data[byte] < 0x80:
            return value, byte + 1
    raise ValueError("not a number of this format")
