"""Tests autodata.reproduce --local: the steps in their order, the servers that they share, its record, and Ctrl-C."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from autodata.cluster import jobs
from autodata.cluster.resources import Site
from autodata.config import REPO
from autodata.reproduce import follow, show
from autodata.reproduce.alone import hold_alone, name_command
from autodata.reproduce.finished import find_finished
from autodata.reproduce.graph import Step, build
from autodata.reproduce.local.logs import Log
from autodata.reproduce.local.run import StepFailed, _wait, make_command, run_all
from autodata.reproduce.local.screen import Screen
from autodata.reproduce.local.servers import SharedServers, is_shared, read_values
from autodata.reproduce.record import TABLES, VERIFY, Cost, Record, make_record, read_record
from autodata.reproduce.reproduce import run_here
from autodata.reproduce.request import Request, read_request
from autodata.run.locks import hold, is_held
from autodata.run.records import RunError
from autodata.serving.vllm import ServerError

pytestmark = pytest.mark.slow

# A command that makes a run folder. It ends with the given status; "wait" waits for a Ctrl-C.
COMMAND = """
import pathlib, signal, sys, time
folder, status = pathlib.Path(sys.argv[1]), sys.argv[2]
folder.mkdir(parents=True, exist_ok=True)
got = []
signal.signal(signal.SIGINT, lambda *_: got.append("SIGINT"))
(folder / "started").write_text("")
while status == "wait" and not got:
    time.sleep(0.01)
time.sleep(0.2 * len(got))  # a second signal would come now
(folder / "calls").open("a").write(" ".join([*sys.argv[3:], *got]) + "\\n")
print("WARNING autodata.x: worth knowing", "WARNING library: noise", sep="\\n")
if status == "fails":
    print("error: the reason", file=sys.stderr)
if status == "0":
    (folder / "manifest.json").write_text('{"finished": "today"}')
sys.exit(0 if status == "0" else 3)
"""


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch, tmp_path):
    monkeypatch.chdir(REPO)
    (tmp_path / "a_command.py").write_text(COMMAND)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def step(folder: Path, name: str, status: str = "0", *after: str) -> Step:
    target = str(folder / name)
    return Step("a_command", target, (target, status), tuple(f"a_command {folder / o}" for o in after), None)


def record_of(folder: Path, steps: list[Step]) -> Record:
    return make_record(folder / "record", steps, {s.name: Cost("x", 2, 3600.0) for s in steps}, find_finished(steps))


def test_steps_run_in_their_order_and_are_skipped_the_second_time(tmp_path, capfd):
    steps = [step(tmp_path, "a"), step(tmp_path, "b", "0", "a"), step(tmp_path, "c", "0", "b")]
    run_all(steps, record_of(tmp_path, steps))
    assert [(tmp_path / name / "calls").read_text() for name in "abc"] == ["\n"] * 3
    times = [(tmp_path / name / "calls").stat().st_mtime for name in "abc"]
    assert times == sorted(times)
    out = capfd.readouterr().out
    assert f"\nstep 1 of 3: {steps[0].name}\n" in out
    assert "\nstep 3 of 3: done in " in out
    run_all(steps, record_of(tmp_path, steps))
    assert (tmp_path / "a" / "calls").read_text() == "\n", "it did not run again"
    assert capfd.readouterr().out == "up to date: 3 of 3 steps\n"


def test_a_step_that_fails_stops_the_others_and_shows_the_end_of_its_log(tmp_path, capfd):
    steps = [step(tmp_path, "a", "fails"), step(tmp_path, "b")]
    with pytest.raises(StepFailed, match=r"a ended with exit code 3; give the same command again") as failed:
        run_all(steps, record_of(tmp_path, steps))
    log = tmp_path / "record" / "logs" / "01-a_command-a.log"
    assert str(failed.value).endswith(f". The end of {log}:\n  error: the reason")
    assert "WARNING library: noise" in log.read_text()
    record = record_of(tmp_path, steps)
    _, (first, second) = follow.look(record.folder)
    assert (first.state, first.detail) == ("failed", f"read {log}; the same command goes on from there")
    assert second.state == "to do"
    assert "| failed | 1 | 2 |" in (text := show.write_costs(record, Site()))
    assert text.endswith(f"Failed: {steps[0].name}; read {log}")
    assert f"{steps[0].name}: WARNING autodata.x: worth knowing" in capfd.readouterr().out
    assert not (tmp_path / "b").exists()


# Takes the lock of a request and keeps it, as a command that looks at the runs or works on them.
HOLDER = """
import sys, time
from autodata.reproduce.alone import hold_alone
from autodata.reproduce.request import read_request
arguments = ["recipes/tables/table1.yaml", "runs=" + sys.argv[1]]
with hold_alone(read_request(arguments, "paper"), sys.argv[2] == "--local"):
    print("held", flush=True)
    time.sleep(60)
"""


def request_of(folder: Path, table: str = "table1") -> Request:
    return read_request([f"recipes/tables/{table}.yaml", f"runs={folder}"], "paper")


def take(folder: Path, is_local: bool, table: str = "table1") -> str:
    """Try to work on a table; return the error, or nothing."""
    try:
        with hold_alone(request_of(folder, table), is_local):
            return ""
    except RunError as problem:
        return str(problem)


def test_a_local_run_and_a_submission_keep_one_another_out(tmp_path):
    for first in (True, False):
        with hold_alone(request_of(tmp_path), first):
            for second in (True, False):
                assert f"another process works in it (process {os.getpid()} on " in take(tmp_path, second)
    with pytest.raises(ZeroDivisionError), hold_alone(request_of(tmp_path), True):
        raise ZeroDivisionError
    assert not take(tmp_path, True)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--local", "--slurm"])
def test_of_two_commands_at_once_the_second_is_told_who_works(tmp_path, monkeypatch, option):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path), option], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        for is_local in (True, False):
            problem = take(tmp_path, is_local)
            assert f"another process works in it (process {holder.pid} on {socket.gethostname()} since " in problem
        # Table 2 needs runs of table 1: jobs of both are submitted one after the other; --local keeps only its own.
        assert bool(take(tmp_path, False, "table2")) == (option == "--slurm")
        assert is_held(request_of(tmp_path).folder) == (option == "--local")  # by which status knows a local run
        holder.kill()
    assert not take(tmp_path, True)
    assert not take(tmp_path, False)


def test_a_holder_is_named_in_short_and_a_run_has_no_name_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "x" * 999])
    with hold(tmp_path, name_command()), pytest.raises(RunError, match=r": python xxx.*x\); wait for it") as caught:
        hold(tmp_path)
    assert len(str(caught.value)) < 500
    with hold(tmp_path), pytest.raises(RunError, match="another process works in it; wait for it"):
        hold(tmp_path)
    assert (tmp_path / ".lock").read_bytes() == b""


def test_a_ctrl_c_reaches_the_step_once_and_no_other_step_begins(tmp_path):
    steps = [step(tmp_path, "a", "wait"), step(tmp_path, "b")]

    def interrupt() -> None:
        while not (tmp_path / "a" / "started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt).start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(StepFailed, match="stopped; give the same command again"):
            run_here(steps, record_of(tmp_path, steps))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "a" / "calls").read_text() == "SIGINT\n"
    assert not (tmp_path / "b").exists()


def test_a_signal_as_a_step_ends_is_no_error_of_its_log(tmp_path, monkeypatch):
    class Ended:
        pid, returncode, polls = 2**22 + 1, 0, iter([None, 0])  # no process can have this number

        def poll(self) -> int | None:
            return next(self.polls)

        def wait(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _wait(Ended(), Screen(1))
    log = Log.of(tmp_path, 1, "a x")
    with pytest.raises(FileNotFoundError), log.open(["no-such-program"]):
        raise FileNotFoundError("no-such-program")
    assert not log.has_failed  # it was not the step that ended


def test_status_shows_what_runs_here_and_what_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "list_reasons", dict)
    steps = [step(tmp_path, "a"), step(tmp_path, "b", "0", "a"), step(tmp_path, "c", "0", "b"), step(tmp_path, "d")]
    record = record_of(tmp_path, steps)
    run_all(steps[:1], record)
    record.write()

    def look() -> list[tuple[str, str]]:
        _, standings = follow.look(record.folder)
        return [(s.state, s.detail.replace(str(tmp_path), "runs")) for s in standings]

    assert look() == [("finished", ""), ("to do", ""), ("to do", "after a_command runs/b"), ("to do", "")]
    with hold(record.folder):
        waits = ("waiting", "for a_command runs/b")
        assert look() == [("finished", ""), ("running", ""), waits, waits]  # d waits for its turn
        text = follow.write_standing(*follow.look(record.folder))
    assert "3 h 00 min, 6.0 GPU-hours." in text  # one step after the other


def test_the_numbers_of_earlier_jobs_are_forgotten(tmp_path):
    steps = [step(tmp_path, "a")]
    record = record_of(tmp_path, steps)
    (entry,) = record.steps.values()
    record = record.change(type(entry)(entry.module, entry.target, (), entry.cost, job="7"))
    run_all(steps, record)
    assert [e.job for e in read_record(record.folder).steps.values()] == [""]


def build_demo() -> dict[str, Step]:
    steps = build(read_request(["recipes/demo"], "paper"))
    return {step.arguments[0].removeprefix("recipes/demo/"): step for step in steps}


def test_the_demo_is_a_graph_whose_steps_share_a_server_until_the_training():
    steps = build_demo()
    names = list(steps)
    assert {s.module for s in steps.values()} == {
        "autodata.generate",
        "autodata.dataset",
        VERIFY,
        "autodata.training.grpo",
        "autodata.eval.run",
        TABLES,
    }
    servers = SharedServers(Path("none"))
    servers._process, servers._step, servers._values = object(), steps["generate.yaml"], ["models.…=url"]
    shared = ["generate_cot.yaml", "dataset.yaml", "runs/demo/dataset", "table1.yaml", "eval_base.yaml"]
    assert names[1:6] == shared
    led = [name for name in shared if servers.follow(steps[name], [])]
    assert led == ["generate_cot.yaml", "eval_base.yaml"]  # the others ask nothing, and the server stays
    assert is_shared(steps["generate.yaml"], [steps[name] for name in names[1:]])
    assert not is_shared(steps["eval_trained.yaml"], [steps[name] for name in names[8:]])
    assert make_command(steps["grpo.yaml"])[2:5] == [
        "accelerate.commands.launch",
        "--config_file",
        "recipes/accelerate/cpu.yaml",
    ]


def test_servers_stop_before_a_training(monkeypatch):
    steps, closed = build_demo(), []
    servers = SharedServers(Path("none"))
    servers._process, servers._step = object(), steps["generate.yaml"]
    monkeypatch.setattr(servers, "close", lambda: closed.append(True))
    assert servers.follow(steps["table1.yaml"], []) == []
    assert not closed
    assert servers.follow(steps["grpo.yaml"], []) == []
    assert closed


@pytest.mark.slow
def test_a_server_that_does_not_start_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    values = [f"runs={tmp_path}", "models.endpoints.small.server.weights=none/none"]
    steps = build(read_request(["recipes/demo", *values], "paper"))
    with pytest.raises(ServerError, match=r"no server; the end of .*servers.log:\n  error: "):
        SharedServers(tmp_path).follow(steps[0], steps[1:])


def test_the_values_of_shared_servers_are_read_as_soon_as_all_answer(tmp_path):
    code = "import time; print('starting a', 'models.endpoints.a.base_url=u', sep='\\n', flush=True); time.sleep(60)"
    with (tmp_path / "log").open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        values = list(read_values(process, file, 1))
        process.kill()
        process.communicate()
    assert values == ["models.endpoints.a.base_url=u"]
    assert (tmp_path / "log").read_text() == "starting a\nmodels.endpoints.a.base_url=u\n"
