"""Tests that a run in several processes has result, progress, budget and errors of a run in one."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from autodata.config import RecipeError, load
from autodata.generate import count_processes
from autodata.recipes.domain import DomainConfig
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Budget, Endpoint, Models, RoleConfig
from autodata.run.folder import Run, read_manifest
from autodata.run.processes import SharedUse
from autodata.run.snapshot import RunState, read_snapshot
from autodata.serving.costs import Cost, find_spent_budget, measure_use
from autodata.serving.journal import read_replies
from autodata.serving.limits import divide_limits
from autodata.types import Role
from tests.helpers.fake_server import Scripted, fake_server, play_skills
from tests.test_generate import arguments, play_slowly, start, stored_seeds, wait_for, write_documents

WEAK, JUDGE = Role.WEAK_SOLVER, Role.JUDGE


def finish(process: subprocess.Popen[str]) -> str:
    """Return the output of a command once it has ended."""
    return process.communicate(timeout=120)[0]


def read(run: Path) -> tuple[bytes, dict]:
    return (run / "trajectories.jsonl").read_bytes(), read_manifest(run)


@pytest.mark.slow
def test_a_run_in_three_processes_is_the_run_of_one(tmp_path):
    write_documents(tmp_path / "docs", 50)
    with fake_server(play_skills) as server:
        assert start(arguments(tmp_path, server.url, run="whole")).wait() == 0
        calls = len(server.requests)
        three = start(arguments(tmp_path, server.url, "processes=3", run="three"))
        output = finish(three)
        assert three.returncode == 0, output
        assert len(server.requests) == 2 * calls, "the endpoint is probed once, by the parent"
        assert "up to date" in finish(start(arguments(tmp_path, server.url, "processes=3", run="three")))
        assert len(server.requests) == 2 * calls
    (whole, before), (three, after) = read(tmp_path / "whole"), read(tmp_path / "three")
    assert three == whole
    for key in ("inputs", "outputs", "counts", "summary", "models", "quarantined", "cost"):
        assert after[key] == before[key]
    assert {role: cost["calls"] for role, cost in after["ledger"].items()} == {
        role: cost["calls"] for role, cost in before["ledger"].items()
    }
    assert [session["counts"]["calls"] for session in after["sessions"]] == [calls - 1]
    replies = [sorted((r.content, r.model) for r, _ in read_replies(tmp_path / run / "journal.sqlite"))
               for run in ("whole", "three")]  # fmt: skip
    assert replies[0] == replies[1]
    now = read_snapshot(tmp_path / "three")
    assert (now.state, now.done, now.total, now.calls) == (RunState.FINISHED, 50, 50, calls - 1)
    assert now.accepted == before["summary"]["accepted_documents"]
    assert not (tmp_path / "three" / "shards").exists()
    assert "50 documents have an accepted candidate" in output
    assert "Started once, no interruption" in output


def go_on(args: list[str]) -> str:
    """Start the command again, once the processes of a parent that was killed have finished their calls."""
    while "another process works in it" in (output := finish(start(args))):
        pass
    return output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "lost"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, 32)])
def test_a_run_that_was_interrupted_repeats_no_stored_call(tmp_path, number, lost):
    """A kill -9 loses the calls in flight that have no reply yet: at most 4 documents with 8 attempts each."""
    write_documents(tmp_path / "docs", 32)
    with fake_server(play_slowly) as server:
        args = arguments(tmp_path, server.url, "processes=2", "documents_in_flight=4")
        process = start(args)
        wait_for(lambda: len(server.requests) > 30 or process.poll() is not None)
        process.send_signal(number)
        output = finish(process)
        if number != signal.SIGKILL:
            assert process.returncode == 1
            assert "stopping: calls in flight are finished" in output
            assert "not complete; run the same command again to resume" in output
            assert read_snapshot(tmp_path / "run").state is RunState.STOPPED
        assert "of 32 documents" in go_on(args)
        asked = [json.dumps(body, sort_keys=True) for body in server.requests if body["max_tokens"] != 1]
        assert len(asked) - len(set(asked)) <= lost
        assert start(arguments(tmp_path, server.url, run="whole")).wait() == 0
    assert read(tmp_path / "run")[0] == read(tmp_path / "whole")[0]


@pytest.mark.slow
def test_a_budget_holds_for_all_processes_together(tmp_path):
    write_documents(tmp_path / "docs", 32)
    with fake_server(play_skills) as server:
        args = arguments(tmp_path, server.url, "processes=2", "models.endpoints.small.max_in_flight=2")
        output = finish(start([*args, "budget.calls=40"]))
        assert "error: budget.calls=40 is reached" in output
        assert 40 <= len(server.requests) - 1 <= 43  # one call of each process may be under way
        calls = len(server.requests)
        assert "budget.calls=40 is reached" in finish(start([*args, "budget.calls=40"]))
        assert len(server.requests) == calls + 1
        assert "of 32 documents" in finish(start([*args, "budget.calls=100000"]))
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
        assert len(asked) - len(set(asked)) == 2  # only the probe was sent again
    assert sum(cost["calls"] for cost in read_manifest(tmp_path / "run")["ledger"].values()) == len(asked) - 3


def refuse_one(body: dict, count: int) -> Scripted:
    """Refuse every question about one document, which one of the processes works on."""
    if "careful3 engineers" in str(body["messages"]):
        return Scripted({"error": {"message": "not this one"}}, 400)
    return play_slowly(body, count)


@pytest.mark.slow
def test_a_process_that_fails_stops_the_others_and_is_quoted(tmp_path):
    write_documents(tmp_path / "docs", 32)
    with fake_server(refuse_one) as server:
        args = arguments(tmp_path, server.url, "processes=2", "max_error_rate=0.01")
        process = start(args)
        output = finish(process)
        assert process.returncode == 1
        assert "error: 1 of 16 documents failed" in output
        assert "not this one" in output
        assert "Traceback" not in output
        now = read_snapshot(tmp_path / "run")
        assert (now.state, now.failures) == (RunState.FAILED, {"RequestRefused": 1})
        assert now.done < 31, "the other process was stopped as well"
        server.script = play_slowly
        assert "of 32 documents" in finish(start(args))
    (error,) = map(json.loads, (tmp_path / "run" / "errors.jsonl").read_text().splitlines())
    assert error["document_id"] == "doc3.txt"


@pytest.mark.slow
def test_a_run_begun_by_one_process_goes_on_in_two(tmp_path):
    write_documents(tmp_path / "docs", 32)
    with fake_server(play_skills) as server:
        args = arguments(tmp_path, server.url)
        finish(start([*args, "budget.calls=40"]))
        calls = len(stored_seeds(tmp_path / "run"))
        process = start([*args, "processes=2"])
        assert "of 32 documents" in finish(process)
        asked = [json.dumps(body, sort_keys=True) for body in server.requests]
        assert calls and len(asked) - len(set(asked)) == 1


# ── its parts ──


def test_each_process_sees_what_all_have_used():
    use = SharedUse([{WEAK: Cost(calls=3, prompt_tokens=5)}, {}])
    first = {WEAK: Cost(calls=4, prompt_tokens=7)}
    assert use.add_up(0, measure_use(first)) == {"calls": 4, "tokens": 7, "gpu_hours": 0, "usd": 0}
    second = {JUDGE: Cost(calls=6, nano_usd=10**9)}
    assert use.add_up(1, measure_use(second)) == {"calls": 10, "tokens": 7, "gpu_hours": 0, "usd": 1}
    for limit, is_reached in ((10, True), (11, False)):
        spent = find_spent_budget(Budget(calls=limit), first, 0.0, lambda used: use.add_up(0, used))
        assert bool(spent) == is_reached


def test_limits_are_divided_among_processes():
    models = Models({"a": Endpoint("m", max_in_flight=100, requests_per_minute=60, tokens_per_minute=800.0),
                     "b": Endpoint("m"), "c": Endpoint("m", max_in_flight=2)})  # fmt: skip
    divided = divide_limits(models, 8).endpoints
    assert [divided[name].max_in_flight for name in "abc"] == [12, None, 1]
    assert (divided["a"].requests_per_minute, divided["a"].tokens_per_minute) == (7.5, 100.0)
    assert divided["b"].requests_per_minute is None
    assert models.endpoints["a"].max_in_flight == 100


@pytest.mark.parametrize(
    ("processes", "documents", "count"),
    [(1, 999, 1), (4, 15, 1), (4, 31, 1), (4, 32, 2), (4, 63, 3), (4, 64, 4), (4, 999, 4)],
)
def test_small_runs_get_fewer_processes(tmp_path, processes, documents, count):
    recipe = GenerateRecipe(run=str(tmp_path), processes=processes)
    with Run(str(tmp_path), "generate", recipe, {}) as run:
        assert count_processes(recipe, run, documents) == count


@pytest.mark.parametrize(("most", "count"), [(None, 4), (1, 1), (3, 3), (4, 4), (9, 4)])
def test_no_more_processes_start_than_calls_are_allowed_at_once(tmp_path, capsys, most, count):
    models = Models({"a": Endpoint("m", max_in_flight=most), "unused": Endpoint("m", max_in_flight=1)},
                    judge=RoleConfig("a"))  # fmt: skip
    recipe = GenerateRecipe(run=str(tmp_path), processes=4, models=models, domain=DomainConfig("cs", roles=["judge"]))
    with Run(str(tmp_path), "generate", recipe, {}) as run:
        assert count_processes(recipe, run, 999) == count
    said = capsys.readouterr().err
    assert (f"processes=4: {count} started" in said and f"max_in_flight={count}" in said) == (count < 4)


def test_another_number_of_processes_is_refused(tmp_path):
    recipe = GenerateRecipe(run=str(tmp_path), processes=4)
    (tmp_path / "shards" / "1_of_2").mkdir(parents=True)
    with Run(str(tmp_path), "generate", recipe, {}) as run:
        with pytest.raises(RecipeError, match=r"processes=4: .*shards has parts of a division by 2; set this number"):
            count_processes(recipe, run, 100)
        assert count_processes(recipe, run, 32) == 2
        recipe.processes = 1
        assert count_processes(recipe, run, 100) == 1, "shards made by hand are no part of this run"
        run.start()
        with run.session(dict), pytest.raises(RecipeError, match=r"processes=1: .* by 2; set this number"):
            count_processes(recipe, run, 100)


@pytest.mark.parametrize(
    ("settings", "message"),
    [(["processes=0"], "processes=0: must be at least 1"),
     (["processes=2", "journal=x.sqlite"], "leave out journal"),
     (["processes=2", "documents.shard=1/2"], "already one of several parts")],
)  # fmt: skip
def test_what_several_processes_cannot_share_is_refused(settings, message):
    with pytest.raises(RecipeError, match=message):
        load(GenerateRecipe, ["recipes/demo/generate.yaml", *settings])
