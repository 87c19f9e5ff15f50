"""Tests `status` on runs in every state: alive here, on another machine, in Slurm, dead, damaged."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from autodata import status
from autodata.cluster import jobs
from autodata.recipes.generation import GenerateRecipe
from autodata.run.folder import Run, summarize_problem
from autodata.run.locks import is_held
from autodata.run.records import RunError
from autodata.run.snapshot import SNAPSHOT, RoleSpeed, RunState, Snapshot
from autodata.serving.costs import Cost
from autodata.serving.leases import Lease, LeaseWatch, State, write_lease
from autodata.status import SILENT_S, look
from autodata.types import Role
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import completion, fake_server

pytestmark = pytest.mark.slow

HERE = socket.gethostname()


def snapshot(age_s: float = 0.0, **values: object) -> Snapshot:
    when = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    facts = dict(
        kind="generate",
        state=RunState.RUNNING,
        started=when,
        updated=when,
        unit="documents",
        done=3,
        total=8,
        accepted=2,
        rates={"done_per_s": 0.1, "calls_per_s": 4.0, "tokens_per_s": 90.0},
        eta_s=50,
        elapsed_s=30.0,
        calls=40,
        tokens=900,
        roles={Role.JUDGE: Cost(40, 2, 800, 100, 12.5, 3, 1, 7200.0, nano_usd=5_120_000)},
        speeds={Role.JUDGE: RoleSpeed(5, 4.0, 90.0)},
        in_flight={"e": 5},
        failures={"JudgeFailed": 1},
        facts={},
        pid=1,
        host=HERE,
    )
    return Snapshot(**facts | values)


@pytest.fixture
def write(tmp_path):
    """Writes a run folder of a finished or a running command."""

    def make(now: Snapshot | bytes | None, name: str = "run") -> Path:
        folder = tmp_path / name
        with Run(str(folder), "generate", GenerateRecipe(run=str(folder)), {}) as run:
            run.start()
        if now is not None:
            (folder / "progress.json").write_bytes(now if isinstance(now, bytes) else SNAPSHOT.dump_json(now))
        return folder

    return make


def see(run: Path) -> status.Sighting:
    return look(run, LeaseWatch(run / status.LEASES))


def test_a_failed_run_says_why(write):
    run = write(snapshot(state=RunState.FAILED))
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"sessions": [{"problem": "Stopped: the disk is full"}]}))
    assert see(run).explain().startswith("Stopped: the disk is full; last written")
    assert "the disk is full" in status.tell(see(run))
    sessions = [{"problem": "an earlier error"}, {"ended": "now"}]
    (run / "manifest.json").write_text(json.dumps(manifest | {"sessions": sessions}))
    assert "earlier" not in see(run).explain()


@pytest.mark.parametrize(
    "text, shown",
    [
        ("the disk is full", "the disk is full"),
        ("made from other inputs:\n  seed: 1 → 2", "made from other inputs: seed: 1 → 2"),
        ("x" * 300, "x" * 300),
        ("x" * 301, "x" * 299 + "…"),
        # The log of a server ends with a traceback, whose lines may have the name of a process before them.
        (
            'server died; end of log:\nsys.exit(\n  File "/a/b.py", line 3, in load\n    raise OSError(\n'
            + "OSError: no connection, " + "y" * 300 + "\nSee the documentation.",
            "server died; end of log: OSError: no connection, " + "y" * 300 + " See the documentation.",
        ),
        (
            'died; end of log:\n(APIServer pid=7) ValueError: first\n(APIServer pid=7)   File "/a/b.py", line 3\n'
            "(APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 error\n(APIServer pid=7) no such model",
            "died; end of log: (APIServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 error "
            "(APIServer pid=7) no such model",
        ),
    ],
)  # fmt: skip
def test_a_problem_is_kept_as_one_line_with_the_reason_at_its_end(text, shown):
    assert summarize_problem(text) == shown


def command(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["status", *arguments])
    failure = find_failure(status.main)
    return capsys.readouterr().out + failure


@pytest.mark.parametrize(
    ("kind", "found", "message"),
    [
        ("eval", {"kind": "grpo", "seed": 0}, r"has a run of kind grpo; name another folder with run=…$"),
        (
            "eval",
            {"kind": "eval", "seed": 1},
            r"other inputs; name another folder with run=…\. The inputs that differ:",
        ),
        (
            "generate",
            {"kind": "generate", "seed": 1},
            r"name another folder with run=…; the replies are reused with fork=",
        ),
    ],
)
def test_a_folder_of_another_run_is_refused_with_advice_that_fits_its_kind(tmp_path, kind, found, message):
    (tmp_path / "manifest.json").write_text(json.dumps({"inputs": found, "outputs": {"a": "b"}}))
    with pytest.raises(RunError, match=message):
        Run(str(tmp_path), kind, {"seed": 0}, {})


def test_a_folder_that_was_only_locked_says_that_nothing_ran(tmp_path):
    (tmp_path / ".lock").touch()
    assert see(tmp_path).explain() == "nothing has run in this folder yet"


def test_here_the_lock_tells_whatever_the_clock_says(write):
    run = write(snapshot(age_s=1))
    assert see(run).is_dead
    assert "looks dead (no process holds the run folder)" in see(run).explain()
    with Run(str(run), "generate", GenerateRecipe(run=str(run)), {}):
        assert not see(run).is_dead
        assert re.match(r"last written \d+ s ago by process 1 on", see(run).explain())
        (run / "progress.json").write_bytes(SNAPSHOT.dump_json(snapshot(age_s=SILENT_S + 5)))
        assert not see(run).is_dead
        assert see(run).explain().startswith("alive but silent")
    assert see(run).is_dead


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.STOPPED, RunState.FAILED])
def test_a_run_that_has_ended_is_not_dead(write, state):
    run = write(snapshot(age_s=9000, state=state))
    assert not see(run).is_dead
    assert see(run).explain().startswith("last written 2 h ")


@pytest.mark.parametrize(("age_s", "is_dead"), [(SILENT_S - 50, False), (SILENT_S + 5, True)])
def test_on_another_machine_only_the_age_tells(write, age_s, is_dead):
    seen = see(write(snapshot(age_s=age_s, host="elsewhere")))
    assert (seen.is_held, seen.job, seen.is_dead) == (None, None, is_dead)


@pytest.mark.parametrize(
    "case",
    [
        ("echo RUNNING", 999, True, False),
        ("echo PENDING", 999, True, False),  # requeued
        ("true", 1, False, True),
        ("echo COMPLETED", 1, False, True),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", 1, False, True),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", 1, None, False),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", 999, None, True),
    ],
)
def test_in_slurm_its_job_tells(write, slurm, tmp_path, case):
    squeue, age_s, job, is_dead = case
    slurm("squeue", f'echo "$@" > {tmp_path}/asked; {squeue}')
    seen = see(write(snapshot(age_s=age_s, host="node7", slurm_job_id="4711")))
    assert (seen.job, seen.is_dead) == (job, is_dead)
    assert "--jobs=4711" in (tmp_path / "asked").read_text()
    assert "Slurm job 4711" in seen.explain()


def test_without_slurm_the_job_is_unknown(write, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jobs.is_alive("1") is None
    assert not see(write(snapshot(host="node7", slurm_job_id="1"))).is_dead


@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]", b'{"state": "running"}', b"\xff\xfe", b"null"])
def test_a_missing_or_damaged_file_is_said_and_no_crash(write, monkeypatch, capsys, damage):
    run = write(damage)
    out = command(monkeypatch, capsys, str(run))
    assert "no readable progress.json; manifest not finished; no process works in it" in out
    (run / "manifest.json").write_text("{")
    assert "manifest damaged" in command(monkeypatch, capsys, str(run))
    assert json.loads(command(monkeypatch, capsys, str(run), "--json"))["snapshot"] is None


def test_a_future_or_senseless_time_is_no_crash(write):
    assert see(write(snapshot(age_s=-500))).age_s == 0
    assert see(write(replace(snapshot(), updated="yesterday"))).age_s is None
    assert see(write(replace(snapshot(), updated="2026-01-01"))).age_s is None  # has no time zone


def test_what_is_no_run_is_an_error(tmp_path, monkeypatch, capsys):
    with pytest.raises(RunError, match="no run folder"):
        see(tmp_path / "nowhere")
    assert "error: " in command(monkeypatch, capsys, str(tmp_path / "nowhere"))
    assert "python -m autodata.status" in command(monkeypatch, capsys, "--help")


def test_the_page_has_the_numbers_of_the_file(write, monkeypatch, capsys):
    out = command(monkeypatch, capsys, str(write(snapshot(age_s=2, host="elsewhere"))), "--json")
    shown = json.loads(out)
    assert shown["snapshot"]["roles"]["judge"]["calls"] == 40
    assert shown["is_dead"] is False
    lines = command(monkeypatch, capsys, shown["run"]).splitlines()
    row = next(line.split() for line in lines if line.startswith("judge"))
    assert row == ["judge", "5", "4", "90", "40", "2", "900", "7.1", "%", "2.00", "$0.00512"]
    text = " ".join(lines)
    assert all(part in text for part in ("3/8 documents", "2 accepted", "1 × JudgeFailed", "50 s left"))


def test_a_folder_of_runs_has_a_line_for_each(write, tmp_path, monkeypatch, capsys):
    write(snapshot(state=RunState.FINISHED, done=8), "a")
    write(snapshot(), "b")
    write(None, "c")
    lines = command(monkeypatch, capsys, str(tmp_path)).splitlines()
    assert [line.split(":")[0] for line in lines] == [str(tmp_path / name) for name in "abc"]
    assert "finished: 8/8 documents, 2 accepted, 40 calls, 2 replayed, 900 tokens, 4 calls/s" in lines[0]
    assert "running: 3/8 documents" in lines[1]
    assert "looks dead" in lines[1]
    assert "no readable progress.json" in lines[2]
    assert len(json.loads(command(monkeypatch, capsys, str(tmp_path), "--json"))) == 3


def test_watching_ends_when_the_run_does(write, monkeypatch, capsys):
    run = write(snapshot(host="elsewhere"))
    ends = iter([snapshot(host="elsewhere", done=5), snapshot(host="elsewhere", state=RunState.FINISHED, done=8)])
    monkeypatch.setattr(
        status.time, "sleep", lambda _: (run / "progress.json").write_bytes(SNAPSHOT.dump_json(next(ends)))
    )
    out = command(monkeypatch, capsys, str(run), "--watch")
    assert [f"{n}/8 documents" in out for n in (3, 5, 8)] == [True] * 3


def test_control_characters_of_a_file_never_reach_the_terminal(write, monkeypatch, capsys):
    evil = "\x1b[2J\x1b]0;owned\x07[red]x[/red]"
    run = write(snapshot(host=evil, kind=evil, unit=evil, failures={evil: 1}, facts={evil: evil}))
    out = command(monkeypatch, capsys, str(run)) + command(monkeypatch, capsys, str(run.parent))
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[red]x[/red]" in out


def test_the_servers_of_a_campaign_are_seen_by_their_leases(write):
    run = write(snapshot())
    with fake_server(lambda body, count: completion("x")) as server:
        server.running = 3
        lease = Lease("small", 0, "7", "m", server.url, State.READY, 1, 0.0)
        silent = replace(lease, replica=1, url="http://127.0.0.1:9/v1")
        others = [replace(lease, replica=2, state=State.STARTING), replace(lease, job="6", state=State.ENDED)]
        for each in (lease, silent, *others):
            write_lease(run / status.LEASES, each)
        (seen,) = see(run).servers
    assert (seen.load.running, seen.load.replicas) == (3, 1)
    assert seen.describe() == ("servers of small: 2 ready, 1 starting, 1 not answering, 3 calls in flight, 0 waiting")


def test_the_lock_of_another_process_is_seen_and_left_alone(tmp_path):
    folder = tmp_path / "run"
    assert is_held(folder) is False
    with Run(str(folder), "generate", GenerateRecipe(run=str(folder)), {}):
        code = (
            f"from pathlib import Path; from autodata.run.locks import is_held; print(is_held(Path({str(folder)!r})))"
        )
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout == "True\n", done.stderr
    assert is_held(folder) is False
