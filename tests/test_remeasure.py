"""Tests which rows of a data set are still in the band for another model, and the page that draws it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.data import remeasure as module
from autodata.data.examples import EXAMPLES
from autodata.data.remeasure import REMEASURED, Answer, Remeasured, judge, read_model, read_remeasured, remeasure
from autodata.report.dataset import draw_shelf_life, render
from autodata.run.folder import output_hash, read_manifest
from autodata.run.records import RunError, read_records
from autodata.stats.intervals import Estimate
from autodata.types import EXAMPLE, Outcome
from tests.helpers.commands import find_failure
from tests.helpers.training_world import make_dataset


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A data set of some rows; the gate of each is set by the tests."""
    folder = tmp_path_factory.mktemp("made") / "dataset"
    make_dataset(folder, train=6, test=1)
    examples = [with_gate(e, weak_mean_at_most=0.5) for e in read_records(folder / EXAMPLES, EXAMPLE)]
    (folder / EXAMPLES).write_bytes(b"".join(EXAMPLE.dump_json(e) + b"\n" for e in examples))
    return folder, examples


def with_gate(example, **gate):
    evidence = replace(example.evidence, preset="mine", gates={"mine": gate}, weak_planned=2, strong_planned=2)
    return replace(example, evidence=evidence, strong_scores=(0.75, 0.75))


def answers(example, *scores, outcome=Outcome.ANSWERED, task="agentic_train"):
    return [Answer(task, example.id, score, outcome, 10) for score in scores]


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((0.5, 0.5), "accepted"),  # the mean may be 0.5
        ((0.5, 0.6), "too_easy"),
        ((0.45, 0.5), "accepted"),
        ((0.5, 0.51), "too_easy"),
    ],
)
def test_a_row_is_judged_on_both_sides_of_its_gate(rows, scores, verdict):
    example = with_gate(rows[1][0], weak_mean_at_most=0.5, gap_at_least=0.25)
    assert judge(example, answers(example, *scores)) == verdict


def test_the_gap_is_between_the_new_model_and_the_stored_strong_scores(rows):
    example = with_gate(rows[1][0], gap_at_least=0.3)
    assert judge(example, answers(example, 0.45, 0.45)) == "accepted"
    assert judge(example, answers(example, 0.46, 0.45)) == "small_gap"


def test_a_row_of_an_older_data_set_without_a_gate_is_named(rows):
    example = replace(rows[1][0], evidence=replace(rows[1][0].evidence, gates={}))
    with pytest.raises(RunError, match=rf"{example.id}: the row does not say by which gate"):
        judge(example, answers(example, 0.5, 0.5))


@pytest.mark.parametrize(
    ("strong", "scores", "verdict"),
    [
        ((0.75, 0.75), (0.25, 0.25), None),  # two more of 0 would make the gap small
        ((0.75, 0.75), (0.0, 0.0), "accepted"),  # not even then
        ((0.75, 0.75), (1.0, 1.0), "too_easy"),  # whatever the strong solver does
        ((0.75, 0.75, 1.0, 1.0), (0.25, 0.25), "accepted"),
    ],
)
def test_strong_attempts_that_early_stop_spared_are_not_guessed(rows, strong, scores, verdict):
    example = replace(with_gate(rows[1][0], weak_mean_at_most=0.5, gap_at_least=0.375), strong_scores=strong)
    example = replace(example, evidence=replace(example.evidence, strong_planned=4))
    assert judge(example, answers(example, *scores)) == verdict


def test_a_row_that_early_stop_left_open_has_no_verdict(rows):
    gates = {"weak_mean_at_most": 0.5, "gap_at_least": 0.375}
    first, second = (with_gate(e, **gates) for e in rows[1][:2])
    first = replace(first, evidence=replace(first.evidence, strong_planned=4))
    given = [*answers(first, 0.25, 0.25), *answers(second, 0.25, 0.25)]
    measured = remeasure([first, second], given)
    assert (measured["rows"], measured["missing"], measured["verdicts"]) == (1, 1, {"accepted": 1})
    with pytest.raises(RunError, match="early_stop left out attempts"):
        remeasure([first], given)


def test_strong_answers_that_were_cut_off_do_not_show_a_small_gap(rows):
    example = with_gate(rows[1][0], gap_at_least=0.9, finished_at_least=0.75)
    example = replace(example, evidence=replace(example.evidence, strong_outcomes=(Outcome.CUT_OFF, Outcome.ANSWERED)))
    assert judge(example, answers(example, 0.0, 0.0)) == "cut_off"


def test_answers_that_were_cut_off_prove_nothing_about_difficulty(rows):
    example = with_gate(rows[1][0], gap_at_least=0.9, weak_mean_at_least=0.1, finished_at_least=0.5)
    assert judge(example, answers(example, 0.0, 0.0, outcome=Outcome.CUT_OFF)) == "cut_off"


def test_thirds_are_exact_although_they_are_stored_as_floats(rows):
    example = with_gate(rows[1][0], weak_mean_at_most=round(1 / 3, 12), weak_max_at_most=None)
    third = with_gate(example, gap_at_least=0.25)
    assert judge(replace(third, strong_scores=(7 / 12, 7 / 12)), answers(example, 1 / 3, 1 / 3)) == "accepted"


def test_shares_counts_and_tokens_of_all_rows(rows):
    examples = [with_gate(e, weak_mean_at_most=0.5) for e in rows[1]]
    given = [a for e in examples[:4] for a in answers(e, 0.25, 0.5)]
    given += [a for e in examples[4:6] for a in answers(e, 1.0, 1.0)]
    given += answers(examples[6], 0.5)  # one answer has no spread to measure
    given += [Answer("agentic_train", examples[6].id, None, Outcome.ERROR, 0)]
    measured = remeasure(examples[:7], given, group=4)
    assert (measured["rows"], measured["missing"]) == (6, 1)
    assert measured["in_band"].value == pytest.approx(4 / 6)
    assert measured["without_spread"] == pytest.approx(2 / 6)
    assert measured["verdicts"] == {"accepted": 4, "too_easy": 2}
    assert measured["tokens"] == 4 * 4 * 10


def test_tokens_are_those_of_the_rows_in_the_band(rows):
    long = [replace(a, tokens=1_000) for a in answers(rows[1][1], 1.0, 1.0)]
    measured = remeasure(rows[1], [*answers(rows[1][0], 0.0, 0.5), *long], group=8)
    assert (measured["verdicts"], measured["tokens"]) == ({"accepted": 1, "too_easy": 1}, 8 * 10)


@pytest.mark.parametrize("scores", [(), (0.5,), (0.5, 0.5, 0.5)])
def test_a_row_without_as_many_scored_answers_as_its_gate_judges_has_no_verdict(rows, scores):
    with pytest.raises(RunError, match=r"no row has a score for each of its answers"):
        remeasure(rows[1], answers(rows[1][0], *scores))


def write_evaluation(folder, dataset, examples, /, step=None, score=0.0, **inputs):
    folder.mkdir()
    lines = [
        {"task": f"{e.arm}_{e.split}", "example": e.id, "document": e.document_id, "epoch": n, "score": score,
         "outcome": "answered", "has_answer": True, "tokens": 5}
        for e in examples for n in (1, 2)
    ]  # fmt: skip
    (folder / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made_from = {"kind": "eval", "samples": 2, "dataset": output_hash(str(dataset), "python -m autodata.dataset")}
    manifest = {"finished": "now", "label": folder.name, "evaluated": {"step": step}, "inputs": made_from | inputs}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder)


def choose(examples, split, arm="agentic"):
    return [e for e in examples if (e.arm, e.split) == (arm, split)]


def run_command(monkeypatch, dataset, *runs):
    monkeypatch.setattr("sys.argv", ["remeasure", str(dataset), *runs])
    return find_failure(module.main)


def test_the_command_writes_what_the_report_draws(rows, tmp_path, monkeypatch, capsys):
    dataset, examples = rows
    train = choose(examples, "train")
    runs = [
        write_evaluation(tmp_path / f"at_{step}", dataset, train, step or None, score)
        for step, score in ((0, 0.0), (8, 1.0))
    ]
    assert not run_command(monkeypatch, dataset, *runs)
    stored = json.loads((dataset / REMEASURED).read_text())
    facts = [(m["label"], m["step"], m["set"], m["rows"], m["missing"]) for m in stored]
    assert facts == [("at_0", 0, "agentic_train", 6, 0), ("at_8", 8, "agentic_train", 6, 0)]
    assert stored[1]["in_band"]["value"] == 0.0, "a model that solves all has nothing to learn from"
    chart = draw_shelf_life(read_remeasured(dataset))
    assert [x for x, _ in chart.lines[0].points] == [0, 8]
    page = render(dataset, read_manifest(dataset))
    assert "Whom the examples still teach" in page
    for text in (
        'href="#shelf-life"',
        "tokens of a pass",
        "too_easy",
        "Share of the rows in the band: at_0 (step 0):",
    ):
        assert text in page
    assert str(dataset / REMEASURED) in capsys.readouterr().out


def test_rows_without_a_verdict_are_counted_in_the_table(rows, tmp_path, monkeypatch, capsys):
    dataset, examples = rows
    train = choose(examples, "train")
    assert not run_command(monkeypatch, dataset, write_evaluation(tmp_path / "half", dataset, train[:2]))
    printed = capsys.readouterr().out
    assert "2 of 6" in printed
    assert "half: 4 rows have no verdict: not all their answers have a score" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("split", "inputs", "reason"),
    [
        ("test", {}, "answers no training rows, only agentic_test; evaluate one set, as sets=[agentic_train]"),
        ("train", {"samples": 1}, "1 answers to each row, but its gate judges 2; evaluate with samples=2"),
        ("train", {"dataset": "other"}, "made from another data set than"),
    ],
)
def test_an_evaluation_of_anything_else_is_refused(rows, tmp_path, split, inputs, reason):
    dataset, examples = rows
    run = write_evaluation(tmp_path / "run", dataset, choose(examples, split), **inputs)
    with pytest.raises(RunError, match=re.escape(reason)):
        read_model(Path(run), dataset, examples, 8)


def test_rows_of_two_arms_are_not_mixed(rows, tmp_path, monkeypatch):
    dataset, examples = rows
    both = write_evaluation(tmp_path / "both", dataset, [e for e in examples if e.split == "train"])
    with pytest.raises(RunError, match=r"both: answers agentic_train and cot_train; evaluate one set, as sets="):
        read_model(Path(both), dataset, examples, 8)
    runs = [write_evaluation(tmp_path / arm, dataset, choose(examples, "train", arm)) for arm in ("agentic", "cot")]
    failure = run_command(monkeypatch, dataset, *runs)
    assert "evaluations of agentic_train and of cot_train: name those of one set of rows" in failure


def test_only_models_of_different_steps_are_points_of_a_curve():
    def draw(*steps: int):
        return draw_shelf_life(
            [
                Remeasured(f"m{n}", s, "agentic_train", 9, 0, Estimate(0.5, 0.4, 0.6, 9), 0, {}, 1)
                for n, s in enumerate(steps)
            ]
        )

    assert draw() is None
    assert draw(0) is None
    assert draw(0, 0) is None, "another student is not a later step"
    assert [x for x, _ in draw(8, 0, 4).lines[0].points] == [0, 4, 8]


def test_a_damaged_file_is_named(rows, tmp_path):
    (tmp_path / REMEASURED).write_text('[{"label": "x"}]')
    with pytest.raises(RunError, match=r"remeasured\.json: damaged; run python -m autodata\.data\.remeasure again"):
        read_remeasured(tmp_path)
    assert read_remeasured(tmp_path / "nowhere") == []
