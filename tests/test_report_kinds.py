"""Tests reports of data sets, trainings, evaluations and searches, and their index, without a browser."""

import base64
import gzip
import json
import os
import re
from contextlib import suppress
from dataclasses import replace

import pytest

from autodata.config import load
from autodata.meta import evaluate
from autodata.meta.evaluate import Trial
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.report import dataset, evaluation, index, meta, training
from autodata.report.charts import Forest, ForestRow, Frame, Line, Lines, count_bins
from autodata.report.curves import smooth
from autodata.report.index import describe, main, report
from autodata.report.meta import compare_texts
from autodata.run.folder import Run, find_problem, read_manifest
from autodata.run.records import Incomplete, RunError
from autodata.run.snapshot import SNAPSHOT
from autodata.stats.intervals import NO_SPREAD, Estimate
from autodata.stats.writing import write_estimate
from tests.helpers.report_world import write_dataset, write_evaluation, write_search, write_training
from tests.test_report_generation import HALFWAY

pytestmark = pytest.mark.slow

COMMANDS = {"dataset": dataset.COMMAND, "grpo": training.COMMAND, "eval": evaluation.COMMAND, "meta": meta.COMMAND}
SCHEMAS_OF = {"dataset": DatasetRecipe, "grpo": GrpoRecipe, "eval": EvalRecipe, "meta": MetaRecipe}
WRITERS = {"dataset": write_dataset, "grpo": write_training, "eval": write_evaluation, "meta": write_search}


def text_of(html: str) -> str:
    """Return the text of a page without tags and repeated spaces."""
    body = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def page_of(folder) -> str:
    return text_of(report(folder).read_text())


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_has_a_page_that_loads_nothing(tmp_path, kind):
    html = report(WRITERS[kind](tmp_path / "run")).read_text()
    assert "not finished" not in text_of(html)
    assert not re.search(r'(src|href)="(?!#)', html)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_run_that_was_only_begun_has_a_page_with_the_command_that_goes_on(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "run", finished=None)
    for path in folder.iterdir():
        if path.name not in ("manifest.json", "recipe.yaml") and path.is_file():
            path.unlink()
    (folder / "manifest.json").write_text(json.dumps({"inputs": {"kind": kind}}))
    html = page_of(folder)
    assert "This run is not finished" in html
    assert f"To resume it, run {COMMANDS[kind]} {folder}/recipe.yaml" in html


@pytest.mark.parametrize("kind", WRITERS)
def test_a_failed_run_of_any_kind_says_why_until_it_works_again(tmp_path, kind):
    folder = WRITERS[kind](tmp_path / "run", inputs={"kind": kind}, finished=None)
    settings = ["decontaminate=[]"] if kind == "dataset" else []
    recipe = load(SCHEMAS_OF[kind], [str(folder / "recipe.yaml"), *settings])
    (folder / "manifest.json").unlink()

    def work(problem: BaseException | None) -> None:
        with suppress(BaseException), Run(str(folder), kind, recipe, {}) as run:
            run.start()
            if problem:
                raise problem

    work(RunError("the judge <b>died</b>\nand more"))
    assert "its last session ended with RunError: the judge &lt;b&gt;died&lt;/b&gt; and more ." in page_of(folder)
    assert describe(folder, tmp_path)["failure"] == "RunError: the judge <b>died</b> and more"
    work(KeyboardInterrupt())
    assert "its last session ended with KeyboardInterrupt" in page_of(folder)
    for quiet in (None, Incomplete(folder)):
        work(quiet)
        assert "its last session ended" not in page_of(folder)


def test_an_error_after_the_end_of_a_run_is_none_of_it(tmp_path):
    with suppress(BrokenPipeError), Run(str(tmp_path / "run"), "eval", {}, {}) as run:
        run.start()
        run.finish([])
        raise BrokenPipeError
    assert describe(tmp_path / "run", tmp_path)["failure"] == "" == find_problem(read_manifest(tmp_path / "run"))


def test_a_data_set_shows_its_arms_beside_each_other_and_every_example(tmp_path):
    folder = write_dataset(tmp_path / "run")
    html = report(folder).read_text()
    packed = re.search(r'id="index">([^<]+)<', html)[1]
    entries = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert len(entries) == 16
    assert {(e["arm"], e["split"]) for e in entries} == {(a, s) for a in ("agentic", "cot") for s in ("train", "test")}
    read = text_of(html)
    assert "weak_avg 0.500 [0.315, 0.685] n=8 0.500 [0.315, 0.685] n=8" in read
    assert "complete 8 67 %" in read
    assert "gone cot bench.jsonl:3 these very words" in read


def test_scores_fall_into_tenths():
    assert count_bins([0.0, 0.1, 0.3, 1.0, 1.0]) == [1, 1, 0, 1, 0, 0, 0, 0, 0, 2]


def test_a_training_shows_its_quarters_judges_checks_and_completions(tmp_path):
    read = page_of(write_training(tmp_path / "run"))
    assert "0.15 → 0.75" in read
    assert "64 3 failed: HTTP 500 2, &lt;late&gt; 1; over 2 sessions" in read
    assert "agentic_test 0.000 (step 0) 0.400 (step 8) 0.400 (step 8)" in read
    assert "cut off, at most 1 0.123" in read
    assert "KL to the initial model: – logged only if trainer.beta is above 0" in read
    assert "Two judges" in read
    assert "step 8, reward 1, advantage 1" in read
    assert "&lt;b&gt;no&lt;/b&gt;" in read


def test_a_training_names_the_data_set_of_its_watched_sets(tmp_path):
    folder = write_training(tmp_path / "run")
    assert "They come from the data set" not in page_of(folder)
    recipe = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(recipe.replace("evaluate_dataset: null", "evaluate_dataset: runs/apart"))
    said = "They come from the data set runs/apart, the training examples from runs/demo/dataset."
    assert said in page_of(folder)


def test_a_training_without_completions_and_second_judge_says_how_to_have_them(tmp_path):
    folder = write_training(tmp_path / "run")
    (folder / "checkpoints" / "completions" / "completions_00008.parquet").unlink()
    curves = json.loads((folder / "curve.json").read_text())
    curves["watched"] = {"agentic_test": [{"step": 0, "score": 0.5, "cut_off": 0.1}]}
    del curves["probe"]  # older runs have no probe
    (folder / "curve.json").write_text(json.dumps(curves))
    read = page_of(folder)
    assert "set trainer.log_completions=true" in read
    assert "Second judge: –" in read


def test_smoothing_looks_back_only():
    assert smooth([(1, 0.0), (2, 1.0), (3, 0.5)]) == [(1, 0.0), (2, 0.5), (3, 0.5)]


def test_an_evaluation_shows_sets_parts_categories_and_how_to_see_every_answer(tmp_path):
    folder = write_evaluation(tmp_path / "run")
    read = page_of(folder)
    assert "0.250 [0.125, 0.500]" in read
    assert "· algebra 0.250 [0.125, 0.500] 0.250 [0.125, 0.500] – 4 4 2" in read
    assert "0.250 to 0.375" in read
    assert "Legal Accuracy judge, 12 grades 0.750" in read
    assert "4 answers: 1 without score" in read
    assert f"inspect view --log-dir {folder}/logs" in read


def test_a_search_shows_lineage_gain_changes_and_log(tmp_path):
    html = report(write_search(tmp_path / "run")).read_text()
    read = text_of(html)
    assert '<a href="#member-3" aria-label="member 3' in html
    assert "from member 1 · +0.250" in read
    assert "+0.125 [-0.050, 0.300]" in read
    assert "Its validation rate is 0.250 above its test rate" in read
    assert "<ins>has to</ins>" in html and "<del>must</del>" in html
    assert "accept 2, refused 1, reject 1" in read
    assert "2 0 refused: nothing is changed 3 0 +0.250 [" in read
    assert "python -m autodata.meta.ablate" in read


def test_what_an_editor_wrote_is_text(tmp_path):
    evil = "<img src=x onerror=alert(1)></script>"
    html = report(write_search(tmp_path / "run", hypothesis=evil)).read_text()
    assert evil not in html
    assert "&lt;img src=x" in html


def test_long_stretches_that_stayed_are_folded():
    before = "".join(f"line {n}\n" for n in range(20))
    lines = compare_texts(before, before.replace("line 10", "row 10"))
    assert ("-", "line") in lines and ("+", "row") in lines
    assert lines[1] == ("…", "8 unchanged lines\n")
    assert compare_texts("same\n", "same\n") == [("=", "same\n")]


def test_a_lead_is_measured_where_both_were():
    def trials(member, *passed):
        return [Trial(member, f"d{n % 2}", n, p, (), 0) for n, p in enumerate(passed)]

    lead = evaluate.compare(trials(0, True, False, None, False), trials(1, True, True, True, None))
    assert lead.value == 0.5  # the first document has a difference of 0, the second of 1
    assert evaluate.compare(trials(0, None), trials(1, True)) is None


def test_an_interval_is_written_where_there_is_one():
    assert write_estimate(Estimate(0.5, 0.25, 1)) == "0.500 [0.250, 1.000]"
    assert write_estimate(Estimate(0.5, 0.25, 1, 6)) == "0.500 [0.250, 1.000] n=6"
    assert write_estimate(Estimate(12.34, None, None)) == "12.3"
    assert write_estimate(Estimate(12.34, None, None, 8, NO_SPREAD)) == f"12.3 ({NO_SPREAD}, n=8)"
    assert write_estimate(None) == "–"
    assert Forest("", [ForestRow("a", Estimate(-0.2, -0.4, 0.1)), ForestRow("b", None)]).x.low == -0.5


def test_lines_of_unequal_length_share_a_table():
    chart = Lines(Frame("t", "d", "step", "y"), [Line("a", "accent", [(0, 1), (2, 3)]), Line("b", "muted", [(1, 5)])])
    assert chart.table[1] == [[0, 1, None], [1, None, 5], [2, 3, None]]


def test_the_index_has_a_row_for_every_run_and_writes_what_is_missing(tmp_path, monkeypatch, capsys):
    for kind, write in WRITERS.items():
        write(tmp_path / "runs" / kind)
    partial = write_training(tmp_path / "runs" / "deep" / "partial", finished=None, steps=None)
    (partial / "progress.json").write_bytes(SNAPSHOT.dump_json(replace(HALFWAY, rates={"calls_per_s": 2.0})))
    other = tmp_path / "runs" / "audit"
    other.mkdir()
    (other / "manifest.json").write_text(json.dumps({"inputs": {"kind": "judge_audit"}}))
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path / "runs")])
    main()
    assert capsys.readouterr().out.strip() == str(tmp_path / "runs" / "index.html")
    html = (tmp_path / "runs" / "index.html").read_text()
    for name in (*WRITERS, "deep/partial"):
        assert f'href="{name}/report.html"' in html
        assert (tmp_path / "runs" / name / "report.html").exists()
    read = text_of(html)
    assert "6 runs, 4 finished" in read
    assert "running: 1/24 documents" in read
    assert "reward 0.15 → 0.75 in 8 steps" in read
    assert "agentic_test 0.250, prbench_legal 0.250" in read
    assert "test pass rate 0.500 → 0.500, 2 of 4 mutants accepted" in read
    assert "20 min 00 s" in read
    assert "judge audit" in read and "no report for a run of kind" in read


def test_a_report_is_written_again_when_the_run_went_on(tmp_path):
    folder = write_evaluation(tmp_path / "runs" / "eval")
    report(tmp_path / "runs")
    assert not index.is_outdated(folder)
    later = (folder / "report.html").stat().st_mtime + 5
    os.utime(folder / "results.json", (later, later))
    assert index.is_outdated(folder)
    os.utime(folder / "report.html", (later, later))
    assert not index.is_outdated(folder)
    (folder / "report.html").write_text("<!doctype html>\n" + "a page of an earlier version " * 100)
    os.utime(folder / "report.html", (later, later))
    assert index.is_outdated(folder)


def test_a_run_that_cannot_be_reported_is_named_and_hinders_no_other(tmp_path):
    write_evaluation(tmp_path / "runs" / "good")
    bad = write_search(tmp_path / "runs" / "bad")
    (bad / "members" / "001" / "member.json").write_text("{}")
    read = text_of(report(tmp_path / "runs").read_text())
    assert "not a member of a population" in read
    assert (tmp_path / "runs" / "good" / "report.html").exists()


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"no manifest\.json in it or in a folder below it"):
        report(tmp_path)
