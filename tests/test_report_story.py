"""Tests the story of a document and of a chain of runs: the card, and the index that tells what the runs came to."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.report.chain import Link, list_facts, list_tables, read_table, sort_chain
from autodata.report.index import main, report, write_card
from autodata.report.storyboard import Story, choose_story, tell_story
from autodata.report.training import describe_watched
from autodata.run.folder import find_runs
from autodata.serving.scripted import NAME
from autodata.types import Criterion, Judgement, WrongCall
from tests.helpers.fake_runs import a_round, candidate, demo_recipe, simple, trajectory, write_run
from tests.helpers.report_world import TIMES, write_dataset, write_evaluation, write_training
from tests.test_report_generation import KIND, MALFORMED, two_rounds
from tests.test_report_kinds import text_of

pytestmark = pytest.mark.slow

EVIL = "<img src=x onerror=alert(1)></script>"


def accept(document: str, *rejected: int, strong: int = 8):
    """Make a document whose questions are rejected for so many right answers of the weak solver, then accepted."""
    recipe = demo_recipe()
    rounds = [a_round(n, candidate(f"q{n}"), recipe, weak=right) for n, right in enumerate(rejected, 1)]
    return trajectory(document, *rounds, a_round(len(rounds) + 1, candidate("q"), recipe, strong=strong))


def test_a_story_ends_with_the_first_accepted_question():
    story = tell_story(accept("d", 8, 0))
    assert [round.number for round in story.rejected] == [1, 2]
    assert story.accepted.number == 3
    assert list(story.meanings) == ["too_easy", "no_signal"]
    assert not story.left_out
    weak, strong = story.criteria[0][2:]
    assert (sum(weak), len(weak), sum(strong)) == (2, 8, 8)


def test_a_document_without_an_accepted_question_has_no_story():
    assert tell_story(trajectory("d", MALFORMED)) is None
    assert tell_story(trajectory("d")) is None
    only_weak = a_round(1, candidate("q"), demo_recipe())
    assert tell_story(trajectory("d", replace(only_weak, strong=()))) is None
    assert choose_story([trajectory("d", MALFORMED)]) is None


def test_the_story_that_shows_most_is_chosen():
    many_kinds, long, wide, narrow = accept("k", 8, 0), accept("l", 0, 0), accept("w", 0), accept("n", 0, strong=6)
    for better, worse in ((many_kinds, wide), (wide, long), (wide, narrow)):
        assert choose_story([worse, better]).document == better.document_id
        assert choose_story([better, worse]).document == better.document_id


@pytest.mark.parametrize(("rounds", "shown", "left_out"), [(6, 6, 0), (7, 6, 1), (16, 6, 10)])
def test_a_long_story_leaves_out_rounds_of_its_middle_and_says_how_many(rounds, shown, left_out):
    story = tell_story(accept("d", *[0] * rounds))
    assert len(story.rejected) == shown
    assert story.left_out.total() == left_out
    assert (story.rejected[0].number, story.rejected[-1].number) == (1, rounds)


def test_an_attempt_without_a_judgement_meets_nothing_and_fails_nothing():
    made = a_round(1, candidate("q"), demo_recipe())
    lost = replace(made.weak[0], judgement=Judgement(None, None))
    story = Story("d", [replace(made, weak=(lost, *made.weak[1:]))])
    assert story.criteria[0][2][0] is None


def test_many_criteria_are_left_out_and_counted():
    rubric = tuple(Criterion(f"c{n}", 1) for n in range(15))
    story = Story("d", [replace(a_round(1, candidate("q"), demo_recipe()), candidate=candidate("q", rubric=rubric))])
    assert story.criteria_left_out == 3


def test_a_card_shows_rejected_rounds_the_accepted_question_and_its_rubric(tmp_path, monkeypatch, capsys):
    folder = write_run(tmp_path / "run", demo_recipe(), two_rounds(), trajectory("d2", MALFORMED), **KIND)
    monkeypatch.setattr("sys.argv", ["report", folder, "--card", "d1"])
    main()
    assert capsys.readouterr().out.strip() == f"{folder}/card.html"
    html = Path(folder, "card.html").read_text()
    read = text_of(html)
    for text in ("1 rejected question, then one worth training on", "1 too easy", "2 accepted", "names the word",
                 "+2 points", "−1 point", "Weak solver: small. Strong solver: large."):  # fmt: skip
        assert text in read
    assert html.count("<circle") == 16 + 3 * 16  # the attempts of round 1, and three criteria for those of round 2
    assert not re.search(r'(src|href)="(?!#)', html)


@pytest.mark.parametrize("document", ["d2", "nobody"])
def test_a_card_of_a_document_without_an_accepted_question_is_refused(tmp_path, document):
    folder = write_run(tmp_path / "run", demo_recipe(), two_rounds(), trajectory("d2", MALFORMED), **KIND)
    with pytest.raises(WrongCall, match=f"no document '{document}' with an accepted question; with one: d1"):
        write_card(Path(folder), document)


def test_a_card_shows_markup_as_text(tmp_path):
    proposal = candidate(EVIL, rubric=(Criterion(EVIL, 1),))
    evil = trajectory(EVIL, a_round(1, replace(proposal, rubric=candidate("").rubric), demo_recipe()))
    evil = replace(evil, rounds=(replace(evil.rounds[0], candidate=proposal),))
    html = write_card(Path(write_run(tmp_path / "run", demo_recipe(), evil, **KIND)), EVIL).read_text()
    assert "<img" not in html
    assert html.count("&lt;img") >= 4  # title, name of the document, question and criterion


def test_a_story_that_is_made_up_says_so(tmp_path):
    models = {"models": {"weak_solver": f"{NAME}-weak", "strong_solver": "large"}}
    folder = Path(write_run(tmp_path / "runs" / "run", demo_recipe(), two_rounds(), **KIND | TIMES | models))
    for page in (write_card(folder, "d1"), report(folder), report(folder.parent)):
        assert "made up: A scripted server" in text_of(page.read_text())


def test_a_baseline_has_no_story_because_its_questions_do_not_follow_from_each_other(tmp_path):
    recipe = demo_recipe(name="generate_cot")
    baseline = trajectory("d1", *two_rounds().rounds, arm="cot")
    folder = Path(write_run(tmp_path / "runs" / "run", recipe, baseline, **KIND | TIMES))
    for page in (report(folder), report(folder.parent)):
        assert "one worth training on" not in text_of(page.read_text())


# ── the index ────────────────────────────────────────────────────────────────────────────────


def write_chain(folder: Path) -> Path:
    """Write a chain whose folders are not named in its order."""
    recipe = demo_recipe()
    facts = {"inputs": KIND["inputs"] | {"domain.name": "skills"}, "started": "2026-01-01T10:00:00+00:00"}
    facts |= {
        "finished": "2026-01-01T10:20:00+00:00",
        "summary": {"accepted_documents": 2, "documents": 3, "rounds": 5},
    }
    write_run(folder / "z_made", recipe, accept("d1", 8, 0), simple("d2", "q", recipe), **facts)
    write_dataset(folder / "y_data")
    write_evaluation(
        folder / "x_before", "untrained", evaluated={"step": None}, inputs={"kind": "eval", "dataset": "d"}
    )
    write_training(folder / "w_train", examples={"train": 12, "agentic_test": 1})
    write_evaluation(folder / "a_after", "trained", evaluated={"step": 8}, inputs={"kind": "eval", "dataset": "d"})
    results = json.loads((folder / "a_after" / "results.json").read_text())
    results["agentic_test"]["mean"] = {"value": 0.5, "low": 0.25, "high": 0.75}
    (folder / "a_after" / "results.json").write_text(json.dumps(results))
    (folder / "table2.md").write_text(f"### The weak model {EVIL}\n\n| model | mean |\n|---|---|\n| a | 0.5 |\n")
    (folder / "table10.md").write_text("### Another\n")
    return folder


def test_runs_come_in_the_order_of_the_chain(tmp_path):
    folder = write_chain(tmp_path / "runs")
    links = sort_chain(list(find_runs(folder)), folder)
    assert [link.folder.name for link in links] == ["z_made", "y_data", "x_before", "w_train", "a_after"]


def test_chains_of_several_folders_are_not_mixed(tmp_path):
    for name in ("one", "two"):
        write_evaluation(tmp_path / name / "evaluation")
        write_training(tmp_path / name / "training")
    names = [link.folder.relative_to(tmp_path).as_posix() for link in sort_chain(list(find_runs(tmp_path)), tmp_path)]
    assert names == ["one/evaluation", "one/training", "two/evaluation", "two/training"]


def test_the_index_tells_the_story_first(tmp_path):
    folder = write_chain(tmp_path / "runs")
    html = report(folder).read_text()
    read = text_of(html)
    headings = re.findall(r"<h2>([^<]+)</h2>", html)
    assert headings == ["Results", "Reward", "The story of a document", "Tables", "Runs, in the order of the chain"]
    assert "z_made: documents with an accepted question 2 of 3 67 %" in read
    assert "w_train: reward, first → last quarter 0.15 → 0.75 8 steps" in read
    assert "agentic_test, before → after training 0.250 → 0.500 [0.125, 0.500] → [0.250, 0.750]" in read
    assert "2 rejected questions, then one worth training on" in read
    assert 'href="z_made/report.html#doc=d1"' in html
    assert html.index("z_made/report.html#doc") < html.index('<a href="z_made/report.html">')
    assert "<th>model</th>" in html and "<img" not in html


def test_three_models_on_a_set_are_compared_in_the_chart_only(tmp_path):
    for name, step in (("a", None), ("b", 4), ("c", 8)):
        write_evaluation(tmp_path / name, name, evaluated={"step": step})
    read = text_of(report(tmp_path).read_text())
    assert "before → after" not in read
    assert read.count("4 examples, 2 answers each") == 3


def test_scores_on_other_data_are_not_compared(tmp_path):
    for name, step in (("a", None), ("b", 4)):
        write_evaluation(tmp_path / name, name, evaluated={"step": step}, inputs={"kind": "eval", "dataset": name})
    assert "before → after" not in text_of(report(tmp_path).read_text())


def test_damaged_records_of_a_run_leave_the_index_whole(tmp_path):
    folder = write_chain(tmp_path / "runs")
    with (folder / "z_made" / "trajectories.jsonl").open("ab") as file:
        file.write(b'{"half": 1}\n')
    read = text_of(report(folder).read_text())
    assert "no report: " in read and "not a valid record" in read
    assert "one worth training on" not in read
    assert "agentic_test, before → after training" in read


def test_tables_come_by_their_number_and_their_markup_is_text(tmp_path):
    write_chain(tmp_path / "runs")
    tables = list_tables(tmp_path / "runs")
    assert [path.name for path in tables] == ["table2.md", "table10.md"]
    assert "&lt;img" in read_table(tables[0])


def test_where_a_model_has_two_scores_both_say_on_how_many_answers_they_rest(tmp_path):
    folder = write_chain(tmp_path / "runs")
    assert describe_watched({"examples": {"train": 12, "agentic_test": 1}}) == "1 example of agentic_test"
    assert describe_watched({}) == ""
    assert "on few answers: 1 example of agentic_test." in text_of(report(folder).read_text())
    assert "(1 example of agentic_test, 1 answer each)" in text_of((folder / "w_train" / "report.html").read_text())
    assert "4 examples, 2 answers each" in text_of((folder / "x_before" / "report.html").read_text())


def test_a_run_that_accepted_nothing_says_so_at_the_head_of_the_index(tmp_path):
    summary = {"accepted_documents": 0, "documents": 32}
    links = [Link(tmp_path / "none", {"summary": summary}), Link(tmp_path / "not_yet", {"summary": {}})]
    (fact,) = list_facts(links, tmp_path)
    assert (fact.name, fact.value, fact.note) == ("none: documents with an accepted question", "0 of 32", "0 %")
