"""Tests the command as its user runs it, killed and resumed, against a deterministic scripted server."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autodata import dataset
from autodata import generate as module
from autodata.config import load
from autodata.data.examples import make_example, read_arm
from autodata.recipes.generation import GenerateRecipe
from autodata.report.index import report
from autodata.run.folder import Run
from autodata.run.records import RunError, read_records
from autodata.serving.journal import read_replies
from autodata.types import EXAMPLE, TRAJECTORY
from autodata.verify import verify
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import Scripted, completion, fake_server, play_skills

pytestmark = pytest.mark.slow

SENTENCE = "The {a} engineers of {b} measured a {c} improvement over every earlier harbour system."


def write_documents(folder: Path, count: int = 6) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(count):
        lines = [SENTENCE.format(a=f"careful{i}", b=f"town{j}", c=f"steady{j}") for j in "abc"]
        (folder / f"doc{i}.txt").write_text(" ".join(lines))
    return folder


def arguments(tmp_path: Path, url: str, *more: str, run: str = "run") -> list[str]:
    models = [
        "models.endpoints.small.model=fake",
        "models.endpoints.small.server=null",
        f"models.endpoints.small.base_url={url}",
        "models.endpoints.small.retries=0",
    ]
    return [
        "recipes/demo/generate.yaml",
        f"run={tmp_path / run}",
        f"documents.path={tmp_path / 'docs'}",
        "domain.max_rounds=4",
        *models,
        *more,
    ]


def start(args: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autodata.generate", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_main(monkeypatch, capsys, args: list[str]) -> str:
    """Run the command in this process and return its output and its error."""
    monkeypatch.setattr(sys, "argv", ["generate", *args])
    failure = find_failure(module.main)
    return capsys.readouterr().out + failure


def examples_of(run: Path) -> list[bytes]:
    arm = read_arm("agentic", str(run))
    examples = [make_example(arm, *chosen, "unknown") for chosen in arm.list_chosen()]
    return [EXAMPLE.dump_json(replace(e, provenance=replace(e.provenance, run=""))) for e in examples]


def play_slowly(body: dict, count: int) -> Scripted:
    """Put the request's seed into each reply, so that the journal shows which calls it holds."""
    body_out = play_skills(body, count).body | {"model": str(body.get("seed"))}
    return Scripted(body_out, delay_s=0.02)


def stored_seeds(run: Path) -> set[str]:
    return {reply.model for reply, _ in read_replies(run / "journal.sqlite")}


@pytest.mark.slow
def test_kill_nine_anywhere_gives_the_same_examples_and_repeats_no_stored_call(tmp_path):
    write_documents(tmp_path / "docs")
    chance = random.Random(7)
    with fake_server(play_slowly) as server:
        assert start(arguments(tmp_path, server.url, run="straight")).wait() == 0
        expected, calls = examples_of(tmp_path / "straight"), len(server.requests)
        args = arguments(tmp_path, server.url, "models.endpoints.small.max_in_flight=4")
        known: set[str] = set()
        for _ in range(5):
            server.requests.clear()
            process, until = start(args), chance.randint(calls // 15, calls // 7)
            wait_for(lambda: len(server.requests) >= until or process.poll() is not None)  # noqa: B023
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not known & {str(r.get("seed")) for r in server.requests}
            known = stored_seeds(tmp_path / "run")
        server.requests.clear()
        assert start(args).wait() == 0
        assert not known & {str(r.get("seed")) for r in server.requests}
    assert len(known) > 20
    assert len(expected) > 0
    assert examples_of(tmp_path / "run") == expected


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_crash_at_every_journal_point_repeats_no_stored_call(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs", count=1)
    args = arguments(tmp_path, "URL", "models.endpoints.small.max_in_flight=1", "domain.max_rounds=2")
    stored, sent = [], []

    class Crash(BaseException):
        pass

    def script(body, count):
        sent.append(json.dumps(body, sort_keys=True))
        return play_skills(body, count)

    put = module.Journal.put

    async def put_and_crash(self, key, reply):
        await put(self, key, reply)
        stored.append(key)
        raise Crash

    monkeypatch.setattr(module.Journal, "put", put_and_crash)
    with fake_server(script) as server:
        args = [a.replace("URL", server.url) for a in args]
        for _ in range(100):
            try:
                out = run_main(monkeypatch, capsys, args)
                break
            except (Crash, BaseExceptionGroup):
                continue
    assert "of 1 documents" in out
    assert len(stored) == len(set(stored)) > 8


def test_running_again_is_up_to_date_and_other_inputs_are_refused(tmp_path, monkeypatch, capsys):
    docs = write_documents(tmp_path / "docs", count=2)
    with fake_server(play_skills) as server:
        args = arguments(tmp_path, server.url)
        assert "of 2 documents" in run_main(monkeypatch, capsys, args)
        calls = len(server.requests)
        assert "up to date" in run_main(monkeypatch, capsys, args)
        assert "up to date" in run_main(monkeypatch, capsys, [*args, "documents_in_flight=3"])
        refused = run_main(monkeypatch, capsys, [*args, "seed=1"])
        assert "seed: 0 → 1" in refused
        assert "fork=" in refused
        (docs / "doc0.txt").write_text("A changed text of quite another length stands here now.")
        assert "corpus:" in run_main(monkeypatch, capsys, args)
        assert len(server.requests) == calls
        forked = arguments(tmp_path, server.url, f"fork={tmp_path / 'run'}", run="forked")
        run_main(monkeypatch, capsys, forked)
        counts = json.loads((tmp_path / "forked" / "manifest.json").read_text())["counts"]
        assert counts["replayed"] > 0
        assert (tmp_path / "run" / "recipe.yaml").exists()


def test_an_endpoint_that_fails_stops_the_run_and_a_repaired_one_completes_it(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs")
    broken = lambda b, c: completion("x") if c == 1 else Scripted({"error": "x"}, 503)  # noqa: E731
    with fake_server(broken) as server:
        output = run_main(monkeypatch, capsys, arguments(tmp_path, server.url))
    assert "more than max_error_rate" in output or "ended without an answer (error" in output  # either comes first
    assert "HTTP 503" in output
    with fake_server(play_skills) as server:
        assert "of 6 documents" in run_main(monkeypatch, capsys, arguments(tmp_path, server.url))


def test_a_down_endpoint_is_named_before_any_work(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs")
    output = run_main(monkeypatch, capsys, arguments(tmp_path, "http://127.0.0.1:9/v1"))
    assert "http://127.0.0.1:9/v1" in output


@pytest.mark.slow
def test_ctrl_c_finishes_calls_under_way_and_keeps_them(tmp_path):
    write_documents(tmp_path / "docs")
    slow = lambda body, count: Scripted(play_skills(body, count).body, delay_s=0.05)  # noqa: E731
    with fake_server(slow) as server:
        process = start(arguments(tmp_path, server.url, "models.endpoints.small.max_in_flight=4"))
        wait_for(lambda: len(server.requests) > 8)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
        sent = len(server.requests)
    assert process.returncode != 0
    assert "calls in flight are finished" in out
    assert "run the same command again" in out
    journal = module.Journal(tmp_path / "run" / "journal.sqlite")
    kept = journal._reader.execute("SELECT count(*) FROM replies").fetchone()[0]
    journal.close()
    assert kept == sent - 1  # all but the probe's


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("arm=other", "choose one of agentic, cot, best_of_n"),
        ("domain.preset=strict", "choose one of just_right, wide"),
        ("domain.name=nope", "there are cs, legal"),
        ("orchestrator=llm", "orchestrator=llm: choose one of fixed, agent"),
        ("domain.rubric_shape=round", "domain.rubric_shape=round: choose one of"),
        ("arm=best_of_n", "budget_from"),
        ("budget_from=runs/x", "budget_from"),
        ("documents.path=nowhere", "documents.path=nowhere: no such file"),
        ("journal=/proc/none/j", "journal"),
        ("models.endpoints.small.structured_output=yaml", "structured_output=yaml: choose one of json_schema"),
        ("models.endpoints.small.tool_choice=always", "tool_choice=always: choose one of required, auto, none"),
        ("models.weak_solver.endpoint=big", "not in models.endpoints"),
    ],
)
def test_wrong_values_name_their_key(tmp_path, monkeypatch, capsys, change, message):
    write_documents(tmp_path / "docs", 1)
    assert message in run_main(monkeypatch, capsys, arguments(tmp_path, "http://127.0.0.1:9/v1", change))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["proposals=0"], "proposals=0: must be at least 1"),
        (["proposals=2"], "proposals=2: only arm=cot has this key; leave it out for arm=agentic"),
        (["arm=cot", "proposals=5"], "proposals=5: more than domain.max_rounds=4 allows"),
    ],
)
def test_proposals_that_the_arm_cannot_make_are_refused(tmp_path, monkeypatch, capsys, values, message):
    write_documents(tmp_path / "docs", 1)
    assert message in run_main(monkeypatch, capsys, arguments(tmp_path, "http://127.0.0.1:9/v1", *values))
    assert not (tmp_path / "run").exists()


def test_all_proposals_of_the_baseline_become_examples_of_a_held_out_set(tmp_path, monkeypatch, capsys):
    write_documents(tmp_path / "docs")
    with fake_server(play_skills) as server:
        out = run_main(monkeypatch, capsys, arguments(tmp_path, server.url, "arm=cot", "proposals=4"))
    assert "6 documents" in out and "24 rounds" in out
    trajectories = read_records(tmp_path / "run" / "trajectories.jsonl", TRAJECTORY)
    measured = {(t.document_id, r.candidate.hash) for t in trajectories for r in t.rounds if r.weak and r.strong}
    assert len(measured) > len(trajectories)

    lines = ["decontaminate: []", "test_fraction: 1", "filters: {per_document: 4, near_duplicate: 1}"]
    (tmp_path / "dataset.yaml").write_text("\n".join(lines))
    folders = [f"run={tmp_path / 'set'}", f"arms.cot={tmp_path / 'run'}"]
    monkeypatch.setattr(sys, "argv", ["dataset", str(tmp_path / "dataset.yaml"), *folders])
    assert find_failure(dataset.main) == ""
    examples = read_records(tmp_path / "set" / "examples.jsonl", EXAMPLE)
    assert {(e.document_id, e.candidate_hash) for e in examples} == measured
    assert {e.split for e in examples} == {"test"}
    assert json.loads((tmp_path / "set" / "statistics.json").read_text())["cot"]["rounds"] == 1
    assert verify(tmp_path / "set") == (len(examples), [])
    assert "independent proposals per document" in report(tmp_path / "run").read_text()
    assert report(tmp_path / "set").exists()


def test_a_second_process_is_refused(tmp_path):
    write_documents(tmp_path / "docs", 1)
    recipe = load(GenerateRecipe, arguments(tmp_path, "http://127.0.0.1:9/v1"))
    run = Run(recipe.run, "generate", recipe, {})
    with pytest.raises(RunError, match="another process works in it"):
        Run(recipe.run, "generate", recipe, {})
    run.close()


def test_a_full_disk_is_a_message(tmp_path):
    recipe = load(GenerateRecipe, arguments(tmp_path, "http://127.0.0.1:9/v1"))
    run = Run(recipe.run, "generate", recipe, {})
    os.symlink("/dev/full", tmp_path / "run" / "full.jsonl")
    with pytest.raises(RunError, match=r"(outside the run folder|No space left)"):
        run.append("full.jsonl", b"x")
    with pytest.raises(RunError, match="outside the run folder"):
        run.write("../escape", "x")
    run.close()
