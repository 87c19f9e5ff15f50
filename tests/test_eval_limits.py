"""Tests that an evaluation that measures too little stops, explains why, and is repaired by the same command."""

import json
from contextlib import suppress

import pytest

from autodata.eval.sampled_answers import SAMPLED_ANSWER, read_all, summarize
from autodata.run.folder import read_manifest
from tests.helpers.fake_server import completion, fake_server
from tests.test_principia_bench import ROWS, arguments, evaluate, write

pytestmark = pytest.mark.slow

REASONS_FOR = 3_000  # tokens


def is_judge(body: dict) -> bool:
    return "response_format" in body


def play(body: dict, count: int):
    """Script a judge that reasons before it replies: with a smaller budget its reply is empty."""
    if not is_judge(body):
        return completion("Final answer: $x$")
    if body["max_tokens"] < REASONS_FOR:
        return completion(None, "length", reasoning="let me compare")
    return completion(json.dumps({"reason": "so", "equivalent": True}))


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command(script, *arguments) returns (output and error, requests, run folder)."""
    path = write(tmp_path / "bench.jsonl", *[{**ROWS[0], "problem_statement": f"Which? {i}"} for i in range(4)])

    def run(script, *more):
        with fake_server(script) as server, suppress(SystemExit):
            evaluate(monkeypatch, *arguments(path, tmp_path / "run", server.url, *more))
        printed = capsys.readouterr()
        return printed.out + printed.err, [b for b in server.requests if b["max_tokens"] != 1], tmp_path / "run"

    return run


def test_a_judge_without_room_stops_the_evaluation_and_more_room_repairs_it(command):
    output, requests, run = command(play, "models.judge.sampling.max_tokens=1024")
    assert (
        "error: 8 of 8 answers have no score, more than max_failures=0.1 allows; most frequent reason: judge failed"
        in output
    )
    assert "raise models.judge.sampling.max_tokens" in output
    assert "run the same command again" in output
    assert not read_manifest(run).get("finished")
    answers = [b for b in requests if not is_judge(b)]
    output, requests, run = command(play, "models.judge.sampling.max_tokens=16384")
    assert len(answers) == 8
    assert not [b for b in requests if not is_judge(b)], "the same answers are judged, none is asked for again"
    assert len([b for b in requests if is_judge(b)]) == 8
    manifest = read_manifest(run)
    assert manifest["finished"]
    assert manifest["repairs"] == [{"models.judge.sampling.max_tokens": [1024, 16384]}]
    (generations,) = read_all(run).values()
    assert {g.score for g in generations} == {1.0}


def test_only_what_has_no_score_is_judged_again(command):
    def half(body, count):
        fits = is_judge(body) and "Which? 1" not in str(body["messages"])
        return completion(json.dumps({"reason": "so", "equivalent": True})) if fits else play(body, count)

    _, requests, run = command(half, "models.judge.sampling.max_tokens=1024", "max_failures=0.5")
    assert read_manifest(run)["finished"], "a finished evaluation with gaps is opened again as well"
    assert sum(g.score is None for answers in read_all(run).values() for g in answers) == 2
    _output, requests, run = command(half, "models.judge.sampling.max_tokens=16384", "max_failures=0.5")
    assert len(requests) == 2
    assert not [g for answers in read_all(run).values() for g in answers if g.score is None]


def test_a_smaller_budget_is_no_repair(command):
    command(play, "models.judge.sampling.max_tokens=16384")
    output, requests, _ = command(play, "models.judge.sampling.max_tokens=8192")
    assert "was made from other inputs" in output
    assert not requests


def test_answers_that_never_come_have_no_score_and_stop_it(command):
    def mute(body, count):
        return play(body, count) if is_judge(body) else completion("")

    output, _requests, run = command(mute)
    assert "weak_solver ended without an answer (empty" in output
    assert "models.weak_solver.sampling.max_tokens" in output
    assert not read_manifest(run).get("finished")
    output, _, run = command(play)
    assert read_manifest(run)["finished"]


def test_one_answer_that_never_came_is_a_gap_and_no_zero(command):
    def once(body, count):
        is_refused = not is_judge(body) and "Which? 2" in str(body["messages"])
        return completion(None, refusal="no") if is_refused else play(body, count)

    output, _, run = command(once, "max_unmeasured=0.5")
    assert "Answers requested: 8 (6 answered, 2 refused)" in output
    (generations,) = read_all(run).values()
    assert sorted((str(g.outcome), g.score) for g in generations if g.score != 1.0) == [("refused", None)] * 2
    numbers = summarize(generations)
    assert (numbers["mean"]["value"], numbers["unscored"], numbers["truncation_rate"]) == (1.0, 2, 0.0)
    assert numbers["mean_bounds"] == (0.75, 1.0)
    output, _, _ = command(once, "max_unmeasured=0.5", "domain.count_refusals=true")
    assert "was made from other inputs" in output, "what a refusal counts as is part of what was measured"


@pytest.mark.slow
def test_a_filtered_answer_counts_as_wrong_where_refusals_do(command):
    def once(body, count):
        is_filtered = not is_judge(body) and "Which? 2" in str(body["messages"])
        return completion("", "content_filter") if is_filtered else play(body, count)

    output, _, run = command(once, "domain.count_refusals=true")
    assert "Answers requested: 8 (6 answered, 2 filtered)" in output
    (generations,) = read_all(run).values()
    assert sorted((str(g.outcome), g.score) for g in generations if g.score != 1.0) == [("filtered", 0.0)] * 2


def test_scores_that_older_runs_gave_to_what_was_never_answered_are_none(tmp_path):
    row = {"task": "t", "example": "e", "document": "d", "epoch": 1, "score": 0.0, "outcome": "context_overflow",
           "has_answer": False, "tokens": 0}  # fmt: skip
    lines = [row, row | {"epoch": 2, "outcome": "truncated"}, row | {"epoch": 3, "outcome": "ok", "score": 1.0}]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert SAMPLED_ANSWER.validate_python(row).score == 0.0  # as it was stored
    assert [g.score for g in read_all(tmp_path)["t"]] == [None, 0.0, 1.0]
