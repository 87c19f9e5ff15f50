"""Tests that `verify` finds every harmful change of a dataset."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autodata import dataset, generate, verify
from autodata.config import load
from autodata.recipes.generation import GenerateRecipe
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import a_round, candidate, demo_recipe, simple, trajectory, write_run
from tests.helpers.fake_server import fake_server, play_skills

pytestmark = pytest.mark.slow

DEMO, COT = demo_recipe(), demo_recipe("arm=cot")
Row = dict[str, Any]


def call(monkeypatch, command: Any, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    return find_failure(command.main)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch, capsys) -> Path:
    """Write a dataset of three agentic examples and one of the baseline, which was not accepted."""
    return build(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Write the dataset once, for tests that undo their changes."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return build(monkeypatch, tmp_path_factory.mktemp("shared"))


def build(monkeypatch, tmp_path: Path) -> Path:
    runs = [
        write_run(tmp_path / "agentic", DEMO, *(simple(f"d{i}", f"what is {i}?", DEMO) for i in range(3))),
        write_run(tmp_path / "cot", COT, simple("c", "what now?", COT, "cot", weak=8)),
    ]
    return make(monkeypatch, tmp_path, *runs)


def make(monkeypatch, tmp_path: Path, *runs: str) -> Path:
    arms = [f"arms.{Path(run).name}={run}" for run in runs]
    alone = [] if len(runs) == 2 else [f"arms={{agentic: {runs[0]}}}"]
    recipe = tmp_path / "dataset.yaml"
    recipe.write_text("decontaminate: []\nfilters: {reference_answer: false}\n")
    assert call(monkeypatch, dataset, str(recipe), f"run={tmp_path / 'd'}", *(alone or arms)) == ""
    return tmp_path / "d"


def test_what_was_verified_is_said_in_the_folder(folder, monkeypatch, capsys):
    assert not verify.was_verified(folder)
    assert call(monkeypatch, verify, str(folder)) == ""
    assert verify.was_verified(folder)
    (folder / verify.VERIFIED).write_text("[]")
    assert not verify.was_verified(folder)


def test_a_data_set_with_a_mismatch_was_not_verified(folder, monkeypatch, capsys):
    path = folder / "examples.jsonl"
    path.write_text(path.read_text().replace("{", "{ ", 1))
    assert "mismatch" in call(monkeypatch, verify, str(folder))
    assert not verify.was_verified(folder)
    (folder / verify.VERIFIED).write_text('{"examples.jsonl": "hash of another file"}')
    assert not verify.was_verified(folder)


def failed(folder: Path) -> dict[str, str]:
    """Return the names of the failed checks and the first problem."""
    return {m.check: m.problem for m in reversed(verify.verify(folder)[1])}


def tamper(file: Path, change: Callable[[Row], None], line: int = 0) -> None:
    lines = file.read_text().splitlines()
    row = json.loads(lines[line])
    change(row)
    lines[line] = json.dumps(row)
    file.write_text("".join(text + "\n" for text in lines))


def test_an_honest_dataset_passes(folder, monkeypatch, capsys):
    assert verify.verify(folder) == (4, [])
    capsys.readouterr()
    assert call(monkeypatch, verify, str(folder)) == ""
    table = capsys.readouterr().out
    assert all(check in table for check in verify.CHECKS)


def test_a_dataset_passes_wherever_one_stands(tmp_path, monkeypatch, capsys):
    """Its rows name the runs by paths that were relative to the folder where the work was done."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder = build(monkeypatch, Path("runs"))
    assert verify.verify(folder)[1] == []
    for elsewhere, name in ((tmp_path, "work/runs/d"), (tmp_path / "work" / "runs", "d"), (Path("/"), None)):
        monkeypatch.chdir(elsewhere)
        assert verify.verify(Path(name) if name else tmp_path / "work/runs/d")[1] == []


def test_a_copy_without_its_runs_lacks_each_of_them_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    folder = build(monkeypatch, Path("runs"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    count, mismatches = verify.verify(copy)
    assert count == 4 and [mismatch.where for mismatch in mismatches] == ["runs/agentic", "runs/cot"]
    problem, said = mismatches[0].problem, "cannot be compared with this run: runs/agentic: no such run"
    assert problem.startswith(f"3 examples of the arm agentic {said}")
    assert problem.endswith(f"or copy it to {copy / 'runs/agentic'}")
    shutil.copytree(tmp_path / "work/runs/agentic", copy / "runs/agentic")
    assert [mismatch.where for mismatch in verify.verify(copy)[1]] == ["runs/cot"]
    tamper(copy / "examples.jsonl", set_score)  # what needs no run is still checked
    assert {"file", "scores"} < {*failed(copy)}


def set_score(row: Row) -> None:
    row["weak_scores"][0] = 0.5


def flip_boolean(row: Row) -> None:
    row["evidence"]["weak_met"][7][0] = True


def flip_booleans(row: Row) -> None:
    for met in row["evidence"]["weak_met"]:
        met[0] = True


def drop_boolean(row: Row) -> None:
    row["evidence"]["weak_met"][0].pop()


def set_weight(row: Row) -> None:
    row["candidate"]["rubric"][0]["weight"] = 5


def set_sign(row: Row) -> None:
    row["candidate"]["rubric"][2]["weight"] = 1


def set_question(row: Row) -> None:
    row["candidate"]["question"] += " really"


def set_hash_too(row: Row) -> None:
    row["candidate_hash"] = "0" * 16


def set_verdict(row: Row) -> None:
    row["accepted"] = False


def set_preset(row: Row) -> None:
    row["evidence"]["presets"]["wide"] = {"accepted": False, "failure": "too_hard", "reason": ""}


def lower_gate(row: Row) -> None:
    row["evidence"]["gates"]["just_right"] = {"weak_mean_at_most": 0.9}


def raise_gate(row: Row) -> None:
    row["evidence"]["gates"]["just_right"]["weak_mean_at_most"] = 0.1


def drop_gates(row: Row) -> None:
    row["evidence"]["gates"]["just_right"] = {}


def set_round(row: Row) -> None:
    row["round"] = 2


def set_document(row: Row) -> None:
    row["document_id"] = "elsewhere"


def set_run(row: Row) -> None:
    row["provenance"]["run"] += "-gone"


def set_model(row: Row) -> None:
    row["provenance"]["models"]["weak_solver"] = "larger"


def set_seed(row: Row) -> None:
    row["provenance"]["weak_seeds"][0] += 1


@pytest.mark.parametrize(
    ("change", "checks"),
    [
        (set_score, {"scores", "trajectory"}),
        (flip_boolean, {"scores", "trajectory"}),
        (flip_booleans, {"scores", "verdict", "trajectory"}),
        (drop_boolean, {"scores", "trajectory"}),
        (set_weight, {"candidate", "trajectory"}),
        (set_sign, {"candidate", "scores", "trajectory"}),
        (set_question, {"candidate", "trajectory"}),
        (set_hash_too, {"candidate", "trajectory"}),
        (set_verdict, {"verdict", "trajectory"}),
        (set_preset, {"verdict", "trajectory"}),
        (lower_gate, {"trajectory"}),
        (raise_gate, {"verdict", "trajectory"}),
        (drop_gates, {"verdict", "trajectory"}),
        (set_round, {"trajectory"}),
        (set_document, {"trajectory"}),
        (set_run, {"trajectory"}),
        (set_model, {"trajectory"}),
        (set_seed, {"trajectory"}),
    ],
)
def test_every_change_is_found(shared, monkeypatch, capsys, change, checks):
    examples = shared / "examples.jsonl"
    honest = examples.read_text()
    tamper(examples, change)
    try:
        assert set(failed(shared)) == {"file", *checks}
        assert "mismatches" in call(monkeypatch, verify, str(shared))
        assert "agentic-" in capsys.readouterr().out
    finally:
        examples.write_text(honest)


def test_a_round_that_was_changed_in_the_run_is_found(folder):
    def change(row: Row) -> None:
        row["rounds"][0]["weak"][0]["judgement"]["met"] = [False, False, False]

    tamper(folder.parent / "agentic" / "trajectories.jsonl", change)
    assert set(failed(folder)) == {"trajectory"}
    assert "weak_scores differs" in failed(folder)["trajectory"]


def test_a_lost_judgement_in_the_run_is_a_mismatch_and_no_crash(folder):
    def change(row: Row) -> None:
        row["rounds"][0]["weak"][0]["judgement"]["met"] = None

    tamper(folder.parent / "agentic" / "trajectories.jsonl", change)
    assert "would not be accepted today, because attempts have no answer: weak 1" in failed(folder)["measured"]


def test_a_verdict_settled_early_is_recomputed_as_settled(tmp_path, monkeypatch, capsys):
    proposal = candidate("q")
    done = a_round(1, proposal, DEMO)
    early = replace(done, strong=done.strong[:5], presets={"just_right": done.verdict})  # 5 of 5 are final
    run = write_run(tmp_path / "agentic", DEMO, trajectory("d", early))
    folder = make(monkeypatch, tmp_path, run)
    assert verify.verify(folder) == (1, [])
    tamper(folder / "examples.jsonl", lambda row: row["evidence"]["strong_met"].pop())
    assert "recomputed is not measured" in failed(folder)["verdict"]


LEGAL = load(GenerateRecipe, ["recipes/legal/generate.yaml", "recipes/models/laptop.yaml"])


def legal_run(tmp_path: Path, review: Row) -> str:
    LEGAL.domain.weak_attempts = LEGAL.domain.strong_attempts = 8
    LEGAL.domain.rubric_shape = ""
    proposal = candidate("Can my landlord keep the deposit?", reference_answer="")
    return write_run(
        tmp_path / "agentic", LEGAL, trajectory("d", a_round(1, proposal, LEGAL, review=review), preset="loop_judge")
    )


REVIEW = {
    "loop_judge": {"verdict": "accept", "grpo_suitability": "high"},
    "post_filter_flags": [],
    "post_filter_overrides": [],
}


def test_a_loop_judges_verdict_is_checked_against_the_stored_review(tmp_path, monkeypatch, capsys):
    folder = make(monkeypatch, tmp_path, legal_run(tmp_path, REVIEW))
    assert verify.verify(folder) == (1, [])
    statistics = json.loads((folder / "statistics.json").read_text())["agentic"]
    assert statistics["grpo_suitability_high_pct"] == 100


@pytest.mark.parametrize(
    ("review", "problem"),
    [
        (REVIEW | {"loop_judge": {"verdict": "improve"}}, "recomputed is improve"),
        (REVIEW | {"post_filter_flags": ["in re"]}, "recomputed is improve"),
        (REVIEW | {"post_filter_overrides": ["in re"]}, "recomputed is improve"),
        ({}, "neither thresholds nor a review"),
    ],
)
def test_an_accepted_row_that_the_review_does_not_bear_out_is_found(tmp_path, monkeypatch, capsys, review, problem):
    folder = make(monkeypatch, tmp_path, legal_run(tmp_path, review))
    assert problem in failed(folder)["verdict"]


def test_an_unfinished_dataset_is_refused(folder, monkeypatch):
    tamper_manifest = json.loads((folder / "manifest.json").read_text()) | {"finished": None}
    (folder / "manifest.json").write_text(json.dumps(tamper_manifest))
    assert "not finished" in call(monkeypatch, verify, str(folder))
    assert "no such run" in call(monkeypatch, verify, str(folder / "nowhere"))


@pytest.mark.slow
def test_what_generate_makes_becomes_a_dataset_that_verifies(tmp_path, monkeypatch, capsys):
    documents = tmp_path / "docs"
    documents.mkdir()
    for i in range(6):
        text = "The careful engineers of {0} measured a steady improvement over every earlier harbour system."
        (documents / f"doc{i}.txt").write_text(" ".join(text.format(f"town{i}{j}") for j in "abc"))
    with fake_server(play_skills) as server:
        served = [
            "models.endpoints.small.model=fake",
            "models.endpoints.small.server=null",
            f"models.endpoints.small.base_url={server.url}",
            f"documents.path={documents}",
        ]
        for arm in ("agentic", "cot"):
            arguments = ["recipes/demo/generate.yaml", f"run={tmp_path / arm}", f"arm={arm}", *served]
            assert call(monkeypatch, generate, *arguments) == ""
    folder = make(monkeypatch, tmp_path, str(tmp_path / "agentic"), str(tmp_path / "cot"))
    count, problems = verify.verify(folder)
    assert count > 6
    assert problems == []
