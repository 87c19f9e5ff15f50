"""Inspect, export, import or prune a journal: it stores every reply of a model by request, for replay on restart.

python -m autodata.journal JOURNAL                        # count its replies
python -m autodata.journal JOURNAL export PACK.jsonl      # write all replies to a replay pack, one JSON line each
python -m autodata.journal JOURNAL import PACK.jsonl      # add the replies of a replay pack
python -m autodata.journal JOURNAL prune --keep-days 30   # delete replies that are older than 30 days
"""

import argparse
import json
import sqlite3
import time
from pathlib import Path

from autodata import command
from autodata.serving.journal import (
    INSERT,
    JournalError,
    compress,
    connect,
    decompress,
    explain,
    lock,
    name_outcome,
    require_file,
)
from autodata.stats.writing import write_count
from autodata.types import REPLY, WrongCall


def export(path: Path, pack: Path) -> int:
    """Write every reply as a line of JSON; return how many. Raises JournalError."""
    connection, count = connect(path), 0
    try:
        with pack.open("w", encoding="utf-8") as file:
            for key, reply, at in connection.execute("SELECT key, reply, at FROM replies ORDER BY key"):
                record = {"key": key, "at": at, "reply": REPLY.dump_python(decompress(reply), mode="json")}
                file.write(json.dumps(record) + "\n")
                count += 1
    except (sqlite3.Error, ValueError) as error:
        raise explain(path, error) from error
    return count


def import_pack(path: Path, pack: Path) -> int:
    """Add the replies of a pack, keep existing ones; return how many it holds. Raises JournalError with the line."""
    with pack.open(encoding="utf-8", errors="replace") as file:
        rows = [row for number, line in enumerate(file, 1) if (row := _read_pack_line(line, f"{pack}:{number}"))]
    connection = connect(path)
    with connection:
        connection.executemany(INSERT, rows)
    return len(rows)


def _read_pack_line(line: str, where: str) -> tuple[str, bytes, int] | None:
    """Read a row of the journal; None if the reply is not an answer (older packs hold such replies)."""
    try:
        record = json.loads(line)
        reply = REPLY.validate_python(record["reply"])
        row = str(record["key"]), compress(reply), int(record["at"])
        return row if name_outcome(reply).is_measured else None
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{where}: this is not a line of a replay pack ({error})") from error


def prune(path: Path, keep_days: float) -> int:
    """Delete the replies older than `keep_days`; return how many."""
    connection = connect(path)
    with connection:
        cursor = connection.execute("DELETE FROM replies WHERE at < ?", (time.time() - keep_days * 86400,))
    connection.execute("VACUUM")
    return cursor.rowcount


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the journal.sqlite of a run")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, help in (("export", "write a replay pack"), ("import", "add the replies of a replay pack")):
        actions.add_parser(name, help=help).add_argument("pack", type=Path, metavar="PACK")
    prune_parser = actions.add_parser("prune", help="delete old replies")
    keep_help = "delete the replies that are older than N days"
    prune_parser.add_argument("--keep-days", type=float, required=True, metavar="N", help=keep_help)
    try:
        print(_run(parser.parse_args()))
    except (OSError, sqlite3.Error) as error:
        raise JournalError(f"{error}; free space, fix the permissions or name another file") from error


def _run(options: argparse.Namespace) -> str:
    path: Path = options.journal
    if path.exists() or options.action != "import":
        require_file(path)
    if options.action == "import" and not options.pack.is_file():
        raise WrongCall(f"{options.pack}: no such file; name a replay pack that `export` wrote")
    for target in (path, *([options.pack] if options.action == "export" else ())):
        if not target.parent.is_dir():
            raise WrongCall(f"{target}: no folder {target.parent}; name a file in a folder that is there")
    if options.action == "export":
        return f"{write_count(export(path, options.pack), 'reply', 'replies')} → {options.pack}"
    with lock(path):
        if options.action == "import":
            return f"{write_count(import_pack(path, options.pack), 'reply', 'replies')} → {path}"
        if options.action == "prune":
            return f"{path}: deleted {write_count(prune(path, options.keep_days), 'reply', 'replies')}"
        count = connect(path).execute("SELECT count(*) FROM replies").fetchone()[0]
        return f"{path}: {write_count(count, 'reply', 'replies')}"


if __name__ == "__main__":
    main()
