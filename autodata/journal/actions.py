"""Inspect, export, import, prune or repair a journal, which stores every reply of a model under its request.

python -m autodata.journal JOURNAL                           # count its replies
python -m autodata.journal JOURNAL export REPLIES.jsonl      # write all replies, one JSON line each
python -m autodata.journal JOURNAL import REPLIES.jsonl      # add exported replies
python -m autodata.journal JOURNAL prune --keep-days 30      # delete replies that are older than 30 days
python -m autodata.journal JOURNAL salvage                   # repair it: keep every reply that can still be read
"""

import argparse
import sqlite3
from pathlib import Path

from autodata import command
from autodata.journal.replies import export_replies, import_replies, prune
from autodata.journal.salvage import salvage
from autodata.serving.journal import JournalError, connect, lock, require_file
from autodata.stats.writing import write_count
from autodata.types import WrongCall


def _make_parser() -> argparse.ArgumentParser:
    parser = command.make_parser(__doc__)
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the journal.sqlite of a run")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, help in (("export", "write all replies to a file"), ("import", "add the replies of such a file")):
        actions.add_parser(name, help=help).add_argument("replies", type=Path, metavar="REPLIES.jsonl")
    prune_parser = actions.add_parser("prune", help="delete old replies")
    keep_help = "delete the replies that are older than N days"
    prune_parser.add_argument("--keep-days", type=float, required=True, metavar="N", help=keep_help)
    actions.add_parser("salvage", help="repair a damaged journal")
    return parser


def _run(options: argparse.Namespace) -> str:
    path: Path = options.journal
    _check(options)
    if options.action == "export":
        return f"{_count(export_replies(path, options.replies))} → {options.replies}"
    if options.action == "salvage":
        kept, aside = salvage(path)
        return f"{path}: {_count(kept)} kept; the damaged file is now {aside}"
    with lock(path):
        if options.action == "import":
            return f"{_count(import_replies(path, options.replies))} → {path}"
        if options.action == "prune":
            return f"{path}: deleted {_count(prune(path, options.keep_days))}"
        return f"{path}: {_count(connect(path).execute('SELECT count(*) FROM replies').fetchone()[0])}"


def _check(options: argparse.Namespace) -> None:
    """Raise WrongCall if a file to read or a folder to write into is not there."""
    if options.journal.exists() or options.action != "import":
        require_file(options.journal)
    if options.action == "import" and not options.replies.is_file():
        raise WrongCall(f"{options.replies}: no such file; name a file that `export` wrote")
    for target in (options.journal, *([options.replies] if options.action == "export" else ())):
        if not target.parent.is_dir():
            raise WrongCall(f"{target}: no folder {target.parent}; name a file in a folder that is there")


def _count(number: int) -> str:
    return write_count(number, "reply", "replies")


@command.report_errors()
def main() -> None:
    options = _make_parser().parse_args()
    try:
        print(_run(options))
    except (OSError, sqlite3.Error) as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_NOTADB":
            problem = "not an SQLite database, so no journal"
            raise WrongCall(f"{options.journal}: {problem}; name the journal.sqlite of a run") from error
        raise JournalError(f"{error}; free space, fix the permissions or name another file") from error
