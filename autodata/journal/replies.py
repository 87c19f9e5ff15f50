"""Moves stored replies out of a journal and into one, and deletes old ones."""

import json
import sqlite3
import time
from pathlib import Path

from autodata.serving.journal import INSERT, JournalError, compress, connect, decompress, explain, name_outcome
from autodata.types import REPLY


def export_replies(path: Path, target: Path) -> int:
    """Write every reply as a line of JSON; return how many. Raises JournalError."""
    connection, count = connect(path), 0
    try:
        with target.open("w", encoding="utf-8") as file:
            for key, reply, at in connection.execute("SELECT key, reply, at FROM replies ORDER BY key"):
                record = {"key": key, "at": at, "reply": REPLY.dump_python(decompress(reply), mode="json")}
                file.write(json.dumps(record) + "\n")
                count += 1
    except (sqlite3.Error, ValueError) as error:
        raise explain(path, error) from error
    return count


def import_replies(path: Path, source: Path) -> int:
    """Add exported replies, keep existing ones; return how many the file holds. Raises JournalError with the line."""
    with source.open(encoding="utf-8", errors="replace") as file:
        rows = [row for number, line in enumerate(file, 1) if (row := _read_line(line, f"{source}:{number}"))]
    connection = connect(path)
    with connection:
        connection.executemany(INSERT, rows)
    return len(rows)


def _read_line(line: str, where: str) -> tuple[str, bytes, int] | None:
    """Read a row of the journal; None if the reply is not an answer (older files hold such replies)."""
    try:
        record = json.loads(line)
        reply = REPLY.validate_python(record["reply"])
        row = str(record["key"]), compress(reply), int(record["at"])
        return row if name_outcome(reply).is_measured else None
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{where}: this is not a line of exported replies ({error})") from error


def prune(path: Path, keep_days: float) -> int:
    """Delete the replies older than `keep_days`; return how many."""
    connection = connect(path)
    with connection:
        cursor = connection.execute("DELETE FROM replies WHERE at < ?", (time.time() - keep_days * 86400,))
    connection.execute("VACUUM")
    return cursor.rowcount
