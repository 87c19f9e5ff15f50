"""Tests the audit of a judge as its user runs it, on a run built from records, against scripted judges."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from autodata.judge_audit import audit as module
from autodata.judge_audit import findings
from autodata.judge_audit.asking import order_attempts
from autodata.loop import rubric
from autodata.run.snapshot import read_snapshot
from autodata.serving.journal import Journal
from autodata.types import (
    TRAJECTORY,
    Attempt,
    Candidate,
    Criterion,
    End,
    Judgement,
    Outcome,
    Round,
    Trajectory,
    Verdict,
)
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.fake_world import verdicts

pytestmark = pytest.mark.slow  # test_agreement.py tests its statistics quickly
RECIPE = "recipes/judge_audit/judge_audit.yaml"
RUBRIC = tuple(Criterion(f"Point {n}", weight) for n, weight in enumerate((4, 3, 2, 1, -5), 1))
STORED = (True, True, False, False, False)


def attempt(index: int, name: str, met: tuple[bool, ...] | None = STORED) -> Attempt:
    judgement = rubric.judge(RUBRIC, met) if met else Judgement(None, None, "judge failed")
    return Attempt(index, hash_of(name), Outcome.ANSWERED if name else Outcome.EMPTY, name, "", 1, 1, judgement)


def hash_of(name: str) -> int:
    return int.from_bytes(name.encode()[:4], "big")


def trajectory(document: str, *weak: Attempt, candidate: Candidate | None = None) -> Trajectory:
    candidate = candidate or Candidate(f"Question of {document}?", "Reference.", RUBRIC)
    played = Round(1, candidate, None, weak, (), Verdict(False))
    return Trajectory(document, f"{document}.txt", "agentic", "prose", (played,), End.ROUNDS_USED)


def write_run(folder: Path, *trajectories: Trajectory, finished: str | None = "now", **inputs: str) -> None:
    """Write a run folder as autodata.generate leaves it."""
    folder.mkdir()
    lines = [TRAJECTORY.dump_json(t) + b"\n" for t in trajectories]
    (folder / "trajectories.jsonl").write_bytes(b"".join(lines))
    manifest = {
        "inputs": {"kind": "generate", "domain.name": "cs"} | inputs,
        "finished": finished,
        "outputs": {"trajectories.jsonl": "0"},
        "models": {"judge": "earlier"},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_four(tmp_path: Path) -> None:
    """Write a run of four documents with one attempt each: answers d0, d1, d2, d3."""
    write_run(tmp_path / "generation", *(trajectory(f"d{i}", attempt(0, f"d{i}")) for i in range(4)))


def arguments(tmp_path: Path, url: str, *more: str) -> list[str]:
    endpoints = [
        f"models.endpoints.{name}.{key}"
        for name in ("fake", "other")
        for key in ("model=fake", f"base_url={url}", "retries=0")
    ]
    return [
        RECIPE,
        f"run={tmp_path / 'audit'}",
        f"generation={tmp_path / 'generation'}",
        "models.judge.endpoint=fake",
        "attempts=4",
        "repeats=2",
        *endpoints,
        *more,
    ]


class Asked(NamedTuple):
    """A request to a judge."""

    model: str  # "second" for the one whose temperature is 0.5
    answer: str
    nth: int  # number of the first ask on these criteria and answer, from 0; a retry has that or a later one
    ask: int  # 0, then 1, 2 if an unreadable reply is asked for again with the next seed


class Panel:
    """Judges that reply as `decide(request)` returns: a boolean for each point, or a text to send as it is."""

    def __init__(self, decide: Callable[[Asked], object]):
        self.decide = decide
        self.calls: Counter[tuple[str, str, int]] = Counter()
        self._first: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __call__(self, body: dict, count: int) -> Scripted:
        if "response_format" not in body:
            return completion("a probe")
        answer, listed = read_prompt(body["messages"][-1]["content"])
        decision = self.decide(self._place(body, answer))
        if isinstance(decision, Scripted):
            return decision
        return completion(decision if isinstance(decision, str) else verdicts([decision[n - 1] for n in listed]))

    def _place(self, body: dict, answer: str) -> Asked:
        model = "second" if body["temperature"] == 0.5 else "first"
        text, seed = body["messages"][-1]["content"], body["seed"]
        with self._lock:
            self.calls[model, text, seed] += 1
            ask = next(n for n in range(9) if (model, text, seed - n - 1) not in self.calls)
            nth = self._first[model, text]
            self._first[model, text] += not ask
        return Asked(model, answer, nth, ask)


def read_prompt(text: str) -> tuple[str, list[int]]:
    """Return the judged answer and the numbers of the listed points."""
    answer = re.search(r"<answer-\w+>\n(.*)\n</answer", text)[1]
    return answer, [int(n) for n in re.findall(r"\d+\. Point (\d+)", text)]


@pytest.fixture
def audit(tmp_path, monkeypatch, capsys):
    """audit(decide, *key=value) runs the command and returns (output and error, results or None, panel)."""

    def run(decide, *more: str):
        panel = Panel(decide)
        # Several calls at once need not come in the order of the repeats; the numbers do not depend on it.
        with fake_server(panel) as server:
            monkeypatch.setattr(sys, "argv", ["judge_audit", *arguments(tmp_path, server.url, *more)])
            failure = find_failure(module.main)
        results = tmp_path / "audit" / module.RESULTS
        contents = json.loads(results.read_text()) if results.exists() else None
        return capsys.readouterr().out + failure, contents, panel

    return run


def flip(met: tuple[bool, ...], *numbers: int) -> tuple[bool, ...]:
    return tuple(m != (n in numbers) for n, m in enumerate(met, 1))


def always_stored(ask: Asked) -> tuple[bool, ...]:
    return STORED


def test_a_judge_that_flips_one_criterion_on_every_second_repeat(tmp_path, audit):
    write_four(tmp_path)
    out, results, panel = audit(lambda a: flip(STORED, 1) if a.nth % 2 else STORED, "repeats=4")
    agreement = results["agreement"]["judge, repeated"]
    compared = {kind: agreement[kind]["compared"] for kind in ("all", "positive", "negative")}
    assert compared == {"all": 20, "positive": 16, "negative": 4}
    # Two of four verdicts flipped: two equal pairs of six on criterion 1, all six on the others.
    assert agreement["all"]["share"]["value"] == pytest.approx((1 / 3 + 4) / 5)
    assert agreement["positive"]["share"]["value"] == pytest.approx((1 / 3 + 3) / 4)
    assert agreement["negative"]["share"]["value"] == 1.0
    # Of 80 verdicts 24 are met; coincidences that differ: 4 criteria · 2 · 2 · 2 / 3.
    expected = 1 - (4 * 2 * 2 * 2 / 3 / 80) / (2 * 24 * 56 / (80 * 79))
    assert agreement["all"]["alpha"]["value"] == pytest.approx(expected)
    unseen = 1 - 0.025**0.25  # every one of the four documents is alike
    assert agreement["all"]["alpha"]["low"] == pytest.approx(expected - unseen * (expected + 1))
    assert agreement["negative"]["alpha"]["reason"].startswith("no variation")
    stored = results["agreement"]["stored verdicts and judge"]["all"]
    assert (stored["compared"], stored["share"]["value"]) == (80, pytest.approx(72 / 80))
    # A flip loses 4 of 10 points, in half of the judgements.
    assert results["score_difference"]["judge − stored"]["value"] == pytest.approx(-0.2)
    assert len(panel.calls) == 16
    assert set(panel.calls.values()) == {1}
    assert "16/16 judgements" in out
    assert "16 calls, 0 replayed" in out


def test_the_page_says_where_to_look(tmp_path, audit):
    write_four(tmp_path)
    out, results, _ = audit(lambda a: flip(STORED, 2, 5) if a.answer == "d2" and a.nth else STORED)
    (worst,) = results["disagreements"]
    assert (worst["document_id"], worst["round"], worst["solver"], worst["attempt"]) == ("d2", 1, "weak_solver", 0)
    assert [(c["criterion"], c["weight"]) for c in worst["criteria"]] == [(2, 3), (5, -5)]
    assert worst["criteria"][1]["met"] == {"stored": [0, 1], "judge": [1, 2]}
    page = (tmp_path / "audit" / module.AUDIT).read_text()
    assert (
        "| d2 | 1 | weak_solver, 0 | 2 (+3): stored 1 of 1, judge 1 of 2; 5 (-5): stored 0 of 1, judge 1 of 2 |"
        in page
    )
    assert "Documents: 4. Attempts: 4, each judged 2 times. Criteria: 20." in page
    assert "those of earlier." in page
    now = read_snapshot(tmp_path / "audit")
    assert (now.state, now.done, now.total) == ("finished", 8, 8)
    assert now.calls > 0
    assert "audit.md" in out


def test_without_a_disagreement_none_is_listed(tmp_path, audit):
    write_four(tmp_path)
    _, results, _ = audit(always_stored)
    assert results["disagreements"] == []
    assert "All verdicts are the same." in (tmp_path / "audit" / module.AUDIT).read_text()
    assert results["agreement"]["stored verdicts and judge"]["all"]["kappa"]["value"] == 1.0


def test_the_worst_attempts_come_first_and_only_so_many():
    def judged(number: int) -> findings.JudgedAttempt:
        candidate = Candidate("q", "a", RUBRIC)
        return findings.JudgedAttempt(f"d{number:02}", 1, "weak_solver", candidate, attempt(0, "x"))

    chosen = [judged(n) for n in range(12)]
    opinions = tuple((rubric.judge(RUBRIC, flip(STORED, *range(1, n % 6 + 1))),) * 2 for n in range(12))
    disagreements = findings.find_disagreements(chosen, [findings.Opinions("judge", "m", 1.0, 24, 0, opinions)])
    assert len(disagreements) == findings.MAX_LISTED
    assert [d["document_id"] for d in disagreements[:4]] == ["d05", "d11", "d04", "d10"]
    assert not {"d00", "d06"} & {d["document_id"] for d in disagreements}


@pytest.mark.parametrize(
    ("unreadable_asks", "lost", "calls"),
    [(0, 0, 8), (1, 0, 10), (2, 0, 12), (3, 2, 12)],  # judge_retries: 2, so three asks
)
def test_a_judge_that_is_unreadable_so_often(tmp_path, audit, unreadable_asks, lost, calls):
    """The judge is unreadable on answer d1 only, in each of its two repeats."""
    write_four(tmp_path)
    unreadable = lambda a: "no verdicts here" if a.answer == "d1" and a.ask < unreadable_asks else STORED  # noqa: E731
    _, results, panel = audit(unreadable)
    counts = results["judges"]["judge"]
    assert counts["unreadable"] == [2 if unreadable_asks else 0, 8]
    assert counts["lost"] == [lost, 8]
    assert sum(panel.calls.values()) == calls
    agreement = results["agreement"]["judge, repeated"]["all"]
    assert (agreement["compared"], agreement["left_out"]) == (20 - 5 * bool(lost), 5 * bool(lost))
    assert agreement["share"]["value"] == 1.0
    stored = results["agreement"]["stored verdicts and judge"]["all"]
    assert (stored["left_out"], stored["share"]["value"]) == (5 * lost, 1.0)
    assert results["score_difference"]["judge − stored"]["value"] == 0.0


def test_an_incomplete_set_of_verdicts_is_a_loss_and_without_retries_the_first_ask_is_the_last(tmp_path, audit):
    write_four(tmp_path)
    _, results, panel = audit(lambda a: verdicts(STORED[:4]) if a.answer == "d3" else STORED, "domain.judge_retries=0")
    assert results["judges"]["judge"]["unreadable"] == [2, 8]
    assert results["judges"]["judge"]["lost"] == [2, 8]
    assert sum(panel.calls.values()) == 8


def test_a_judge_that_is_never_readable_leaves_no_number_but_its_loss(tmp_path, audit):
    write_four(tmp_path)
    _, results, _ = audit(lambda a: "no")
    assert results["judges"]["judge"] | {"model": "", "temperature": 0} == {
        "model": "",
        "temperature": 0,
        "unreadable": [8, 8],
        "lost": [8, 8],
        "met": [0, 0],
    }
    assert results["agreement"]["judge, repeated"]["all"]["share"]["value"] is None
    assert results["score_difference"]["judge − stored"]["reason"] == "nothing to compare"
    assert "8 of 8 (100.0 %)" in (tmp_path / "audit" / module.AUDIT).read_text()


def test_a_second_judge_that_is_stricter(tmp_path, audit):
    write_four(tmp_path)
    _, results, panel = audit(
        lambda a: flip(STORED, 1) if a.model == "second" else STORED,
        "second_judge={endpoint: fake, sampling: {temperature: 0.5, max_tokens: 64}}",
    )
    assert {model for model, _, _ in panel.calls} == {"first", "second"}
    assert sum(panel.calls.values()) == 16
    assert results["judges"]["second judge"]["temperature"] == 0.5
    assert results["judges"]["judge"]["temperature"] == 1.0
    between = results["agreement"]["judge and second judge"]
    # Five criteria: 1 is met by both judges, 1 by the first only, 3 by neither.
    assert between["all"]["share"]["value"] == pytest.approx(0.8)
    assert between["all"]["kappa"]["value"] == pytest.approx((0.8 - (0.4 * 0.2 + 0.6 * 0.8)) / (1 - 0.56))
    assert between["all"]["alpha"]["value"] == pytest.approx(1 - (16 / 80) / (2 * 24 * 56 / (80 * 79)))
    assert between["positive"]["share"]["value"] == 0.75
    assert between["negative"]["kappa"]["reason"].startswith("no variation")
    bias = results["score_difference"]["second judge − judge"]
    assert (bias["value"], bias["documents"]) == (pytest.approx(-0.4), 4)
    assert bias["low"] == pytest.approx(-0.4 - 0.6 * (1 - 0.025**0.25)), "every document is alike"
    assert results["agreement"]["second judge, repeated"]["all"]["share"]["value"] == 1.0
    assert results["disagreements"][0]["criteria"][0]["met"] == {
        "stored": [1, 1],
        "judge": [2, 2],
        "second judge": [0, 2],
    }


def test_the_interval_of_a_bias_is_over_documents(tmp_path, audit):
    write_four(tmp_path)
    biased = lambda a: flip(STORED, 1) if (a.model, a.answer) == ("second", "d0") else STORED  # noqa: E731
    _, results, _ = audit(biased, "second_judge={endpoint: other, sampling: {temperature: 0.5, max_tokens: 64}}")
    bias = results["score_difference"]["second judge − judge"]
    assert bias["value"] == pytest.approx(-0.1)
    assert -0.7 < bias["low"] < -0.4, "one document in four"
    assert 0.4 < bias["high"] < 0.7, "three documents without a difference bound what the others may gain"


@pytest.mark.parametrize(("per_call", "calls"), [(0, 8), (2, 24), (1, 40)])
def test_the_mode_of_the_recipe_is_what_is_audited(tmp_path, audit, per_call, calls):
    write_four(tmp_path)
    _, results, panel = audit(always_stored, f"domain.criteria_per_call={per_call}")
    assert sum(panel.calls.values()) == calls
    assert results["judges"]["judge"]["unreadable"] == [0, calls]
    assert results["judges"]["judge"]["lost"] == [0, 8]


def test_a_run_that_was_broken_off_goes_on_without_repeating_a_call(tmp_path, audit):
    write_four(tmp_path)
    answered: Counter[str] = Counter()

    def break_off(ask):
        if sum(answered.values()) >= 3:
            return Scripted({"error": "down"}, 503)
        answered[ask.answer] += 1
        return STORED

    output, results, _ = audit(break_off, "models.endpoints.fake.max_in_flight=1")
    assert results is None
    assert "judge at" in output
    assert "HTTP 503" in output
    _, results, panel = audit(always_stored, "models.endpoints.fake.max_in_flight=1")
    assert sum(panel.calls.values()) == 8 - 3
    assert results["judges"]["judge"]["unreadable"] == [0, 8]
    output, again, panel = audit(always_stored)
    assert "up to date" in output
    assert (again, sum(panel.calls.values())) == (results, 0)


def test_loss_is_counted_alike_when_replies_are_replayed(tmp_path, audit):
    write_four(tmp_path)
    lose = lambda a: "no" if a.answer == "d1" else STORED  # noqa: E731
    _, first, _ = audit(lose)
    manifest = tmp_path / "audit" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": None}))
    _, second, panel = audit(lose)
    assert sum(panel.calls.values()) == 0
    assert first == second
    assert first["judges"]["judge"]["unreadable"] == [2, 8]


def test_ctrl_c_keeps_what_was_under_way(tmp_path):
    write_run(tmp_path / "generation", *(trajectory(f"d{i}", attempt(0, f"d{i}")) for i in range(30)))
    started = threading.Event()

    def slow(body, count):
        reply = Panel(always_stored)(body, count)
        if count > 5:
            started.set()
        return Scripted(reply.body, delay_s=0.05)

    with fake_server(slow) as server:
        args = arguments(tmp_path, server.url, "attempts=30", "models.endpoints.fake.max_in_flight=4")
        process = subprocess.Popen(
            [sys.executable, "-m", "autodata.judge_audit", *args], stderr=subprocess.PIPE, text=True
        )
        assert started.wait(60)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
        sent = len(server.requests)
    assert process.returncode != 0
    assert "calls in flight are finished" in error
    assert "run the same command again" in error
    assert sent < 60
    journal = Journal(tmp_path / "audit" / "journal.sqlite")
    kept = journal._reader.execute("SELECT count(*) FROM replies").fetchone()[0]
    journal.close()
    assert kept == sent - 1  # all but the probe's


def test_attempts_are_spread_over_documents_and_only_judged_answers_count():
    many = trajectory("many", *(attempt(i, f"m{i}") for i in range(5)))
    few = trajectory("few", attempt(0, "f0"), attempt(1, ""), attempt(2, "f2", met=None))
    ordered = order_attempts([many, few], 0)
    assert sorted(item.attempt.answer for item in ordered) == ["f0", "m0", "m1", "m2", "m3", "m4"]
    assert {item.document_id for item in ordered[:2]} == {"many", "few"}
    assert order_attempts([few, many], 0) == ordered
    assert any(order_attempts([many, few], seed) != ordered for seed in range(1, 5))
    assert order_attempts([], 0) == []


def test_both_solvers_are_audited_and_rounds_without_a_candidate_are_not():
    whole = trajectory("d", attempt(0, "w"))
    malformed = Round(2, None, None, (), (), Verdict(False))
    both = Round(3, whole.rounds[0].candidate, None, (), (attempt(0, "s"),), Verdict(False))
    mixed = Trajectory("d", "d.txt", "agentic", "prose", (*whole.rounds, malformed, both), End.ROUNDS_USED)
    audited = {(item.round, item.solver, item.attempt.answer) for item in order_attempts([mixed], 0)}
    assert audited == {(1, "weak_solver", "w"), (3, "strong_solver", "s")}


def test_a_domain_that_judges_in_code_has_nothing_to_audit(tmp_path, audit):
    skills = Candidate("The engineers of the town\nThe last word is", "town", (Criterion("The answer is “town”.", 1),))
    played = Attempt(0, 1, Outcome.ANSWERED, "town", "", 1, 1, Judgement((True,), 1.0))
    write_run(tmp_path / "generation", trajectory("d", played, candidate=skills), **{"domain.name": "skills"})
    output, results, panel = audit(always_stored, "domain.name=skills", "attempts=1")
    assert "so there is nothing to audit (judged attempts with an answer: 1; domain: skills)" in output
    assert (results, panel.calls) == (None, Counter())


def test_what_code_settles_is_not_credited_to_the_judge(tmp_path, audit):
    equal, other = ("science", "2x"), ("science", "a torus")
    trajectories = [
        trajectory(
            name,
            Attempt(0, hash_of(name), Outcome.ANSWERED, answer, "", 1, 1, Judgement((True,), 1.0)),
            candidate=Candidate("Which?", "2x", (Criterion("Equivalent to 2x.", 1),)),
        )
        for name, answer in ((equal[0], equal[1]), (other[0] + "2", other[1]))
    ]
    write_run(tmp_path / "generation", *trajectories, **{"domain.name": "science"})
    output, _, panel = audit(always_stored, "domain.name=science", "attempts=2")
    assert "attempts=2:" in output
    assert "; set attempts=1 or less" in output
    assert not panel.calls


def test_a_run_without_judged_answers_has_nothing_to_audit(tmp_path, audit):
    write_run(tmp_path / "generation", trajectory("d", attempt(0, "")))
    assert "judged attempts with an answer: 0;" in audit(always_stored)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("attempts=5", "attempts=5: "),
        ("attempts=0", "attempts=0: at least 1"),
        ("repeats=1", "repeats=1: self-agreement needs at least 2"),
        ("models.judge=null", "models.judge: there is no judge to audit"),
        ("models.judge.endpoint=big", "models.judge.endpoint=big: not in models.endpoints"),
        ("second_judge.endpoint=big", "second_judge.endpoint=big: not in models.endpoints (fake, other)"),
        ("second_judge={endpoint: fake, sampling: {max_tokens: 16384}}", "the same model with the same sampling"),
        ("domain.name=legal", "was made in domain cs"),
        ("generation=nowhere", "nowhere: no such run; make it with python -m autodata.generate"),
        ("repeat=2", "repeat"),
    ],
)
def test_wrong_values_name_their_key(tmp_path, audit, change, message):
    write_four(tmp_path)
    output, results, panel = audit(always_stored, change)
    assert message in output
    assert (results, panel.calls) == (None, Counter())


def test_just_as_many_attempts_as_there_are_do(tmp_path, audit):
    write_four(tmp_path)
    assert audit(always_stored, "attempts=4")[1]["attempts"] == 4


def test_a_run_that_is_not_finished_or_of_another_kind_is_refused(tmp_path, audit):
    write_run(tmp_path / "generation", finished=None)
    assert "not finished; run python -m autodata.generate again" in audit(always_stored)[0]
    write_run(tmp_path / "dataset", kind="dataset")
    assert (
        "a run of kind dataset; name one of kind generate"
        in audit(always_stored, f"generation={tmp_path / 'dataset'}")[0]
    )


def test_text_of_documents_cannot_break_the_page(tmp_path, audit):
    name = "a|b\n# [red]c"
    write_run(tmp_path / "generation", trajectory(name, attempt(0, "x")), trajectory("d", attempt(0, "y")))
    audit(lambda a: flip(STORED, 1) if a.answer == "x" else STORED, "attempts=2")
    page = (tmp_path / "audit" / module.AUDIT).read_text()
    assert "| a\\|b # [red]c | 1 |" in page
