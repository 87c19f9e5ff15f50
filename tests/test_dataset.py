import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata import dataset as module
from autodata.dataset import choose_test_documents, make_examples, summarize
from autodata.types import (
    EXAMPLE,
    TRAJECTORY,
    Attempt,
    Candidate,
    Criterion,
    Judgement,
    Outcome,
    Round,
    Trajectory,
    Verdict,
)

PROVENANCE = {"models": {"weak_solver": "m"}, "recipe_hash": "h"}


def attempts(*met: bool) -> tuple[Attempt, ...]:
    return tuple(Attempt(i, i, Outcome.OK, "a", "", 1, 1, Judgement((m,), float(m))) for i, m in enumerate(met))


def trajectory(document: str, *verdicts: bool | None, arm: str = "agentic", question: str = "") -> Trajectory:
    rounds = []
    for number, accepted in enumerate(verdicts, 1):
        candidate = Candidate(question or f"{document} {number}", "x", (Criterion("c", 1),))
        measured = (attempts(True, False), attempts(True, True)) if accepted is not None else ((), ())
        rounds.append(Round(number, candidate, None, *measured, Verdict(accepted)))
    return Trajectory(document, f"{document}.txt", arm, "p", tuple(rounds))


def test_the_loop_gives_what_it_accepted_and_the_baseline_what_was_measured():
    agentic = [trajectory("b", False, True), trajectory("a", False, False), trajectory("c")]
    made = make_examples("agentic", agentic, frozenset({"b"}), PROVENANCE)
    assert [(e.document_id, e.round, e.split, e.accepted) for e in made] == [("b", 2, "test", True)]
    cot = [trajectory("a", False, arm="cot"), trajectory("b", None, arm="cot")]
    made = make_examples("cot", cot, frozenset(), PROVENANCE)
    assert [(e.document_id, e.accepted, e.weak_scores) for e in made] == [("a", False, (1.0, 0.0))]


def test_equal_candidates_are_one_example():
    twice = [trajectory("a", True, question="q"), trajectory("b", True, question="q")]
    assert [e.document_id for e in make_examples("agentic", twice, frozenset(), PROVENANCE)] == ["a"]


@given(st.sets(st.text(min_size=1), min_size=1, max_size=30), st.integers(0, 9), st.floats(0, 1))
def test_the_split_is_a_fixed_share_whatever_the_order(ids, seed, fraction):
    chosen = choose_test_documents(sorted(ids), fraction, seed)
    assert chosen == choose_test_documents(sorted(ids, reverse=True) * 2, fraction, seed)
    assert len(chosen) == round(len(ids) * fraction)
    assert chosen <= ids


def test_statistics_have_the_shape_of_the_papers_table():
    made = make_examples("agentic", [trajectory("a", False, True), trajectory("b", True)], frozenset(), PROVENANCE)
    assert summarize(made) == {"examples": 2, "weak_avg": 0.5, "strong_avg": 1.0, "gap": 0.5, "rounds": 1.5,
                               "question_chars": 3.0, "rubric_items": 1.0}  # fmt: skip
    assert summarize([])["weak_avg"] is None


def write_run(folder, arm: str, *trajectories: Trajectory, finished: str | None = "now") -> None:
    folder.mkdir(parents=True)
    lines = b"".join(TRAJECTORY.dump_json(t) + b"\n" for t in trajectories)
    (folder / "trajectories.jsonl").write_bytes(lines)
    manifest = {"finished": finished, "inputs": {}, "models": {}, "arm": arm, "outputs": {"t": str(hash(lines))}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def run_main(monkeypatch, capsys, tmp_path, *more: str) -> str:
    arms = [f"arms.{arm}={tmp_path / arm}" for arm in ("agentic", "cot")]
    monkeypatch.setattr(sys, "argv", ["dataset", "recipes/demo/dataset.yaml", f"run={tmp_path / 'd'}", *arms, *more])
    try:
        module.main()
    except SystemExit as end:
        return str(end.code)
    return capsys.readouterr().out


def test_the_command_writes_examples_statistics_and_hugging_face_sets(monkeypatch, capsys, tmp_path):
    documents = [trajectory(f"d{i}", True) for i in range(6)]
    write_run(tmp_path / "agentic", "agentic", *documents)
    write_run(tmp_path / "cot", "cot", *(trajectory(f"d{i}", False, arm="cot") for i in range(6)))
    assert "weak_avg" in run_main(monkeypatch, capsys, tmp_path)
    lines = (tmp_path / "d" / "examples.jsonl").read_bytes().splitlines()
    examples = [EXAMPLE.validate_json(line) for line in lines]
    assert len(examples) == 12
    sides = {split: {e.document_id for e in examples if e.split == split} for split in ("train", "test")}
    assert not sides["train"] & sides["test"]
    assert len(sides["test"]) == 2
    import datasets

    stored = datasets.load_from_disk(str(tmp_path / "d" / "huggingface"))
    assert {name: len(rows) for name, rows in stored.items()} == {
        "agentic_train": 4, "agentic_test": 2, "cot_train": 4, "cot_test": 2}  # fmt: skip
    assert json.loads(stored["cot_test"][0]["candidate"])["rubric"]
    assert "up to date" in run_main(monkeypatch, capsys, tmp_path)


@pytest.mark.parametrize(
    ("run", "message"),
    [({"arm": "agentic", "finished": None}, "not finished"), ({"arm": "cot"}, "is of the arm cot")],
)
def test_runs_that_do_not_fit_are_refused(monkeypatch, capsys, tmp_path, run, message):
    write_run(tmp_path / "agentic", run.pop("arm"), trajectory("a", True), **run)
    write_run(tmp_path / "cot", "cot", trajectory("a", True, arm="cot"))
    assert message in run_main(monkeypatch, capsys, tmp_path)


def test_a_missing_run_names_the_command(monkeypatch, capsys, tmp_path):
    assert "make it with python -m autodata.generate" in run_main(monkeypatch, capsys, tmp_path)
