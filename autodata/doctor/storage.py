"""Checks the file system where a run will lie: run folders and journals work there, and there is space."""

import asyncio
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

from autodata.doctor.finding import Finding, fail, ok, warn
from autodata.run.folder import Run
from autodata.run.records import RunError
from autodata.serving.journal import Journal, JournalError
from autodata.types import Outcome, Reply

_FAIL_GB, _WARN_GB = 1, 20  # chosen: a journal of 10⁶ replies of 2 kB is about 3 GB


def find_place(run: str) -> Path:
    """Return the run folder, or the nearest folder above it that exists."""
    folder = Path(run).absolute()
    return next(p for p in (folder, *folder.parents) if p.is_dir())


def check_files(place: Path) -> Finding:
    """Try rename, append with fsync, locks and SQLite in a scratch folder, with the code that runs use."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=place) as scratch:
            _use_run(scratch)
            asyncio.run(_use_journal(Path(scratch) / "journal.sqlite"))
    except (OSError, RunError, JournalError) as error:
        return fail("file system", f"{place}: {error}; put the run elsewhere with run=…")
    return ok("file system", f"rename, fsync, lock and journal work in {place}")


def check_space(place: Path) -> Finding:
    free_gb = shutil.disk_usage(place).free / 1e9
    detail = f"{free_gb:.1f} GB free in {place}"
    if free_gb < _FAIL_GB:
        return fail("disk", f"{detail}: free some space, or name another folder with run=…")
    if free_gb < _WARN_GB:
        return warn("disk", f"{detail}: this may be too little for checkpoints and journals")
    return ok("disk", detail)


def _use_run(folder: str) -> None:
    with Run(folder, "doctor", {}, {}) as run:
        run.write("twice", "a")
        run.write("twice", "b")
        run.append("twice", b"c")
        if run.path("twice").read_text() != "bc\n":
            raise RunError("a replaced file still has its old text")
        try:
            Run(folder, "doctor", {}, {}).close()
        except RunError:
            return
        raise RunError("a second process gets a lock that is already held")


async def _use_journal(path: Path) -> None:
    with closing(Journal(path)) as journal:
        await journal.put("key", Reply(Outcome.ANSWERED, "text", "", "stop", "doctor", 0, 0, 0.0))
        if journal.get("key") is None:
            raise JournalError("a stored reply cannot be read back")
