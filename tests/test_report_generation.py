"""Tests the report of a generation run without a browser: finished, unfinished, empty, damaged, of every domain."""

import asyncio
import base64
import gzip
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.recipes.domain import Gate, expects_cut_off
from autodata.report import generation, storyboard
from autodata.report.index import report
from autodata.report.overview import VERDICTS, Overview
from autodata.report.page import list_outcomes
from autodata.report.storyboard import Blocks, add_document, compare_questions, compare_words
from autodata.run.records import RunError
from autodata.run.snapshot import SNAPSHOT, RunState, Snapshot
from autodata.serving.costs import Cost
from autodata.serving.journal import Journal
from autodata.types import Criterion, End, Failure, Outcome, Quality, Reply, Role, Round, Verdict
from tests.helpers.fake_runs import a_round, attempts, candidate, checked, demo_recipe, simple, trajectory, write_run
from tests.helpers.recipes import load_recipe

KIND = {"inputs": {"kind": "generate"}}
HALFWAY = Snapshot(
    kind="generate",
    state=RunState.RUNNING,
    started="",
    updated="",
    unit="documents",
    done=1,
    total=24,
    accepted=1,
    rates={},
    eta_s=None,
    elapsed_s=1.0,
    calls=1234,
    tokens=9,
    roles={Role.CHALLENGER: Cost(calls=1234)},
    speeds={},
    in_flight={},
    failures={},
    facts={},
    pid=1,
    host="here",
)
MALFORMED = Round(1, None, None, (), (), Verdict(False, Failure.MALFORMED, "no JSON"))


def two_rounds(document="d1"):
    recipe = demo_recipe()
    first, second = (candidate(f"Which word follows the {n} stone?") for n in ("first", "second"))
    easy = a_round(1, first, recipe, weak=8, quality=checked(first, True))
    good = a_round(2, second, recipe, quality=checked(second, True), instruction="be harder", diagnosis="too plain")
    return trajectory(document, easy, good)


def page_of(tmp_path, *trajectories, **manifest):
    write_run(tmp_path / "run", demo_recipe(), *trajectories, **(KIND | manifest))
    return report(tmp_path / "run").read_text()


def unpack(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_a_run_becomes_one_file_with_every_document_in_it(tmp_path):
    html = page_of(tmp_path, two_rounds(), trajectory("d2", MALFORMED))
    index = unpack(re.search(r'id="index">([^<]+)<', html)[1])
    assert [(e["id"], e["verdicts"], e["end"]) for e in index] == [
        ("d1", ["too_easy", "accepted"], "accepted"),
        ("d2", ["malformed"], "rounds_used"),
    ]
    records = unpack(re.search(r'id="block-0">([^<]+)<', html)[1])
    assert records[index[0]["at"]]["trajectory"]["rounds"][1]["instruction"] == "be harder"
    assert records[0]["changes"][1] == [
        ["=", "Which word follows the"],
        ["-", "first"],
        ["+", "second"],
        ["=", "stone?"],
    ]
    assert "not finished" not in html
    assert "This run has no ledger" in html


def test_the_funnel_counts_what_each_step_let_through():
    overview = Overview()
    for record in (two_rounds(), trajectory("d2", MALFORMED), trajectory("d3", end=End.SKIPPED)):
        overview.add(record)
    counts = {what: [(step.name, step.count) for step in steps] for what, steps in overview.funnels.items()}
    steps = ["readable candidate", "passed the quality check", "tried by the weak solver"]
    steps += ["tried by the strong solver", "accepted by their scores", "accepted"]
    assert counts == {
        "documents": [("documents", 3), *zip(steps, (1, 1, 1, 1, 1, 1), strict=True)],
        "rounds": [("rounds", 3), *zip(steps, (2, 2, 2, 2, 1, 1), strict=True)],
    }
    assert {s.name: list(s.values) for s in overview.by_round.series} == {
        "malformed": [1, 0],
        "too easy": [1, 0],
        "accepted": [0, 1],
    }
    assert overview.by_length.table[1] == [[1, 0, 1], [2, 1, 0]]


def test_points_are_coloured_by_the_verdict_of_the_preset_they_are_shown_under():
    recipe = demo_recipe()
    overview = Overview()
    overview.add(trajectory("d", a_round(1, candidate("q"), recipe, weak=6)))  # too easy, but wide takes it
    styles = {
        name: [p.style for p in overview.scatter(name, gate).points] for name, gate in recipe.domain.presets.items()
    }
    assert styles == {"just_right": ["too_easy"], "wide": ["accepted"]}


def test_many_points_are_drawn_as_fewer_and_none_is_lost():
    overview = Overview()
    places = {(a / 1000, b / 1000, "accepted"): 1 for a in range(0, 1000, 7) for b in range(0, 1000, 11)}
    overview.means["p"] = Counter(places)
    drawn = overview.scatter("p", Gate())
    assert len(drawn.points) <= 1500
    assert sum(point.count for point in drawn.points) == len(places)


def test_what_failed_says_why(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    html = page_of(first, two_rounds(), finished=None, sessions=[{"problem": "NoKey: KEY <b> is not set"}])
    assert "its last session ended with <q>NoKey: KEY &lt;b&gt; is not set</q>." in html
    assert "KEY &lt;b&gt; is not set" in report(first).read_text()
    html = page_of(second, two_rounds(), finished=None, sessions=[{"problem": "earlier"}, {}])
    assert "last session" not in html


def test_what_is_not_finished_says_so(tmp_path):
    html = page_of(tmp_path, two_rounds(), finished=None)
    assert "This run is not finished:</strong> Documents with a trajectory: 1." in html
    (tmp_path / "run" / "progress.json").write_bytes(SNAPSHOT.dump_json(HALFWAY))
    html = report(tmp_path / "run").read_text()
    assert "Documents with a trajectory: 1 of 24." in html
    assert "1,234" in html  # calls of the ledger so far
    with (tmp_path / "run" / "trajectories.jsonl").open("ab") as file:
        file.write(b'{"document_id": "torn')
    assert len(unpack(re.search(r'id="index">([^<]+)<', report(tmp_path / "run").read_text())[1])) == 1


def test_a_run_without_a_trajectory(tmp_path):
    html = page_of(tmp_path, finished=None)
    assert "No document has a trajectory yet." in html
    assert "There are no scores yet" in html


def test_a_damaged_line_is_named(tmp_path):
    write_run(tmp_path / "run", demo_recipe(), two_rounds(), **KIND)
    path = tmp_path / "run" / "trajectories.jsonl"
    path.write_bytes(path.read_bytes() + b'{"half": 1}\n')
    with pytest.raises(RunError, match=r"trajectories\.jsonl:2: not a valid record"):
        report(tmp_path / "run")


def test_a_judgement_that_does_not_fit_its_rubric_is_named(tmp_path):
    write_run(tmp_path / "run", demo_recipe(), two_rounds(), two_rounds("d2"), **KIND)
    path = tmp_path / "run" / "trajectories.jsonl"
    first, second = path.read_text().splitlines()
    broken = json.loads(second)
    broken["rounds"][1]["weak"][0]["judgement"]["met"] = [True, False]
    path.write_text(f"{first}\n{json.dumps(broken)}\n")
    with pytest.raises(RunError, match=r"trajectories\.jsonl:2: not a valid record \(2 verdicts for 3 criteria\)"):
        report(tmp_path / "run")


def test_failures_and_what_was_left_out_are_told(tmp_path):
    write_run(tmp_path / "run", demo_recipe(), two_rounds(), quarantined=["d7"], **KIND)
    line = json.dumps({"document_id": "d8", "kind": "JudgeFailed", "error": "e"})
    (tmp_path / "run" / "errors.jsonl").write_text(f"{line}\n{line}\n")
    html = report(tmp_path / "run").read_text()
    assert "JudgeFailed 2" in html
    assert "Left out after repeated failures: 1 document." in html


def test_the_ledger_is_shown_by_role_and_per_accepted_document(tmp_path):
    booked = {"calls": 1234, "replayed": 5, "prompt_tokens": 1, "completion_tokens": 2, "call_seconds": 3.5}
    ledger = {
        "challenger": booked | {"gpu_seconds": 90.0, "nano_usd": 250_000_000},
        "judge": booked | {"gpu_seconds": None},
    }
    html = page_of(tmp_path, two_rounds(), two_rounds("d2"), ledger=ledger)
    challenger, judge = re.findall(r'<tr><th scope="row">(?:challenger|judge)</th>(.*?)</tr>', html)[:2]
    assert re.findall(r"<td[^>]*>(.*?)</td>", challenger) == (
        ["14", "1,234", "5", "1", "–", "2", "–", "3.5", "90", "45", "$0.250", "$0.125"]
    )
    assert re.findall(r"<td[^>]*>(.*?)</td>", judge)[-4:] == ["–"] * 4


def test_the_time_line_is_of_the_runs_own_journal(tmp_path):
    folder = tmp_path / "run"
    write_run(folder, demo_recipe(), two_rounds(), **KIND)
    assert "There is no timeline of calls" in report(folder).read_text()
    journal = Journal(folder / "journal.sqlite")
    asyncio.run(journal.put("k", Reply(Outcome.ANSWERED, "a", "", "stop", "m", 1, 1, 2.0)))
    journal.close()
    assert "1 call in " in report(folder).read_text()


def test_calls_under_way_are_the_seconds_they_share():
    drawn = generation.draw([(0.0, 10.0), (5.0, 10.0), (9.5, 10.0)])
    assert [y for _, y in drawn.lines[0].points] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2.5]
    assert generation.draw([]) is None


@pytest.mark.parametrize("name", ["cs", "legal", "science"])
def test_every_domain_has_its_report(tmp_path, name):
    recipe = load_recipe(f"recipes/{name}/generate.yaml", "recipes/models/laptop.yaml")
    proposal = candidate("Who pays?", rubric=tuple(Criterion(f"c{n}", n or -1, "facts") for n in range(4)))
    met = [(False, True, False, False)] * 3
    solvers = [attempts(proposal.rubric, *met[:n]) for n in (3, 2)]
    refused = Verdict(False, Failure.IMPROVE if name == "legal" else Failure.TOO_HARD, "again")
    presets = dict.fromkeys(recipe.domain.presets, refused)
    only = Round(
        1, proposal, Quality(True, "", proposal.hash), *solvers, refused, presets, review={"verdict": "improve"}
    )
    write_run(tmp_path / "run", recipe, trajectory("d", only), **KIND)
    html = report(tmp_path / "run").read_text()
    assert ("a reviewer decides" in html) == (name == "legal")
    assert ("There are no scores yet that a threshold could decide about" in html) == (name == "legal")


def test_blocks_are_small_and_whole(monkeypatch):
    monkeypatch.setattr(storyboard, "BLOCK_BYTES", 2000)
    blocks = Blocks()
    for n in range(5):
        add_document(blocks, simple(f"d{n}", f"q{n}", demo_recipe()), "skills, agentic")
    index = unpack(blocks.finish())
    ids = [unpack(blocks.packed[e["block"]])[e["at"]]["trajectory"]["document_id"] for e in index]
    assert ids == [f"d{n}" for n in range(5)]
    assert len(blocks.packed) > 1


def test_a_very_long_answer_loses_its_middle_and_says_so():
    recipe = demo_recipe()
    measured = a_round(1, candidate("q"), recipe)
    long = replace(measured.weak[0], answer="a" * 50_000 + "the end")
    blocks = Blocks()
    add_document(blocks, trajectory("d", replace(measured, weak=(long, *measured.weak[1:]))), "k")
    blocks.finish()
    answer = unpack(blocks.packed[0])[0]["trajectory"]["rounds"][0]["weak"][0]["answer"]
    assert len(answer) < 10_000
    assert "42,007 characters are left out" in answer
    assert answer.endswith("the end")


def test_questions_are_compared_with_the_last_one_that_there_was():
    good = two_rounds().rounds
    changes = list(compare_questions((good[0], MALFORMED, good[1])))
    assert changes[:2] == [None, None]
    assert ("+", "second") in changes[2]
    assert compare_words("one two three", "four five six") is None


def test_every_verdict_has_a_colour():
    assert {*VERDICTS} == {*Failure, "accepted", "unmeasured"}
    text = Path(storyboard.__file__).with_name("style.css").read_text()
    assert all(f".is-{verdict} {{" in text and f"--{verdict}: light-dark(" in text for verdict in VERDICTS)


def test_how_calls_ended_stands_at_the_top_where_one_is_no_answer():
    calls = {"judge": {"answered": 3, "cut_off": 1}, "challenger": {"answered": 2}}
    (line,) = list_outcomes({"outcomes": calls})
    assert line.startswith("judge: 3 of 4 answered, cut off 1 (25 %)")
    assert list_outcomes({"ledger": {"judge": {"calls": 2, "outcomes": {"refused": 2}}}})[0].startswith(
        "judge: 0 of 2"
    )
    assert list_outcomes({"ledger": {"judge": {"calls": 2}}}) == list_outcomes(None) == []
    assert list_outcomes({}, {"agentic_test": {"outcomes": {"empty": 1}}}) == [
        "agentic_test: 0 of 1 answered, empty 1 (100 %)"
    ]


def test_answers_that_are_cut_off_raise_no_alarm_where_right_ones_are_short():
    calls = {"weak_solver": {"answered": 3, "cut_off": 5}, "strong_solver": {"cut_off": 1, "refused": 1}}
    assert len(list_outcomes({"outcomes": calls})) == 2
    calls["challenger"] = {"cut_off": 1}  # a proposal that was cut off is none
    challenger, strong = sorted(list_outcomes({"outcomes": calls}, is_cut_off_meant=True))
    assert challenger.startswith("challenger: 0 of 1 answered, cut off 1 (100 %)")
    assert strong.startswith("strong_solver: 1 of 2 answered, refused 1 (50 %)")
    skills, cs = demo_recipe(), load_recipe("recipes/cs/generate.yaml", "recipes/models/laptop.yaml")
    assert [expects_cut_off(recipe.domain) for recipe in (skills, cs)] == [True, False]
