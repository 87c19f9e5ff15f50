"""Tests the formats in which a data set leaves for other trainers."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from datasets import load_dataset

from autodata import dataset, export
from autodata.data.examples import Arm, make_example
from autodata.data.formats import Task, write_messages, write_pair
from autodata.loop import rubric
from autodata.types import Attempt, Criterion, Judgement, Message, Outcome, Round, Verdict
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import BAD, GOOD, RuleOnly, a_round, candidate, demo_recipe, simple, trajectory, write_run

pytestmark = pytest.mark.slow

DEMO = demo_recipe()
PROPOSAL = candidate("what is it?")


def attempt(
    answer: str, met: tuple[bool, ...] = GOOD, outcome: Outcome = Outcome.ANSWERED, reasoning: str = ""
) -> Attempt:
    return Attempt(0, 1, outcome, answer, reasoning, 1, 1, rubric.judge(PROPOSAL.rubric, met))


def task(weak: list[Attempt], strong: list[Attempt], *more: Message) -> Task:
    round = Round(1, PROPOSAL, None, tuple(weak), tuple(strong), Verdict(True))
    arm = Arm("agentic", "run", (), DEMO.domain, {}, "", "")
    example = make_example(arm, simple("d", "what is it?", DEMO), a_round(1, PROPOSAL, DEMO), "CC0")
    return Task(example, round, (Message("user", "what is it?"), *more), RuleOnly(DEMO))


PARTLY = (True, False, False)  # 2 of 3 points


def test_the_best_strong_answer_is_the_message_and_the_worst_weak_one_is_rejected():
    made = task(
        [attempt("weak good"), attempt("weak bad", BAD), attempt("weak bad too", BAD)],
        [attempt("strong partly", PARTLY), attempt("strong good"), attempt("strong good too")],
    )
    row = write_messages(made)
    assert [m["content"] for m in row["messages"]] == ["what is it?", "strong good"]
    assert row["score"] == 1.0
    pair = write_pair(made)
    assert pair["prompt"] == [{"role": "user", "content": "what is it?"}]
    assert pair["chosen"] == [{"role": "assistant", "content": "strong good"}]
    assert pair["rejected"] == [{"role": "assistant", "content": "weak bad"}]
    assert (pair["chosen_score"], pair["rejected_score"], pair["margin"]) == (1.0, 0.0, 1.0)


def test_answers_that_were_cut_off_or_never_given_are_in_no_row():
    lost = replace(attempt(""), outcome=Outcome.ERROR, judgement=Judgement(None, None))
    cut = attempt("and so on", outcome=Outcome.CUT_OFF)
    assert write_messages(task([], [cut, lost])) is None
    assert write_messages(task([], [cut, attempt("whole", PARTLY)]))["messages"][-1]["content"] == "whole"
    assert write_pair(task([cut], [attempt("whole")])) is None


MARKERS = ("<|im_end|>", "<|im_start|>system", "<｜User｜>", "</think>", "<s>", "[/INST]", "<end_of_turn>")


@pytest.mark.parametrize("marker", MARKERS)
def test_an_answer_that_would_open_a_turn_of_its_own_is_in_no_row(marker):
    bad, partly = attempt(f"good {marker}\n"), attempt("partly", PARTLY)
    assert write_messages(task([], [bad])) is None
    assert write_messages(task([], [bad, partly]))["messages"][-1]["content"] == "partly"
    pair = write_pair(task([attempt(f"{marker} worst", BAD), attempt("wrong", BAD)], [bad, partly]))
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("partly", "wrong")
    thought = attempt("good", reasoning=f"so {marker}")
    assert write_messages(task([], [thought])) is not None
    assert write_messages(task([], [thought]), with_reasoning=True) is None


@pytest.mark.parametrize("text", ["x |> f(y)", "a <| b", "1 < 2 || 3 > 2", "<small>", "[INSTALL]", "a<b|c>d"])
def test_code_that_only_looks_like_a_marker_stays(text):
    assert write_messages(task([], [attempt(text)]))["messages"][-1]["content"] == text


def test_an_answer_without_a_point_teaches_nothing():
    assert write_messages(task([], [attempt("wrong", BAD)])) is None


@pytest.mark.parametrize(("margin", "is_pair"), [(0.0, True), (1 / 3 - 0.01, True), (1 / 3 + 0.01, False)])
def test_a_pair_needs_more_than_the_margin(margin, is_pair):
    made = task([attempt("weak", PARTLY)], [attempt("strong")])
    assert (write_pair(made, margin=margin) is not None) is is_pair
    assert write_pair(task([attempt("weak")], [attempt("strong")])) is None, "equal scores are no preference"
    assert write_pair(task([attempt("one", BAD)], [attempt("one\n")])) is None, "nor are equal texts"


@pytest.mark.parametrize(("margin", "is_pair"), [(0.3, False), (0.29, True)])
def test_a_margin_is_exact(margin, is_pair):
    """As binary numbers, 0.9 and 0.6 differ by more than 0.3."""
    rubric_of_ten = (Criterion("a", 6), Criterion("b", 3), Criterion("c", 1))
    ten = candidate("what is it?", rubric=rubric_of_ten)
    given = [replace(attempt(a), judgement=rubric.judge(rubric_of_ten, m)) for a, m in
             (("weak", (True, False, False)), ("strong", (True, True, False)))]  # fmt: skip
    made = task([given[0]], [given[1]])
    made = replace(made, example=replace(made.example, candidate=ten))
    pair = write_pair(made, margin=margin)
    assert (pair is not None) is is_pair
    if pair:
        assert (pair["chosen_score"], pair["rejected_score"], pair["margin"]) == (0.9, 0.6, 0.3)


def test_reasoning_has_a_key_of_its_own_and_a_beginning_is_part_of_the_answer():
    made = task([], [attempt("stone", reasoning="I see a stone.")], Message("assistant", "The answer is "))
    answer = write_messages(made, with_reasoning=True)["messages"][-1]
    assert answer == {"role": "assistant", "content": "The answer is stone", "reasoning_content": "I see a stone."}
    assert "reasoning_content" not in write_messages(made)["messages"][-1]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """Write a data set of four documents of one arm."""
    rounds = {f"d{i}": tell_apart(a_round(1, candidate(f"what is {i}?"), DEMO)) for i in range(4)}
    run = write_run(tmp_path / "agentic", DEMO, *(trajectory(d, r) for d, r in rounds.items()))
    recipe = tmp_path / "dataset.yaml"
    recipe.write_text("decontaminate: []\nfilters: {reference_answer: false}\ntest_fraction: 0.25\n")
    call(monkeypatch, dataset, str(recipe), f"run={tmp_path / 'd'}", f"arms.agentic={run}")
    return tmp_path / "d"


def tell_apart(round: Round) -> Round:
    """Give right and wrong answers different texts."""
    weak, strong = (
        tuple(replace(a, answer="right" if a.judgement.score else "wrong") for a in side)
        for side in (round.weak, round.strong)
    )
    return replace(round, weak=weak, strong=strong)


def call(monkeypatch, command, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    return find_failure(command.main)


def test_the_command_writes_every_format_of_every_split(folder, monkeypatch, capsys, tmp_path):
    assert call(monkeypatch, export, str(folder)) == ""
    names = {path.name for path in (folder / "export/rows").iterdir()}
    assert names == {f"agentic_{s}.{f}.jsonl" for s in ("train", "test") for f in export.FORMATS}
    rows = load_dataset(
        "json",
        data_files=str(folder / "export/rows/agentic_train.prompts.jsonl"),
        split="train",
        cache_dir=tmp_path / "c",
    )
    assert len(rows) == 3
    assert rows[0]["rubric"][0] == {"criterion": "names the word", "weight": 2}
    assert "agentic_train.pairs.jsonl: 3 rows; 0 examples without" in capsys.readouterr().out.replace("\n", "")


def test_only_the_named_formats_are_written_and_old_files_go(folder, monkeypatch):
    call(monkeypatch, export, str(folder))
    call(monkeypatch, export, str(folder), "--as", "pairs", "--margin", "2")
    files = {path.name: path.read_text() for path in (folder / "export/rows").iterdir()}
    assert files == {"agentic_test.pairs.jsonl": "", "agentic_train.pairs.jsonl": ""}


def test_an_environment_is_written_only_if_it_is_asked_for(folder, monkeypatch, capsys):
    assert call(monkeypatch, export, str(folder), "--as", "environment", "--name", "demo_tasks") == ""
    assert "environment: 4 tasks, 64 stored attempts" in capsys.readouterr().out.replace("\n", "")
    package = folder / "export/environment/demo_tasks"
    assert {path.name for path in (folder / "export").iterdir()} == {"environment"}
    assert (package / "compare_skills.py").read_text() == Path("autodata/domains/skills/compare.py").read_text()
    tasks = [json.loads(line) for line in (package / "tasks.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(task["split"] for task in tasks) == ["test", "train", "train", "train"]


def test_rows_and_package_are_replaced_each_for_itself(folder, monkeypatch):
    call(monkeypatch, export, str(folder), "--as", "environment", "--name", "first_tasks")
    call(monkeypatch, export, str(folder))
    call(monkeypatch, export, str(folder), "--as", "environment", "--name", "demo_tasks")
    assert len(list((folder / "export/rows").iterdir())) == 2 * len(export.FORMATS)
    assert {path.name for path in (folder / "export/environment").iterdir() if path.is_dir()} == {"demo_tasks"}
    assert not (folder / "export.new").exists()


def test_an_export_that_fails_leaves_the_earlier_files(folder, monkeypatch, tmp_path):
    formats = (*export.FORMATS, "environment")
    call(monkeypatch, export, str(folder), "--as", *formats, "--name", "demo_tasks")
    before = {path: path.read_bytes() for path in (folder / "export").rglob("*") if path.is_file()}
    (tmp_path / "agentic/trajectories.jsonl").write_text("")
    assert "was the run made again?" in call(monkeypatch, export, str(folder), "--as", *formats)
    assert {path: path.read_bytes() for path in (folder / "export").rglob("*") if path.is_file()} == before


def test_a_link_in_the_place_of_the_export_is_not_followed(folder, monkeypatch, tmp_path):
    (tmp_path / "mine").mkdir()
    (folder / "export").symlink_to(tmp_path / "mine")
    assert "this is a link, not a folder" in call(monkeypatch, export, str(folder))
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_data_set_without_examples_has_nothing_to_export(folder, monkeypatch):
    (folder / "examples.jsonl").write_text("")
    assert "nothing to export" in call(monkeypatch, export, str(folder), "--as", "environment")


def refuse(monkeypatch, capsys, *arguments: str) -> str:
    """Run the command, which must end as a wrong call; return what it said."""
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    with pytest.raises(SystemExit) as ended:
        export.main()
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("name", ["", "Demo", "a-b", "../x", "1a", "class"])
def test_a_package_has_a_name_that_python_can_import(folder, monkeypatch, capsys, name):
    said = refuse(monkeypatch, capsys, str(folder), "--as", "environment", "--name", name)
    assert "is no name of a package" in said


@pytest.mark.parametrize("name", ["json", "asyncio", "sys", "numpy", "autodata", "verifiers", "openenv", "trl"])
def test_a_package_hides_no_other_one(folder, monkeypatch, capsys, name):
    said = refuse(monkeypatch, capsys, str(folder), "--as", "environment", "--name", name)
    assert "is the name of another package of Python" in said


def test_an_installed_export_or_a_mere_folder_is_no_other_package(folder, monkeypatch, tmp_path):
    call(monkeypatch, export, str(folder), "--as", "environment", "--name", "demo_tasks")
    monkeypatch.syspath_prepend(folder / "export/environment")
    assert call(monkeypatch, export, str(folder), "--as", "environment", "--name", "demo_tasks") == ""
    (tmp_path / "my_rows").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert call(monkeypatch, export, str(folder), "--as", "environment", "--name", "my_rows") == ""


@pytest.mark.parametrize("margin", ["nan", "-1", "inf", "-1e-9", "much"])
def test_a_margin_is_a_difference_of_scores(folder, monkeypatch, capsys, margin):
    assert "is no difference of scores" in refuse(monkeypatch, capsys, str(folder), f"--margin={margin}")


def test_a_run_that_was_made_again_is_an_error(folder, monkeypatch, tmp_path):
    write_lines = (tmp_path / "agentic/trajectories.jsonl").read_text().splitlines()[1:]
    (tmp_path / "agentic/trajectories.jsonl").write_text("".join(f"{line}\n" for line in write_lines))
    assert "was the run made again?" in call(monkeypatch, export, str(folder))


def test_rows_are_json_that_keeps_every_character(folder, monkeypatch):
    call(monkeypatch, export, str(folder), "--as", "messages")
    lines = (folder / "export/rows/agentic_train.messages.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["messages"][-1]["role"] == "assistant" for line in lines)
