"""Tests the search for benchmark texts in examples, and its part in the dataset command."""

import gzip
import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from autodata import dataset as module
from autodata.config import RecipeError
from autodata.corpora.record import Drop
from autodata.corpora.text.benchmarks import Benchmarks, Text, count_left_out, count_short, find_files, read_texts
from autodata.data.decontamination import Match, count_unchecked, find_matches, gather_texts
from autodata.data.examples import Arm, make_example
from autodata.types import Candidate, Example
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import MODELS, a_round, candidate, demo_recipe, simple, trajectory, write_run

DEMO = demo_recipe()
WORDS = [f"word{letter}" for letter in "abcdefghijklmn"]


def example(proposal: Candidate) -> Example:
    record = trajectory("d", a_round(1, proposal, DEMO))
    arm = Arm("agentic", "runs/a", (record,), DEMO.domain, MODELS, "h", "p")
    return make_example(arm, record, record.rounds[0], "mit")


def matches(proposal: Candidate, *texts: str) -> list[Match]:
    return find_matches([example(proposal)], [Text(f"t:{i}", text) for i, text in enumerate(texts)])


def line(count: int) -> str:
    return " ".join(WORDS[:count])


@pytest.mark.parametrize("field", ["question", "context", "reference_answer"])
def test_thirteen_words_in_a_row_are_too_many_and_twelve_are_not(field):
    question = "what comes after all of these words in a long line like this one is it?"
    proposal = candidate(**{"question": question, field: f"before that {line(13)} and after"})
    (match,) = matches(proposal, "nothing", f"it says {line(14)} here")
    assert (match.arm, match.against, match.ngram) == ("agentic", "t:1", line(13))
    assert match.example_id == f"agentic-{proposal.hash}"
    assert matches(proposal, f"it says {line(12)} here and goes on for some more words after that") == []


def test_a_chinese_benchmark_question_is_found_behind_other_words():
    question = "为什么缓存的成本主要由写入决定"
    assert len(question) == 15
    (match,) = matches(candidate(f"请回答：{question}？", reference_answer="x"), f"{question}。")
    assert match.ngram == " ".join(question[:13])
    short = question[:9]
    assert len(matches(candidate(f"请回答：{short}？", reference_answer="x"), short)) == 1
    assert matches(candidate(f"请回答：{question[:7]}？", reference_answer="x"), question[:7]) == []


def test_line_ends_that_divide_words_hide_nothing():
    plain = "the weight of the factors in this statute decides whether the notice was late for the court"
    divided = plain.replace("factors", "fac-\ntors").replace("statute", "sta- tute").replace("whether", "wheth-\n  er")
    assert len(matches(candidate(f"Is it so that {divided}?"), plain)) == 1
    assert len(matches(candidate(f"Is it so that {plain}?"), divided)) == 1


def test_texts_that_cannot_be_searched_for_everywhere_are_counted():
    texts = [Text("t", text) for text in ("$$ + $$", "", line(7), line(8), "缓存的成本")]
    assert list(count_unchecked(texts).values()) == [1, 2]


def test_case_punctuation_accents_and_numbers_hide_nothing():
    proposal = candidate(f"Ünder {line(5).upper()} — costs $1,850.00: {line(14)[len(line(5)) :]}, is it so?")
    plain = f"well under {line(5)} costs 99 {line(14)[len(line(5)) :]} then"
    assert len(matches(proposal, plain)) == 1


def test_words_that_run_over_from_question_to_answer_count():
    proposal = candidate(f"what follows upon all of {line(8)}", reference_answer=" ".join(WORDS[8:13]))
    assert len(matches(proposal, f"the line {line(14)}")) == 1


def test_a_short_question_must_be_whole():
    nine = candidate(line(9), reference_answer="x")
    assert [m.ngram for m in matches(nine, f"see {line(9)}, of course, and much more besides")] == [line(9)]
    assert matches(nine, f"see {line(8)} of course and much more besides") == []
    assert [m.against for m in matches(nine, "no", line(9).upper())] == ["t:1"]


def test_a_question_of_a_few_common_words_must_be_equal():
    seven = candidate(line(7), reference_answer="x")
    assert matches(seven, f"see {line(7)} of course and much more besides, and more") == []
    assert matches(seven, f"see {line(7)}") == []
    assert len(matches(seven, line(7))) == 1


def test_a_short_benchmark_text_counts_where_it_stands_whole_in_a_question():
    proposal = candidate(f"tell me why {line(9)} and what comes of it in the end")
    assert len(matches(proposal, line(9))) == 1
    assert matches(proposal, line(7)) == []
    assert matches(proposal, f"{line(9)} otherwise") == []


def test_a_part_of_one_question_is_no_match_because_another_question_is_that_part():
    whole, longer = example(candidate(line(9))), example(candidate(f"tell me why {line(9)} and then what is it"))
    text = Text("t", f"see {line(9)}, of course, and much more besides")
    assert [m.example_id for m in find_matches([longer, whole], [text])] == [whole.id]


def test_short_questions_that_differ_in_a_number_differ():
    other_year = candidate("In the year 1901 the tower was built by the", reference_answer="x")
    assert matches(other_year, "In the year 1902 the tower was built by the") == []


def test_held_out_examples_are_looked_for_by_question_and_by_all_they_hold():
    held_out = example(candidate(line(6), reference_answer=" ".join(WORDS[6:13])))
    again, same = example(candidate(f"well then {line(14)}")), example(candidate(line(6), reference_answer="other"))
    assert [m.example_id for m in find_matches([again, same], gather_texts([held_out]))] == [again.id, same.id]


def test_every_string_of_a_row_is_read_however_deep(tmp_path: Path):
    import pyarrow
    from pyarrow import parquet

    row = {"task": "1", "turns": 2, "prompt_0": "first", "prompt_1": None, "reference_texts_0": ["second", "third"],
           "rubric": [{"title": "fourth", "annotations": {"weight": 3, "criteria_description": "fifth"}}]}  # fmt: skip
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "data.parquet")
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n\n" + json.dumps({"q": "sixth"}) + "\n")
    (tmp_path / "lines.txt").write_text("seventh\neighth\n")
    (tmp_path / "README.md").write_text("not read")
    texts = read_texts(find_files([str(tmp_path)]))
    strings = {(t.where, t.text) for t in texts}
    assert {t for w, t in strings if w == "data.parquet:1"} == {"1", "first", "second", "third", "fourth", "fifth"}
    assert {t for w, t in strings if w == "rows.jsonl:1"} == {"1", "first", "second", "third", "fourth", "fifth"}
    assert strings >= {("rows.jsonl:3", "sixth"), ("lines.txt:1", "seventh"), ("lines.txt:2", "eighth")}
    assert not any(w.startswith("README") for w, _ in strings)


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("corpora/prbench", "hf download ScaleAI/PRBench --repo-type dataset --local-dir corpora/prbench"),
        ("corpora/prbench/legal.parquet", "--local-dir corpora/prbench (CC-BY-4.0)"),
        ("principia-bench", "hf download facebook/principia-bench"),
        ("other.jsonl", "put the benchmark there, or write decontaminate: []"),
    ],
)
def test_a_missing_file_is_an_error_that_says_where_to_get_it(path, advice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as refusal:
        find_files([path])
    assert advice in str(refusal.value)


def test_a_folder_without_a_readable_file_is_missing_too(tmp_path):
    (tmp_path / "data.xlsx").write_text("a")
    with pytest.raises(RecipeError, match=r"no \.jsonl, .* or \.parquet file there"):
        find_files([str(tmp_path)])


def test_every_form_of_rows_is_read_and_other_files_are_counted(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"q": "b"}\n')
    (tmp_path / "c.json").write_text('[{"q": "c"}, "also c"]')
    (tmp_path / "one.json").write_text('{"data": [{"q":\n "one"}]}')
    (tmp_path / "lines.json").write_text('{"q": "first"}\n{"q": "second"}\n')
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"q": "d"}\n'))
    (tmp_path / "e.csv").write_text('id,q\n1,"e, and\nmore"\n')
    (tmp_path / "f.TSV").write_text("f\tg\n")
    (tmp_path / "g.xlsx").write_text("x")
    (tmp_path / "LICENSE").write_text("x")
    (tmp_path / ".gitattributes").write_text("x")
    texts = {text.text for text in read_texts(find_files([str(tmp_path)]))}
    assert texts == {"b", "c", "also c", "one", "first", "second", "d", "id", "q", "1", "e, and\nmore", "f", "g"}
    assert count_left_out([str(tmp_path)]) == {".xlsx": 1, "no ending": 1}


def test_no_benchmark_is_passed_over_because_of_how_it_is_kept(tmp_path):
    folder, elsewhere = tmp_path / "benchmarks", tmp_path / "elsewhere"
    for made in (folder, elsewhere):
        made.mkdir()
    (elsewhere / "a.jsonl").write_text('{"q": "behind a link"}\n')
    (folder / "linked").symlink_to(elsewhere)
    pyarrow.parquet.write_table(pyarrow.table({"q": [b"as bytes"]}), folder / "b.parquet")
    assert {text.text for text in read_texts(find_files([str(folder)]))} == {"behind a link", "as bytes"}
    (folder / "gone.txt").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecipeError, match=r"gone\.txt: cannot be read"):
        read_texts(find_files([str(folder)]))


def test_texts_of_fewer_than_eight_words_are_counted():
    assert count_short([Text("t", text) for text in (line(7), line(8), "", "$$")]) == 2


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.jsonl.gz", "x.parquet"])
def test_a_broken_file_is_an_error(name, tmp_path):
    (tmp_path / name).write_text("{")
    with pytest.raises(RecipeError, match=name):
        read_texts(find_files([str(tmp_path)]))


def run_main(monkeypatch, recipe: str, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["dataset", recipe, *arguments])
    return find_failure(module.main)


def test_the_command_blocks_and_reports(monkeypatch, tmp_path, capsys):
    overlapping = f"What follows from {line(13)}?"
    runs = [
        write_run(
            tmp_path / arm,
            demo_recipe(f"arm={arm}"),
            *[simple(f"{arm}{i}", text, DEMO, arm) for i, text in enumerate([overlapping, "another", "a third"])],
        )
        for arm in ("agentic", "cot")
    ]
    arms = [f"arms.agentic={runs[0]}", f"arms.cot={runs[1]}", f"run={tmp_path / 'd'}"]
    bench = tmp_path / "prbench"
    for recipe in ("legal", "science"):
        assert "hf download" in run_main(monkeypatch, f"recipes/{recipe}/dataset.yaml", *arms)
    printed = run_main(monkeypatch, "recipes/demo/dataset.yaml", *arms, f"decontaminate=[{bench}]")
    assert "prbench: no .jsonl, " in printed
    assert not (tmp_path / "d" / "examples.jsonl").exists()
    bench.mkdir()
    (bench / "legal.jsonl").write_text(json.dumps({"prompt_0": f"Hello: {line(14)}"}) + "\n")
    assert run_main(monkeypatch, "recipes/demo/dataset.yaml", *arms, f"decontaminate=[{bench}]") == ""
    report = json.loads((tmp_path / "d" / "decontamination.json").read_text())
    assert list(report["files"]) == [str(bench / "legal.jsonl")]
    assert [(m["arm"], m["against"], m["ngram"]) for m in report["removed"]] == [
        (arm, "legal.jsonl:1", line(13)) for arm in ("agentic", "cot")
    ]
    kept = (tmp_path / "d" / "examples.jsonl").read_text()
    assert line(13) not in kept
    assert "another" in kept
    # Another benchmark file makes another dataset.
    (bench / "legal.jsonl").write_text("{}\n")
    assert "was made from other inputs" in run_main(
        monkeypatch, "recipes/demo/dataset.yaml", *arms, f"decontaminate=[{bench}]"
    )


def test_going_without_must_be_written_out(monkeypatch, tmp_path):
    recipe = tmp_path / "dataset.yaml"
    recipe.write_text(f"run: {tmp_path / 'd'}\narms: {{}}\n")
    assert "no value for decontaminate" in run_main(monkeypatch, str(recipe))
    recipe.write_text(f"run: {tmp_path / 'd'}\narms: {{}}\ndecontaminate: []\n")
    assert run_main(monkeypatch, str(recipe)) == ""


DOCUMENT = f"Before it, other words. {line(13)}. And after it."


@pytest.mark.parametrize(
    ("benchmark", "shared"),
    [
        (line(13), line(13)),
        (f"asked: {line(14)}?", line(13)),
        (line(12), line(12)),  # a short text stands in the document as a whole
        (line(8), line(8)),
        (line(7), ""),  # too common
        (f"{line(12)} another end and more words", ""),  # 12 words of a longer text
        ("", ""),
    ],
)
def test_a_document_that_contains_a_benchmark_text_is_dropped(benchmark, shared):
    contents = Benchmarks([Text("b.jsonl:1", benchmark)])
    if not shared:
        contents.check(DOCUMENT)
        return
    with pytest.raises(Drop) as drop:
        contents.check(DOCUMENT)
    assert (drop.value.reason, drop.value.detail) == ("contains a text of a benchmark", f"b.jsonl:1: {shared}")
