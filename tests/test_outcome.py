"""Tests what `reproduce --local` shows: the line of a step, what a log tells, and the lines at the end."""

import json
import logging
import os
import sys
import time
import warnings
import zipfile
from contextlib import chdir, suppress
from pathlib import Path

import pytest

from autodata.config import REPO
from autodata.corpora.documents import read_corpus
from autodata.generate import hash_corpus
from autodata.recipes.evaluation import TableRow
from autodata.recipes.generation import GenerateRecipe
from autodata.reproduce.graph import Step, build
from autodata.reproduce.local import published
from autodata.reproduce.local.logs import Log
from autodata.reproduce.local.outcome import describe_outcome, tell_held_out, tell_where
from autodata.reproduce.local.screen import Screen, describe_progress
from autodata.reproduce.request import Request, read_request
from autodata.run.logs import keep_logs
from autodata.run.snapshot import FILE, SNAPSHOT, RunState, Snapshot

SNAPSHOT_OF = {
    "kind": "generate",
    "started": "",
    "updated": "",
    "unit": "documents",
    "elapsed_s": 9.0,
    "calls": 0,
    "tokens": 0,
    "roles": {},
    "speeds": {},
    "in_flight": {},
    "failures": {},
    "facts": {},
    "pid": 1,
    "host": "h",
}


def make_snapshot(
    done: int = 18, total: int = 24, rate: float = 0.14, eta: int | None = 43, accepted=None
) -> Snapshot:
    how_far = {"done": done, "total": total, "accepted": accepted, "rates": {"done_per_s": rate}, "eta_s": eta}
    return Snapshot(**SNAPSHOT_OF, **how_far, state=RunState.RUNNING)


# ── the line of a step ──


@pytest.mark.parametrize(("snapshot", "line"), [
    (make_snapshot(), "18/24 documents, 8.4/min, 43 s left"),
    (make_snapshot(rate=2.0), "18/24 documents, 2.0/s, 43 s left"),
    (make_snapshot(24, eta=0), "24/24 documents, 8.4/min"), (make_snapshot(0, 0, 0.0, None), "running"),
    (make_snapshot(7, 0, 0.0, None), "7 documents"), (make_snapshot(2, 24, 0, None, 1), "2/24 documents, 1 accepted"),
])  # fmt: skip
def test_a_step_tells_how_far_it_is_how_fast_and_how_long_it_takes(snapshot, line):
    assert describe_progress(snapshot) == line


class Terminal:
    """Stands for a terminal on which stdout is shown."""

    def __init__(self, monkeypatch):
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        monkeypatch.setattr(sys, "stdout", os.fdopen(slave, "w"))
        for name, value in (("TERM", "xterm"), ("COLUMNS", "100")):
            monkeypatch.setenv(name, value)

    def read(self) -> str:
        sys.stdout.flush()
        chunks = []
        with suppress(BlockingIOError):
            while True:
                chunks.append(os.read(self._master, 1 << 20))
        return b"".join(chunks).decode()


def test_a_terminal_shows_one_line_and_forgets_it(monkeypatch, tmp_path):
    terminal = Terminal(monkeypatch)
    run = tmp_path / "run"
    run.mkdir()
    with Screen(11) as screen:
        screen.begin(2, "generate runs/demo/agentic", run)
        time.sleep(0.01)
        (run / FILE).write_bytes(SNAPSHOT.dump_json(make_snapshot()))
        screen._live.refresh()
        screen.note("starting the servers")
        screen._live.refresh()
    shown = terminal.read()
    assert "step 2 of 11 generate runs/demo/agentic" in shown
    assert "18/24 documents, 8.4/min, 43 s left" in shown
    assert "starting the servers" in shown
    assert shown.count("\n") <= 1, "the line is written over"


def test_progress_of_an_earlier_session_is_not_shown(monkeypatch, tmp_path):
    terminal = Terminal(monkeypatch)
    (tmp_path / FILE).write_bytes(SNAPSHOT.dump_json(make_snapshot()))
    os.utime(tmp_path / FILE, (1, 1))
    with Screen(1) as screen:
        screen.begin(1, "generate runs/x", tmp_path)
        screen._live.refresh()
    shown = terminal.read()
    assert "starting" in shown
    assert "18/24" not in shown


# ── the log of a step ──


def write_log(folder: Path, *sessions: str) -> Log:
    for text in sessions:
        with Log.of(folder, 3, "dataset runs/demo/dataset").open(["python"]) as (log, file):
            file.write(text.encode())
    return log


def test_each_step_has_a_log(tmp_path):
    assert write_log(tmp_path, "x").path == tmp_path / "logs" / "03-dataset-dataset.log"
    assert Log.of(tmp_path, 11, "tables runs/demo/table9.md").path.name == "11-tables-table9.log"


@pytest.mark.parametrize(("text", "end"), [
    ("a\nerror: no\n  more\nTraceback (most recent call last):\nof the launcher\n", "  error: no\n    more"),
    ("error: first\nerror: last\n", "  error: last"),
    ("Traceback (most recent call last):\nKeyError: 1\n", "  Traceback (most recent call last):\n  KeyError: 1"),
    ("\x1b[31mred\x1b[0m\rbar 1\rbar 2\n", "  [31mred[0m\n  bar 1\n  bar 2"), ("", ""),
    ("".join(f"{n}\n" for n in range(99)), "\n".join(f"  {n}" for n in range(84, 99))),
])  # fmt: skip
def test_the_end_of_a_log_says_why_a_step_failed(tmp_path, text, end):
    assert write_log(tmp_path, "error: of an earlier session\n", text).tell_end() == end


def test_warnings_of_this_project_are_shown_once_and_those_of_libraries_are_not(tmp_path):
    ours = [f"WARNING autodata.training: {n}" for n in (1, 1, 2, 3, 4)]
    log = write_log(tmp_path, "WARNING autodata.old: x\n", "\n".join(["WARNING torch: noise", *ours, "warning: late"]))
    assert log.list_warnings() == [ours[0], *ours[2:4]]


def test_what_libraries_log_is_kept_in_the_run_and_only_what_matters_is_shown(tmp_path, capsys):
    with keep_logs(tmp_path / "run"):
        logging.getLogger("library.part").warning("noise")
        logging.getLogger("library").error("it broke")
        logging.getLogger("autodata.training").warning("no examples")
        warnings.warn("deprecated", stacklevel=1)
    logging.getLogger("library.part").warning("afterwards")
    kept, shown = (tmp_path / "run" / "log.txt").read_text(), capsys.readouterr().err
    assert all(text in kept for text in ("noise", "it broke", "no examples", "deprecated"))
    assert shown.splitlines()[:2] == ["ERROR library: it broke", "WARNING autodata.training: no examples"]
    assert "noise" not in shown
    assert "afterwards" not in kept


def test_other_processes_of_a_training_have_logs_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    with keep_logs(tmp_path):
        logging.getLogger("x").warning("noise")
    assert [path.name for path in tmp_path.iterdir()] == ["log_3.txt"]


# ── the lines at the end ──


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> tuple[Request, list[Step]]:
    with chdir(REPO):
        request = read_request(["recipes/demo", f"runs={tmp_path_factory.mktemp('graph')}"], "paper")
        return request, build(request)


@pytest.fixture
def demo(graph, monkeypatch) -> tuple[Request, list[Step]]:
    """Make finished runs of the demo's graph, without what no line is made of."""
    monkeypatch.chdir(REPO)
    request, steps = graph
    runs = Path(request.runs) / "demo"
    for name, facts in make_facts(hash_corpus(read_corpus(steps[0].recipe.documents.path))).items():
        (runs / name).mkdir(parents=True, exist_ok=True)
        (runs / name / "manifest.json").write_text(json.dumps({"finished": "today", **facts}))
    write_files(runs)
    return request, steps


def make_facts(corpus: str) -> dict[str, dict]:
    def generate(accepted: int, first: int, rounds: int) -> dict:
        summary = {"accepted_documents": accepted, "accepted_in_round_1": [first, 24], "rounds": rounds}
        return {"inputs": {"corpus": corpus}, "summary": summary}

    grpo = {"steps": 40, "reward_first_quarter": 0.2125, "reward_last_quarter": 0.5}
    rest = {name: {} for name in ("dataset", "eval_base", "eval_trained")}
    return {"agentic": generate(20, 2, 174), "cot": generate(0, 0, 384), "grpo": grpo, **rest}


def write_files(runs: Path) -> None:
    (runs / "dataset" / "examples.jsonl").write_text('{"id": "1", "provenance": {"run": "here"}}\n')
    for name, scores in {"eval_base": (0.0, 0.0, 1.0), "eval_trained": (1.0, 0.0, 1.0)}.items():
        answers = [
            {"task": "cot_test", "example": str(n), "document": f"d{n}", "epoch": 1, "score": score}
            | {"outcome": "answered", "has_answer": True, "tokens": 1}
            for n, score in enumerate(scores)
        ]
        (runs / name / "answers.jsonl").write_text("\n".join(map(json.dumps, answers)) + "\n")
        result = {"cot_test": {"mean": {"value": sum(scores) / 3}}}
        (runs / name / "results.json").write_text(json.dumps(result))


def test_the_end_tells_what_was_accepted_learned_and_gained(demo):
    accepted, reward, held_out = describe_outcome(demo[1])
    gate = "20 of 24 documents with the loop, 2 of 24 with its first round alone; the gate is the same"
    assert accepted == f"accepted   {gate}"
    assert reward == "reward     0.212 in the first quarter of 40 training steps, 0.500 in the last"
    assert held_out.startswith("held out   0.333 before, 0.667 after: +0.333 [")
    assert ", p 1.0000" in held_out
    assert held_out.endswith("(cot_test, 3 questions)")


def test_where_to_look_names_the_page_and_the_last_evaluation(demo):
    text = tell_where(demo[1], Path("runs/demo/index.html"))
    assert text.startswith("look at    runs/demo/index.html; every answer: ")
    assert text.endswith(f"inspect view --log-dir {demo[0].runs}/demo/eval_trained/logs")


def test_models_that_share_no_set_are_not_compared(demo):
    runs = Path(demo[0].runs) / "demo"
    text = (runs / "eval_base" / "answers.jsonl").read_text().replace("cot_test", "other")
    (runs / "eval_base" / "answers.jsonl").write_text(text)
    rows = [TableRow(label=name, run=str(runs / name)) for name in ("eval_base", "eval_trained")]
    assert not list(tell_held_out(rows))
    assert not list(tell_held_out([TableRow(label="none", run=""), *rows])), "there is nothing to compare with"
    assert not list(tell_held_out([]))


# ── the published numbers ──


@pytest.fixture
def compared(demo, tmp_path, monkeypatch):
    """Publish the numbers of the demo's runs; compare() then compares them with what lies there."""
    request, steps = demo
    made = [step for step in steps if isinstance(step.recipe, published._KINDS)]
    settings = {published.name_run(step, request): published.identify(step, request) for step in made}
    (tmp_path / published.FILE).write_text(
        json.dumps({"settings": settings, "numbers": published.measure(made, request)})
    )
    here = Request((tmp_path / "table.yaml",), "demo", runs=request.runs)
    return lambda chosen=steps: published.compare_published(here, chosen)


def change(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_equal_numbers_are_the_published_ones(compared, demo):
    change(Path(demo[0].runs) / "demo" / "dataset" / "examples.jsonl", "here", "elsewhere")  # the run's name
    assert compared() == "yes, all 9 numbers are equal to those of the published run, to the last digit"
    assert compared(demo[1][:2]).startswith("yes, all 4 numbers"), "a part of the graph has its part of the numbers"


def test_a_number_that_differs_is_named(compared, demo):
    change(Path(demo[0].runs) / "demo" / "grpo" / "manifest.json", "0.5", "0.4875")
    expected = "no, 1 of 9 numbers differ: runs/demo/grpo: reward in the last quarter 0.4875, published 0.5"
    assert compared() == expected
    change(Path(demo[0].runs) / "demo" / "dataset" / "examples.jsonl", '"1"', '"2"')
    assert compared().startswith("no, 2 of 9 numbers differ: runs/demo/dataset: hash of all rows ")


def test_other_documents_or_settings_are_not_compared(compared, demo):
    request, steps = demo
    more = build(read_request(["recipes/demo", f"runs={request.runs}", "trainer.max_steps=20"], "paper"))
    assert compared(more).startswith("not compared with the published run")
    for name in ("agentic", "cot"):
        manifest = Path(request.runs) / "demo" / name / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"inputs": {"corpus": "mine"}}))
    assert compared(steps).startswith("not compared with the published run, which has other documents")


def test_where_nothing_is_published_nothing_is_said(demo, tmp_path):
    assert published.compare_published(Request((tmp_path / "t.yaml",), "t", runs=demo[0].runs), demo[1]) is None


def test_the_published_numbers_are_those_of_the_shipped_demo_and_of_its_pack(demo):
    """If the demo has changed: make it, then `python -m autodata.reproduce.local.published recipes/demo`."""
    request, steps = demo
    kept = json.loads((REPO / "recipes/demo" / published.FILE).read_text())
    made = [step for step in steps if isinstance(step.recipe, published._KINDS)]
    assert kept["settings"] == {published.name_run(step, request): published.identify(step, request) for step in made}
    with zipfile.ZipFile(REPO / "docs/packs/demo.zip") as pack:
        training = json.loads(pack.read("grpo/manifest.json"))
    for when in ("first", "last"):
        assert kept["numbers"][f"runs/demo/grpo: reward in the {when} quarter"] == training[f"reward_{when}_quarter"]
    register = (REPO / "RUNS.md").read_text()
    for run, label in (("eval_base", "SmolLM2-135M"), ("eval_trained", "SmolLM2-135M + RL on agentic data")):
        assert f"{label}, cot_test: {kept['numbers'][f'runs/demo/{run}: mean score on cot_test']:.3f} [" in register


def test_the_first_steps_of_the_demo_are_generations(demo):
    assert [type(step.recipe) for step in demo[1][:2]] == [GenerateRecipe] * 2
