"""Whatever happens to the driver and its disk, the same command completes the run as if nothing had been."""

import random
import subprocess
import sys

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
    """Twenty in both plays: after so many more requests and so many seconds."""
    with scene(tmp_path_factory.mktemp("killed"), play, driver, SEED, **LIGHT) as run:
        chance = random.Random(schedule)
        for _ in range(10):
            run.kill(run.start(), chance.randint(0, 20), chance.uniform(0, 0.05))
        run.finish()
        run.check(undisturbed[play])
        assert sum("ended" not in session for session in run.sessions()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("room", [10_000, 40_000, 90_000])
def test_the_disk_is_full(driver, undisturbed, tmp_path, room):
    """No file may grow beyond `room` bytes: the journal's, sooner or later, does."""
    with scene(tmp_path, "cloze", driver) as run:
        process = run.start(room=room)
        assert process.wait() == 1
        assert "free" in process.said
        assert "Traceback" not in process.said
        run.note_lost()
        run.finish()
        run.check(undisturbed["cloze"])


@scheduled
@given(clock=SCHEDULES)
def test_the_clock_jumps(driver, undisturbed, tmp_path_factory, clock):
    with scene(tmp_path_factory.mktemp("clock"), "cloze", driver, SEED, too_many=0.05, stall=0.05) as run:
        run.kill(run.start(clock=clock), 40, 0.0)
        run.finish(clock=clock + 1)
        run.check(undisturbed["cloze"])


@scheduled
@given(schedule=SCHEDULES)
def test_the_journal_is_cut_off_in_the_middle_of_a_page(driver, undisturbed, tmp_path_factory, schedule):
    """Either SQLite recovers what was whole, or the command names the file and the command that does."""
    chance = random.Random(schedule)
    for name in ("journal.sqlite", "journal.sqlite-wal") * 2:
        share = chance.uniform(0.05, 0.99)
        with scene(tmp_path_factory.mktemp("cut"), "cloze", driver) as run:
            run.kill(run.start(), 90, 0.0)
            path = run.run / name
            if path.exists():
                with path.open("r+b") as file:
                    file.truncate(int(path.stat().st_size * share))
            process = run.start()
            if process.wait():
                assert f"python -m autodata.salvage {run.run / 'journal.sqlite'}" in process.said
                salvage = [sys.executable, "-m", "autodata.salvage", str(run.run / "journal.sqlite")]
                assert "replies kept" in subprocess.run(salvage, capture_output=True, text=True, check=True).stdout
            run.lost.update(run.requests())  # any reply can have been on the page that was cut
            run.finish()
            run.check(undisturbed["cloze"], is_cut=True)
