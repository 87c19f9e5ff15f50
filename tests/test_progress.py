"""Tests progress: its file, its metrics, the sums over resumes, and the budgets that stop a run."""

import json
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from autodata.config import RecipeError
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Budget, Endpoint, Models, Server
from autodata.run import progress as module
from autodata.run.folder import Run, read_manifest
from autodata.run.progress import Progress, check_budget
from autodata.run.snapshot import RunState, read_snapshot
from autodata.serving.costs import Account, Cost
from autodata.serving.llm import Draining
from autodata.stats.writing import write_duration, write_usd
from autodata.types import Role
from tests.helpers.fake_server import fake_server, play_skills
from tests.test_generate import arguments, run_main, write_documents

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path):
    with Run(str(tmp_path / "run"), "generate", GenerateRecipe(run=str(tmp_path / "run")), {}) as opened:
        opened.start()
        yield opened


def a_client(calls: int = 0, replayed: int = 0, running: int = 0) -> SimpleNamespace:
    """Make a client with the fields that progress reads."""
    account = Account(running=running)
    account.counts.update(calls=calls, replayed=replayed)
    cost = Cost(calls, replayed, 10 * calls, calls, gpu_seconds=None if calls else 0.0)
    return SimpleNamespace(
        draining=False,
        accounts={Role.JUDGE: account},
        ledger=lambda: {Role.JUDGE: cost},
        busy_at={"e": SimpleNamespace(running=running)},
        models=Models(),
    )


def read(run: Run) -> dict:
    return json.loads(run.path("progress.json").read_text())


def test_a_run_starts_runs_drains_and_ends(run):
    client = a_client()
    with Progress(run, "documents", 3) as progress:
        progress.watch(client)
        assert read(run)["state"] == "starting"
        progress.begin()
        assert progress.snapshot().state is RunState.RUNNING
        client.draining = True
        assert progress.snapshot().state is RunState.DRAINING
    assert read(run)["state"] == "stopped"
    with Progress(run, "documents", 3):
        run.finish([])
    assert read(run)["state"] == "finished"


@pytest.mark.parametrize(
    ("error", "state"),
    [(RuntimeError, "failed"), (SystemExit, "failed"), (Draining, "stopped"), (KeyboardInterrupt, "stopped")],
)
def test_how_it_ended_is_told_and_what_it_cost_is_kept(run, error, state):
    with pytest.raises(error), Progress(run, "documents") as progress:
        progress.watch(a_client(calls=2))
        raise error
    assert read(run)["state"] == state
    assert read_manifest(run.folder)["ledger"]["judge"]["calls"] == 2


def test_sessions_add_up_and_replays_are_not_paid(run):
    for calls, replayed in ((4, 0), (3, 4)):
        with Progress(run, "documents") as progress:
            progress.watch(a_client(calls, replayed))
    snapshot, ledger = read(run), read_manifest(run.folder)["ledger"]["judge"]
    assert (ledger["calls"], ledger["replayed"], ledger["gpu_seconds"]) == (7, 4, None)
    assert snapshot["roles"]["judge"] == ledger
    assert (snapshot["calls"], snapshot["tokens"]) == (7, 77)


def test_a_run_that_is_killed_just_after_it_is_finished_has_its_costs(run):
    with Progress(run, "documents") as progress:
        progress.watch(a_client(calls=2))
        run.finish([])
        assert read_manifest(run.folder)["ledger"]["judge"]["calls"] == 2


@pytest.mark.parametrize("last", [None, "", "{", '{"state": "running"}', "[1]"])
def test_without_a_readable_file_the_manifest_knows_what_earlier_sessions_cost(run, last):
    run.note(ledger={"judge": {"calls": 5, "gpu_seconds": 2.5}}, elapsed_s=60)
    if last is not None:
        run.path("progress.json").write_text(last)
    progress = Progress(run, "documents")
    assert progress.ledger() == {Role.JUDGE: Cost(5, gpu_seconds=2.5)}
    assert progress.hours >= 1 / 60


@pytest.mark.parametrize("ledger", ["x", {"nobody": {}}, {"judge": {"calls": "many"}}])
def test_a_damaged_ledger_counts_as_none(run, ledger):
    run.note(ledger=ledger)
    assert Progress(run, "documents").ledger() == {}


def test_counts_rates_and_facts_are_told(run):
    with Progress(run, "steps", 10) as progress:
        progress.watch(a_client(calls=3, running=2))
        progress.done = 4
        progress.begin()
        progress.advance(accepted=True)
        progress.advance(accepted=False)
        progress.failures["JudgeFailed"] += 1
        progress.facts["reward"] = 0.5
        now = progress.snapshot()
    assert (now.done, now.total, now.accepted, now.failures, now.facts) == (
        6,
        10,
        1,
        {"JudgeFailed": 1},
        {"reward": 0.5},
    )
    assert (now.in_flight, now.speeds[Role.JUDGE].in_flight) == ({"e": 2}, 2)
    assert now.rates["done_per_s"] > 0
    assert now.eta_s == 0
    assert now.host == socket.gethostname()


def test_a_reader_never_sees_half_a_file(run, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_S", 0.0005)
    end, seen = time.monotonic() + 0.3, []

    def watch() -> None:
        while time.monotonic() < end:
            seen.append(read_snapshot(run.folder))

    with Progress(run, "documents", 5) as progress:
        progress.failures.update({f"kind {i}": i for i in range(200)})
        readers = [threading.Thread(target=watch) for _ in range(3)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
    assert len(seen) > 50
    assert None not in seen


def block_writes(path: Path) -> None:
    """Put a folder in the place of the file that is written first; such a file may be there at the moment."""
    while not path.is_dir():
        with suppress(FileExistsError):
            path.mkdir()


def test_a_full_disk_does_not_end_what_tells_of_it(run, monkeypatch):
    monkeypatch.setattr(module, "_EVERY_S", 0.01)
    with Progress(run, "documents") as progress:
        run.path("progress.json").unlink()
        block_writes(run.path("progress.json.new"))
        time.sleep(0.05)
        run.path("progress.json.new").rmdir()
        while not run.path("progress.json").exists():
            time.sleep(0.005)
        assert progress._ticker.is_alive()


def test_gpu_hours_can_only_limit_what_is_counted():
    check_budget(Budget(gpu_hours=1), Models({"e": Endpoint("m", server=Server("w"))}))
    check_budget(Budget(hours=1), Models({"e": Endpoint("m")}))
    with pytest.raises(RecipeError, match=r"budget\.gpu_hours: no endpoint"):
        check_budget(Budget(gpu_hours=1), Models({"e": Endpoint("m", server=Server("w", on_cpu=True))}))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"), (3900, "1 h 05 min")]
)
def test_times_are_told_as_people_do(seconds, text):
    assert write_duration(seconds) == text


# ── the whole command ──


def count_ledger(run: Path, key: str) -> int:
    return sum(cost[key] for cost in read_manifest(run)["ledger"].values())


@pytest.mark.parametrize("limit", ["budget.calls=10", "budget.tokens=180", "budget.hours=0.0", "budget.usd=0.00018"])
def test_a_budget_stops_a_run_that_goes_on_when_it_is_raised(tmp_path, monkeypatch, capsys, limit):
    write_documents(tmp_path / "docs", count=2)
    run = tmp_path / "run"
    with fake_server(play_skills) as server:
        small = ("max_in_flight=2", "price.input=1", "price.output=1")  # 18 tokens of a call are 18,000 nano-dollars
        args = arguments(tmp_path, server.url, *(f"models.endpoints.small.{setting}" for setting in small))
        out = run_main(monkeypatch, capsys, [*args, limit])
        assert f"error: {limit} is reached" in out
        first = count_ledger(run, "calls")
        assert first <= 11  # one more may be under way
        assert len(server.requests) - 1 == first  # the probe is not ours
        assert read_snapshot(run).state is RunState.STOPPED
        out = run_main(monkeypatch, capsys, [*args, limit])  # the same again: nothing new is asked
        assert f"error: {limit} is reached" in out
        assert count_ledger(run, "calls") == first
        out = run_main(monkeypatch, capsys, [*args, limit.split("=")[0] + "=100000"])
        assert "of 2 documents" in out
        assert count_ledger(run, "calls") == len(server.requests) - 3
        assert len({json.dumps(body) for body in server.requests}) == len(server.requests) - 2  # nothing asked twice
    assert count_ledger(run, "nano_usd") == 18_000 * count_ledger(run, "calls")
    assert f"all roles {write_usd(read_snapshot(run).nano_usd)}" in out
    now = read_snapshot(run)
    assert (now.state, now.done, now.total, now.calls) == (RunState.FINISHED, 2, 2, count_ledger(run, "calls"))
    assert count_ledger(run, "replayed") >= 2 * first


def test_a_first_run_of_some_documents_is_not_paid_for_again(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs", count=3)
    prices = [f"models.endpoints.small.price.{kind}=1" for kind in ("input", "output")]
    with fake_server(play_skills) as server:
        args = arguments(tmp_path, server.url, *prices)
        first = tmp_path / "first"
        run_main(monkeypatch, capsys, [*args, "documents.limit=1", f"run={first}"])
        assert read_snapshot(first).nano_usd == 18_000 * (len(server.requests) - 1) > 0
        run_main(monkeypatch, capsys, [*args, f"fork={first}"])
    asked = [json.dumps(body) for body in server.requests]
    assert len(set(asked)) == len(asked) - 1  # only the probe was sent twice
    assert read_snapshot(tmp_path / "run").nano_usd == 18_000 * (len(asked) - 2) - read_snapshot(first).nano_usd


def test_a_run_counts_exactly_what_the_server_answered(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs", count=2)
    with fake_server(play_skills) as server:
        run_main(monkeypatch, capsys, arguments(tmp_path, server.url))
        solved = sum("response_format" not in body for body in server.requests) - 1  # the probe
        proposed = len(server.requests) - 1 - solved
    ledger = read_manifest(tmp_path / "run")["ledger"]
    assert ledger["challenger"]["calls"] == proposed
    assert ledger["weak_solver"]["calls"] + ledger["strong_solver"]["calls"] == solved
    assert all(cost["prompt_tokens"] == 11 * cost["calls"] for cost in ledger.values())
    assert all(cost["gpu_seconds"] is None for cost in ledger.values() if cost["calls"])
    now = read_snapshot(tmp_path / "run")
    assert (now.state, now.done, now.accepted) == (
        RunState.FINISHED,
        2,
        read_manifest(tmp_path / "run")["summary"]["accepted_documents"],
    )
    assert {role: cost.calls for role, cost in now.roles.items()} == {r: c["calls"] for r, c in ledger.items()}
