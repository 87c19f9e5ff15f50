"""Locks the folder in which a process works, so that no other one writes into it."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autodata.run.records import NoSuchRun, RunError, name_file_in_errors


def hold(folder: Path, holder: str = "") -> IO[str]:
    """Lock a folder, which is made if need be, until the returned file is closed or its process has ended.

    Raises RunError, which names the `holder` if it gave a name. A run gives none: files of its folder are published.
    """
    with name_file_in_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        with lock:
            lock.seek(0)
            other = f" ({text})" if (text := lock.read()) else ""
        advice = "wait for it, or name another run folder"
        raise RunError(f"{folder}: another process works in it{other}; {advice}") from None
    with name_file_in_errors(folder):
        lock.truncate(0)
        lock.write(holder)
        lock.flush()
    return lock


def is_held(folder: Path) -> bool | None:
    """Return True if a process on this machine works in a run folder; None if the lock cannot be read."""
    try:
        with (folder / ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


@contextmanager
def fresh_folder(run: Path, name: str) -> Iterator[Path]:
    """Lock a run and make an empty folder inside it. Raises RunError."""
    if not run.is_dir():
        raise NoSuchRun(f"{run}: no such run")
    folder = run / name
    with hold(run), name_file_in_errors(folder):
        if folder.is_symlink():
            raise RunError(f"{folder}: this is a link, not a folder; remove it")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
