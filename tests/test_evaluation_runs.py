"""Tests evaluations as processes: killed half way, and the whole suite on the embedded model through real vLLM."""

import json
import signal
import subprocess
import sys
import time

import pytest

from autodata.eval.sampled_answers import ANSWERS, PRBENCH, RESULTS
from autodata.serving.journal import read_replies
from tests.helpers.commands import run, run_at_once
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.training_world import make_dataset
from tests.test_principia_bench import ROWS, arguments, write

pytestmark = pytest.mark.slow
PROBLEMS = [{**ROWS[i % 3], "problem_statement": f"{ROWS[i % 3]['problem_statement']} ({i})"} for i in range(12)]


def slowly(body: dict, count: int) -> Scripted:
    """Script judges that reply no after a pause."""
    text = str(body["messages"])
    content = json.dumps({"reason": "so", "equivalent": False}) if "equivalent" in text else "Final answer: none"
    reply = completion(content)
    reply.delay_s = 0.05
    return reply


def test_a_killed_evaluation_repeats_no_sample_and_no_grade(tmp_path):
    path = write(tmp_path / "bench.jsonl", *PROBLEMS)
    more = ("models.endpoints.fake.max_in_flight=2", "samples=3")
    with fake_server(slowly) as server:
        run("autodata.eval.run", *arguments(path, tmp_path / "whole", server.url, *more))
        calls = len(server.requests)
        command = [sys.executable, "-m", "autodata.eval.run", *arguments(path, tmp_path / "run", server.url, *more)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while len(server.requests) < calls + calls // 2:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        stored = sum(1 for _ in read_replies(tmp_path / "run" / "journal.sqlite"))
        before = len(server.requests)
        run("autodata.eval.run", *arguments(path, tmp_path / "run", server.url, *more))
        after = len(server.requests) - before
    assert 0 < stored < calls - 1
    assert after == calls - stored, "what was stored is not asked again"
    for name in (RESULTS, ANSWERS):
        assert (tmp_path / "run" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_ctrl_c_leaves_an_evaluation_unfinished(tmp_path):
    path = write(tmp_path / "bench.jsonl", *PROBLEMS)
    with fake_server(slowly) as server:
        called = arguments(path, tmp_path / "run", server.url, "models.endpoints.fake.max_in_flight=1", "samples=3")
        command = [sys.executable, "-m", "autodata.eval.run", *called]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while len(server.requests) < 5:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            errors = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert "not complete; run the same command again to resume" in errors
        assert "up to date" not in run("autodata.eval.run", *called)
    assert json.loads((tmp_path / "run" / RESULTS).read_text())


@pytest.mark.vllm
def test_every_task_runs_on_the_embedded_model(server, tmp_path):
    """A 135M model answers and grades nothing well; the test checks that every reply has a defined outcome."""
    roles = [server, "models.judge.sampling.max_tokens=64"]
    small = ["label=SmolLM2-135M", "evaluated={weights: embedded, endpoint: small, sampling: {max_tokens: 16}}"]
    lenient = ["max_failures=1", "max_unmeasured=1"]  # its judgements are seldom readable
    dataset = make_dataset(tmp_path / "dataset", train=1, test=1)
    run_at_once(
        (
            "autodata.eval.run",
            "recipes/cs/eval_base.yaml",
            "recipes/models/laptop.yaml",
            f"run={tmp_path}/cs",
            f"dataset={dataset}",
            "samples=2",
            *lenient,
            *roles,
            *small,
        ),
        (
            "autodata.eval.run",
            "recipes/science/eval_base.yaml",
            "recipes/models/laptop.yaml",
            f"run={tmp_path}/science",
            "dataset=null",
            "principia.path=recipes/science/principia_sample",
            "samples=2",
            *lenient,
            *roles,
            *small,
        ),
        (
            "autodata.eval.run",
            "recipes/legal/prbench_base.yaml",
            "recipes/models/laptop.yaml",
            f"run={tmp_path}/prbench_run",
            "prbench.path=recipes/legal/prbench_sample",
            "prbench.splits=[legal]",
            "samples=1",
            *lenient,
            *roles,
            *small,
            "graders.kimi=null",
            "graders.smollm2_135m=${models.judge}",
        ),
        (
            "autodata.eval.question_types",
            "recipes/science/question_types.yaml",
            "recipes/models/laptop.yaml",
            f"run={tmp_path}/types",
            f"dataset={dataset}",
            *roles,
        ),
    )
    evaluations = [json.loads((tmp_path / name / RESULTS).read_text()) for name in ("cs", "science")]
    assert [set(tasks) for tasks in evaluations] == [{"cot_test", "agentic_test"}, {"principia_bench"}]
    assert all(
        tasks["k"] == 2 and tasks["truncation_rate"] > 0 for results in evaluations for tasks in results.values()
    )
    (legal,) = json.loads((tmp_path / "prbench_run" / PRBENCH).read_text()).values()
    graded = legal["graders"]["smollm2_135m"]
    assert graded["tasks"] == 2
    assert graded["scored"] + graded["unresolved"] > 0
    types = json.loads((tmp_path / "types" / RESULTS).read_text())
    assert types["labelled"] + types["unlabelled"] == 2
    shown = (("table2", "cs"), ("table6", "science"), ("table4", "prbench_run"), ("table11", "types"))
    texts = run_at_once(
        *(
            (
                "autodata.eval.tables",
                f"recipes/tables/{name}.yaml",
                f"runs={tmp_path}/tables",
                f"rows=[{{label: {label}, run: {tmp_path}/{folder}, command: none}}]",
            )
            for name, folder in shown
            for label in ["SmolLM2-135M"]
        )
    )
    assert not any("no finished run" in text for text in texts)
