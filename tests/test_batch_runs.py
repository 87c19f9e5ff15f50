"""Tests the commands whose calls can wait with batches: their results are those of live calls."""

import json
import signal
import subprocess
import sys
import time

import pytest

from autodata.config import RecipeError, load, semantic_values
from autodata.judge_audit import audit
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import read_manifest
from autodata.serving.measured import EndpointClosed
from autodata.serving.wire import batches
from tests import test_judge_audit
from tests.helpers import commands
from tests.helpers.commands import find_failure
from tests.helpers.fake_batches import batch_server
from tests.helpers.fake_server import Scripted, completion, play_skills
from tests.helpers.recipes import MODELS
from tests.test_generate import arguments, run_main, write_documents
from tests.test_principia_bench import ROWS, evaluate, write
from tests.test_principia_bench import arguments as principia

pytestmark = pytest.mark.slow

AT_ONCE = "{quiet_s: 0.05, price_factor: 0.5}"


@pytest.fixture(autouse=True)
def _looks_are_frequent(monkeypatch):
    monkeypatch.setattr(batches, "_FIRST_LOOK_S", 0.01)


def judge_by_seed(body: dict, count: int) -> Scripted:
    if "response_format" not in body:
        return completion(f"Final answer: ${body['seed'] % 7}$")
    return completion(json.dumps({"reason": "so", "equivalent": body["seed"] % 3 == 0}))


@pytest.mark.slow
def test_an_evaluation_judged_in_batches_has_the_results_of_a_live_one(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "bench.jsonl", *[{**ROWS[0], "problem_statement": f"Which? {i}"} for i in range(6)])
    judge = "models.endpoints.other.batch=" + AT_ONCE
    with batch_server(judge_by_seed) as server:
        other = ["models.judge.endpoint=other", *(f"models.endpoints.other.{v}" for v in ("model=fake", "retries=0"))]
        other += [
            f"models.endpoints.other.base_url={server.url}",
            "models.endpoints.other.price={input: 2, output: 8}",
        ]
        for run, more in (("live", []), ("batched", [judge])):
            evaluate(monkeypatch, *principia(path, tmp_path / run, server.url, *other, *more))
        assert len(server.batched) == 12
        assert all("response_format" in body for body in server.batched)
    live, batched = (read_manifest(tmp_path / run) for run in ("live", "batched"))
    assert batched["outputs"] == live["outputs"]
    assert batched["inputs"] == live["inputs"]
    assert batched["ledger"]["judge"]["nano_usd"] * 2 == live["ledger"]["judge"]["nano_usd"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_evaluation_takes_up_its_batch(tmp_path, number):
    path = write(tmp_path / "bench.jsonl", *[{**ROWS[0], "problem_statement": f"Which? {i}"} for i in range(6)])
    with batch_server(judge_by_seed, looks=10**9) as server:
        other = ["models.judge.endpoint=other", *(f"models.endpoints.other.{v}" for v in ("model=fake", "retries=0"))]
        other += [f"models.endpoints.other.base_url={server.url}", "models.endpoints.other.batch={quiet_s: 1}"]
        command = [sys.executable, "-m", "autodata.eval.run", *principia(path, tmp_path / "run", server.url, *other)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while sum(server.provider.sizes) < 12:
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(number)
            assert process.wait(timeout=60) == (1 if number == signal.SIGINT else -number)
        posts, server.provider.looks = server.provider.posts, 1
        output = commands.run("autodata.eval.run", *command[3:])
        assert server.provider.posts == posts, "no call is sent a second time"
        assert len(server.batched) == 12, output
    assert '"unscored": 0' in output


@pytest.mark.slow
def test_an_audit_in_batches_has_the_results_of_a_live_one(tmp_path, monkeypatch):
    test_judge_audit.write_four(tmp_path)
    results = []
    for run, more in (("live", []), ("batched", ["models.endpoints.fake.batch=" + AT_ONCE])):
        panel = test_judge_audit.Panel(lambda ask: test_judge_audit.STORED)
        with batch_server(panel) as server:
            called = test_judge_audit.arguments(tmp_path, server.url, f"run={tmp_path / run}", *more)
            monkeypatch.setattr("sys.argv", ["judge_audit", *called])
            assert not find_failure(audit.main)
            assert bool(server.batched) == bool(more)
        results.append((tmp_path / run / "results.json").read_text())
    assert results[0] == results[1]


def test_baseline_documents_in_batches_are_those_of_live_calls(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs", 3)
    with batch_server(play_skills) as server:
        for run, more in (("live", []), ("batched", ["models.endpoints.small.batch=" + AT_ONCE])):
            run_main(monkeypatch, capsys, arguments(tmp_path, server.url, "arm=cot", *more, run=run))
        assert len(server.requests) == 2 * len(server.batched) + 2  # each command probes the server once
    live, batched = (tmp_path / run / "trajectories.jsonl" for run in ("live", "batched"))
    assert live.read_bytes() == batched.read_bytes()


def test_a_run_whose_batch_is_under_way_takes_no_other_recipe(tmp_path, monkeypatch, capsys):
    """The batch is paid for, so the run must end as it began, although it has stored nothing yet."""
    write_documents(tmp_path / "docs", 1)
    with batch_server(play_skills) as server:
        values = arguments(tmp_path, server.url, "arm=cot", "models.endpoints.small.batch=" + AT_ONCE)

        async def find_no_batch(self, batch):
            raise EndpointClosed("the key was revoked")

        with monkeypatch.context() as broken:
            broken.setattr(batches.Batches, "_look", find_no_batch)
            assert "the key was revoked" in run_main(broken, capsys, values)
        assert server.provider.posts == 1
        assert "was made from other inputs" in run_main(monkeypatch, capsys, [*values, "seed=9"])
        run_main(monkeypatch, capsys, values)
        assert len(server.batched) == len({json.dumps(body, sort_keys=True) for body in server.batched})


def test_the_loop_cannot_wait_for_batches(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs", 1)
    batch = "models.endpoints.small.batch={}"
    output = run_main(monkeypatch, capsys, arguments(tmp_path, "http://127.0.0.1:9/v1", batch))
    assert "models.endpoints.small.batch: each call of this command depends on the one before" in output
    load(GenerateRecipe, ["recipes/demo/generate.yaml", "arm=cot", batch])
    with pytest.raises(RecipeError, match=r"batch: each call of this command depends"):
        load(GrpoRecipe, ["recipes/cs/grpo.yaml", *MODELS["laptop"], "models.endpoints.small.batch={}"])


@pytest.mark.parametrize(
    ("value", "message"),
    [("{requests: 0}", "requests=0"), ("{requests: 50001}", "requests=50001"), ("{quiet_s: -1}", "quiet_s must be"),
     ("{price_factor: -0.5}", "price_factor and")],
)  # fmt: skip
def test_wrong_values_of_a_batch_name_their_key(value, message):
    with pytest.raises(RecipeError, match=message):
        load(GenerateRecipe, ["recipes/demo/generate.yaml", "arm=cot", f"models.endpoints.small.batch={value}"])


def test_a_batch_is_no_part_of_a_runs_identity():
    recipe = ["recipes/demo/generate.yaml", "arm=cot"]
    plain, batched = (load(GenerateRecipe, recipe + more) for more in ([], ["models.endpoints.small.batch={}"]))
    assert semantic_values(plain) == semantic_values(batched)
