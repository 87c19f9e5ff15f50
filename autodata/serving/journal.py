"""Stores every answer of a model in the journal, under the request that it answers, before it is used."""

import asyncio
import fcntl
import queue
import shutil
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import zstandard

from autodata.config import RecipeError
from autodata.serving.measured import read_outcome
from autodata.stats.writing import write_count
from autodata.types import REPLY, Outcome, Reply, UserError, WrongCall

APPLICATION_ID = 0x41444A31  # "ADJ1": marks an SQLite file as a journal
VERSION = 3  # 1 stored text, 2 also replies that are no answers; both are read, and such replies are dropped
_BATCH = 512
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")  # SQLITE_ERROR here means "no such table"
INSERT = "INSERT OR IGNORE INTO replies VALUES (?, ?, ?)"


class JournalError(UserError):
    """The journal cannot be used or written; the message names the file and what to do."""


_Write = tuple[str, Reply, Future[Reply]]  # key, reply, and the future that gets the stored reply


class Journal:
    """Maps the key of a request to its reply, in one SQLite file with one writer thread.

    Replies that arrive during a commit share the next one, so the cost of durable commits does not grow with the
    number of calls. Only one process at a time can open a journal; a second one is refused.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"journal {path}: {error.strerror}; name another path") from error
        self._lock = lock(path)
        self._reader = connect(path)
        self._queue: queue.Queue[_Write | None] = queue.Queue()
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._writer.start()

    def get(self, key: str) -> Reply | None:
        """Return the reply stored under `key`, or None. Raises JournalError if the file is damaged."""
        try:
            return _read(self._reader, key)
        except (sqlite3.Error, ValueError) as error:
            raise explain(self.path, error) from error

    async def put(self, key: str, reply: Reply) -> Reply:
        """Store an answer and return it once it is durable, or that of a faster equal request. Raises JournalError."""
        if not reply.outcome.is_measured:
            return reply  # not stored, because it depends on a server's limits or on the moment
        done: Future[Reply] = Future()
        done.set_running_or_notify_cancel()  # a cancelled waiter must not upset the writer
        self._queue.put((key, reply, done))
        return await asyncio.wrap_future(done)

    def close(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._reader.close()
        self._lock.close()

    def _write_all(self) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute("PRAGMA synchronous = FULL")
        batch: list[_Write | None] = []
        while None not in batch:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            self._commit(connection, [write for write in batch if write])
        connection.close()

    def _commit(self, connection: sqlite3.Connection, batch: list[_Write]) -> None:
        try:
            with connection:
                now, before = int(time.time()), connection.total_changes
                connection.executemany(INSERT, [(key, compress(reply), now) for key, reply, _ in batch])
                are_new = connection.total_changes - before == len(batch)
                stored = [reply if are_new else _read(connection, key) or reply for key, reply, _ in batch]
        except (sqlite3.Error, ValueError) as error:
            failure = explain(self.path, error)
            for *_, done in batch:
                done.set_exception(failure)
            return
        for (*_, done), reply in zip(batch, stored, strict=True):
            done.set_result(reply)


def _read(connection: sqlite3.Connection, key: str) -> Reply | None:
    row = connection.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
    return _read_row(row[0]) if row else None


def _read_row(stored: object) -> Reply:
    """Read a stored reply and name its outcome by today's rule."""
    reply = decompress(stored)
    return replace(reply, outcome=name_outcome(reply))


def lock(path: Path) -> IO[str]:
    """Lock a journal until the returned file is closed. Raises JournalError if another process holds the lock."""
    try:
        lock_file = open(f"{path}.lock", "w")  # noqa: SIM115 (held as long as the journal is open)
    except OSError as error:
        raise JournalError(f"journal {path}: {error.strerror}; name another path") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock_file.close()
        advice = "stop it, or give this run a journal of its own"
        raise JournalError(f"{path}: in use by another process; {advice}") from None
    return lock_file


def require_file(path: Path) -> None:
    """Raise WrongCall if a path is no file."""
    if not path.is_file():
        problem = "not a file" if path.exists() else "no such file"
        raise WrongCall(f"{path}: {problem}; name the journal.sqlite of a run")


def connect(path: Path) -> sqlite3.Connection:
    is_new = not path.exists() or path.stat().st_size == 0
    log = Path(f"{path}-wal")
    if is_new and log.exists() and log.stat().st_size:
        raise explain(path, ValueError("the file is missing, but its last writes are still in its -wal file"))
    try:
        if is_new:
            create(path)
    except (sqlite3.Error, OSError) as error:
        advice = "is the disk full? free some space, or name another path"
        raise JournalError(f"{path}: cannot be created ({error}); {advice}") from error
    try:
        connection = sqlite3.connect(path, check_same_thread=False)
        _upgrade(connection, path)
    except (sqlite3.Error, ValueError) as error:
        raise explain(path, error) from error
    return connection


def create(path: Path) -> None:
    """Create an empty journal. The file is complete or does not exist."""
    scratch = Path(f"{path}.new")
    scratch.unlink(missing_ok=True)  # left by a killed process
    connection = sqlite3.connect(scratch)
    # A row larger than a quarter of a page takes its own overflow page: with pages of 4096 bytes, nearly every reply.
    connection.execute("PRAGMA page_size = 16384")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    columns = "key TEXT PRIMARY KEY, reply BLOB NOT NULL, at INTEGER NOT NULL"
    connection.execute(f"CREATE TABLE replies ({columns}) WITHOUT ROWID")
    connection.close()
    scratch.replace(path)


def _identify(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of a journal. Raises JournalError if it is no journal, or if later code wrote it."""
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if identity != APPLICATION_ID:
        raise JournalError(f"{path}: a database, but not a journal of Autodata; name another file")
    if not 1 <= version <= VERSION:
        raise JournalError(
            f"{path}: this journal has version {version}, but this code reads version {VERSION} and older ones; "
            "export it with the code that wrote it, and import it here"
        )
    connection.execute("SELECT 1 FROM replies LIMIT 1").fetchone()
    return int(version)


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Upgrade an older journal to this version: answers stay as they are, replies that are no answers are dropped."""
    if (version := _identify(connection, path)) == VERSION:
        return
    with connection:
        rows = connection.execute("SELECT key, reply FROM replies")
        outcomes = {key: name_outcome(decompress(reply)) for key, reply in rows}
        dropped = {key: outcome for key, outcome in outcomes.items() if not outcome.is_measured}
        connection.executemany("DELETE FROM replies WHERE key = ?", [(key,) for key in dropped])
        connection.execute(f"PRAGMA user_version = {VERSION}")
    listed = ", ".join(f"{outcome} {count}" for outcome, count in sorted(Counter(dropped.values()).items()))
    replies = f"{write_count(len(dropped), 'reply', 'replies')} without an answer ({listed})"
    resent = f"dropped {replies}; a run that needs them sends these requests again"
    change = resent if dropped else "all of its replies are answers"
    print(f"{path}: upgraded from version {version} to {VERSION}; {change}", file=sys.stderr)


def name_outcome(reply: Reply) -> Outcome:
    """Name how a stored reply ended, by today's rule: older journals called every text an answer."""
    if not reply.finish_reason:  # version 2 recorded a call without a reply like this
        return reply.outcome if reply.outcome is Outcome.CONTEXT_OVERFLOW else Outcome.ABORTED
    return read_outcome(reply.finish_reason, reply.content + reply.tool, reply.outcome is Outcome.REFUSED)


def explain(path: Path, error: Exception) -> JournalError:
    """Make the error to raise. A full or failing disk is no damage to the file, so there is nothing to salvage."""
    if isinstance(error, ValueError) or getattr(error, "sqlite_errorname", "").startswith(_DAMAGE):
        advice = f"`python -m autodata.journal {path} salvage` recovers the replies that can still be read"
        return JournalError(f"{path}: not a readable journal ({str(error)[:200]}); {advice}")
    advice = "is the disk full? free some space and run the same command again: nothing stored is lost"
    return JournalError(f"{path}: cannot write ({error}); {advice}")


def read_replies(path: Path) -> Iterator[tuple[Reply, int]]:
    """Yield every answer and the second of its storage, in no order, and change nothing. Raises JournalError."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            _identify(connection, path)  # and no upgrade: a report must not touch the run that it is about
            for stored, at in connection.execute("SELECT reply, at FROM replies"):
                if (reply := _read_row(stored)).outcome.is_measured:
                    yield reply, at
    except (sqlite3.Error, ValueError) as error:
        raise explain(path, error) from error


def is_empty(path: Path) -> bool:
    """True if a file is a journal without any reply."""
    with suppress(sqlite3.Error, JournalError), closing(sqlite3.connect(path)) as connection:
        _identify(connection, path)
        return connection.execute("SELECT 1 FROM replies LIMIT 1").fetchone() is None
    return False


def join(path: Path, others: Iterable[Path]) -> None:
    """Add the replies of other journals; a reply that is already stored stays. Raises JournalError."""
    with lock(path):
        connection = connect(path)
        for other in others:
            connect(other).close()  # checks that it is a journal, and upgrades it
            try:
                connection.execute("ATTACH ? AS other", (str(other),))
                with connection:
                    connection.execute("INSERT OR IGNORE INTO replies SELECT * FROM other.replies")
                connection.execute("DETACH other")
            except sqlite3.Error as error:
                raise explain(path, error) from error
        connection.close()


def fork(source: Path, path: Path) -> None:
    """Give a new run the replies of another run, to send only changed requests. Raises JournalError, RecipeError."""
    if not source.exists():
        raise RecipeError(f"fork={source.parent}: no journal in {source}")
    if not path.exists():
        scratch = Path(f"{path}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for suffix in ("", "-wal"):
                Path(f"{scratch}{suffix}").unlink(missing_ok=True)  # left by a killed process
                if Path(f"{source}{suffix}").exists():
                    shutil.copyfile(f"{source}{suffix}", f"{scratch}{suffix}")
            connect(scratch).close()  # this merges its -wal file
            scratch.replace(path)
        except OSError as error:
            raise explain(path, error) from error


# A short reply consists mostly of the names of its fields, so they are in this dictionary. Never edit it: older
# journals were written with it.
_DICTIONARY = zstandard.ZstdCompressionDict(
    b'"empty"refusal"outcome":"truncated"finish_reason":"length"'
    b'{"outcome":"ok","content":"","reasoning":"","finish_reason":"stop","model":"","prompt_tokens":0,'
    b'"completion_tokens":0,"latency_s":0.0,"tool":"","arguments":""}',
    dict_type=zstandard.DICT_TYPE_RAWCONTENT,
)
_MAX_REPLY_BYTES = 1 << 28  # a damaged row may claim any size


def compress(reply: Reply) -> bytes:
    return zstandard.ZstdCompressor(level=3, dict_data=_DICTIONARY).compress(REPLY.dump_json(reply))


def decompress(stored: object) -> Reply:
    """Read a reply from its row, which version 1 stored as text. Raises ValueError if the row is damaged."""
    if isinstance(stored, str):
        return REPLY.validate_json(stored)
    if not isinstance(stored, bytes):
        raise ValueError(f"a row holds {type(stored).__name__} instead of a reply")
    try:
        if zstandard.frame_content_size(stored) > _MAX_REPLY_BYTES:
            raise ValueError("a reply claims to be larger than any reply can be")
        return REPLY.validate_json(zstandard.ZstdDecompressor(dict_data=_DICTIONARY).decompress(stored))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
