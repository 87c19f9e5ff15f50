"""Tests that the examples are those of an undisturbed run, whatever happens between the driver and its server."""

import pytest

from tests.faults.conftest import SEED
from tests.faults.proxy import FAULTS
from tests.faults.scene import PLAYS, scene

CHANCE = 0.1
# Each fault's name in the client's counts. A stalled or doubled reply is whole, so the client does not count it.
COUNTED = {"refuse": "connection", "reset": "connection", "time_out": "timeout", "trickle": "timeout",
           "too_many": "http_429", "server_error": "http_50", "truncate": "connection", "not_json": "bad_reply",
           "wrong_schema": "bad_reply", "empty": "empty"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("fault", [f.__name__ for f in FAULTS])
def test_one_fault_at_a_time(driver, undisturbed, tmp_path, fault):
    with scene(tmp_path, "skills", driver, SEED, **{fault: CHANCE}) as stormy:
        stormy.finish()
        stormy.check(undisturbed["skills"])
        assert stormy.proxy.faults[fault] > 4
        repeated = [name for session in stormy.sessions() for name in session["counts"] if name.startswith("retried_")]
    if fault in COUNTED:
        assert any(name.startswith(f"retried_{COUNTED[fault]}") for name in repeated)
        assert f"{COUNTED[fault]}" in (tmp_path / "log").read_text().rsplit("Started ", 1)[1]


@pytest.mark.slow
@pytest.mark.parametrize("play", PLAYS)
def test_all_faults_together(driver, undisturbed, tmp_path, play):
    with scene(tmp_path, play, driver, SEED, **{f.__name__: CHANCE for f in FAULTS}) as stormy:
        stormy.finish()
        stormy.check(undisturbed[play])
        assert set(stormy.proxy.faults) == {"", *(f.__name__ for f in FAULTS)}
