"""Tests that the same command completes a run as if undisturbed, whatever happened to the driver and its disk."""

import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.conftest import SEED, scheduled
from tests.faults.proxy import FAULTS
from tests.faults.scene import PLAYS, scene

LIGHT = {f.__name__: 0.01 for f in FAULTS if f.__name__ not in ("time_out", "trickle")}
SCHEDULES = st.just(SEED) | st.integers(0, 2**32)


@pytest.mark.parametrize("play", PLAYS)
@scheduled
@given(schedule=SCHEDULES)
def test_kill_nine_at_ten_points(driver, undisturbed, tmp_path_factory, play, schedule):
    """Each of ten kills comes after a random number of requests and a random pause."""
    with scene(tmp_path_factory.mktemp("killed"), play, driver, SEED, **LIGHT) as run:
        chance = random.Random(schedule)
        for _ in range(10):
            run.kill(run.start(), chance.randint(0, 20), chance.uniform(0, 0.05))
        run.finish()
        run.check(undisturbed[play])
        assert run.killed > 0


@pytest.mark.slow
@pytest.mark.parametrize("rooms", [(10_000,), (90_000, 20_000)])
def test_no_file_may_grow(driver, undisturbed, tmp_path, rooms):
    """The limits are too small for a journal; for the replies; and then even to open the journal."""
    with scene(tmp_path, "skills", driver) as run:
        for room in rooms:
            process = run.start(room=room)
            assert process.wait() == 1
            assert "is the disk full? free some space" in process.output
            assert "Traceback" not in process.output
            assert "salvage" not in process.output, "nothing is damaged"
            run.note_lost()
        run.finish()
        run.check(undisturbed["skills"])


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a small file system in a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system is needed, and not allowed here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["60k", "300k"])
def test_the_disk_is_full_until_there_is_room(driver, undisturbed, tmp_path, size):
    """The first size is too small for a journal, the second for the replies."""
    with scene(tmp_path, "skills", driver) as run, small_disk(run.run, size):
        process = run.start()
        assert process.wait() == 1
        # Either the journal or the file of trajectories meets the end of the disk first.
        assert re.search(r"run/(journal\.sqlite|trajectories\.jsonl): .*free (some )?space", process.output)
        assert "Traceback" not in process.output
        subprocess.run(["mount", "-o", "remount,size=64m", run.run], check=True)
        run.note_lost()
        assert run.finish() == 1
        run.check(undisturbed["skills"])


@scheduled
@given(clock=SCHEDULES)
def test_the_clock_jumps(driver, undisturbed, tmp_path_factory, clock):
    with scene(tmp_path_factory.mktemp("clock"), "skills", driver, SEED, too_many=0.05, stall=0.05) as run:
        run.kill(run.start(clock=clock), 40, 0.0)
        run.finish(clock=clock + 1)
        run.check(undisturbed["skills"])


@scheduled
@given(schedule=SCHEDULES)
def test_the_journal_is_cut_off_in_the_middle_of_a_page(driver, undisturbed, tmp_path_factory, schedule):
    """Either SQLite recovers the whole pages, or the error names the file and the command that salvages it."""
    chance = random.Random(schedule)
    for name in ("journal.sqlite", "journal.sqlite-wal") * 2:
        share = chance.uniform(0.05, 0.99)
        with scene(tmp_path_factory.mktemp("cut"), "skills", driver) as run:
            run.kill_half_way(80)
            path = run.run / name
            with path.open("r+b") as file:
                file.truncate(int(path.stat().st_size * share))
            process = run.start()
            if process.wait():
                assert f"python -m autodata.journal {run.run / 'journal.sqlite'} salvage" in process.output
                salvage = [sys.executable, "-m", "autodata.journal", str(run.run / "journal.sqlite"), "salvage"]
                assert "replies kept" in subprocess.run(salvage, capture_output=True, text=True, check=True).stdout
            run.lost.update(run.requests())  # any reply may have been on the page that was cut
            run.finish()
            run.check(undisturbed["skills"], is_cut=True)
