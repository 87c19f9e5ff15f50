"""Tests that only measured attempts count; each case failed once with a real server, judge or recipe."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata import dataset, generate, verify
from autodata.loop.acceptance import decide
from autodata.recipes.domain import Gate
from autodata.recipes.models import Sampling
from autodata.run.folder import read_manifest
from autodata.run.records import read_records
from autodata.serving.journal import Journal, compress
from autodata.serving.llm import Client
from autodata.serving.measured import (
    ENDED,
    NotMeasured,
    PromptCut,
    Window,
    find_unmeasured,
    read_outcome,
    tell_outcomes,
)
from autodata.serving.wire.faults import HttpError
from autodata.serving.wire.markup import find_call
from autodata.serving.wire.meaning import Kind, interpret, is_prompt_too_long
from autodata.serving.wire.reply import find_last_object, is_cut
from autodata.types import EXAMPLE, TRAJECTORY, Failure, Message, Outcome, Reply, Role
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.fake_world import SERVES, World, legal, quality
from tests.helpers.recipes import models_at, request

pytestmark = pytest.mark.slow

TOO_LARGE = (
    "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum context length is "
    "8192 tokens and your request has 645 input tokens (16384 > 8192 - 645)."
)
TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested"
DECLINED = completion(None, refusal="I cannot help with that.")
ABORTED = completion("half an ans", "abort")
CUT_OFF = completion(None, "length", reasoning="on and on")


def refuse(message: str, status: int = 400) -> Scripted:
    return Scripted({"error": {"message": message}}, status)


class Broken(World):
    """A world whose weak solver sends `reply` instead of an answer whenever `when(number)` is true."""

    def __init__(self, reply: Scripted, plan=("accepted",), when: Callable[[int], bool] = lambda number: True):
        super().__init__(plan)
        self.reply, self.when, self.attempt_count = reply, when, 0

    def _solve(self, body):
        answer = super()._solve(body)
        if body["model"] != "weak" or body["messages"][-1]["content"] == "Hello":
            return answer
        self.attempt_count += 1
        return self.reply if self.when(self.attempt_count) else answer


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command(world, *arguments) runs two papers of `cs` and returns (output and error, requests)."""
    papers = tmp_path / "papers"
    papers.mkdir()
    for number in range(2):
        (papers / f"paper{number}.txt").write_text(f"Paper {number}. " + "Flash caches wear out. " * 30)

    def run(world, *arguments, run="run"):
        with fake_server(world) as server:
            endpoints = [
                f"models.endpoints.{n}.{key}"
                for n in ("fake", "weak", "strong")
                for key in (f"model={n}", f"base_url={server.url}", "retries=0")
            ]
            roles = [f"models.{role}.endpoint={SERVES.get(role, 'fake')}" for role in Role]
            command = ["generate", "recipes/cs/generate.yaml", f"run={tmp_path / run}", f"documents.path={papers}"]
            options = ["orchestrator=fixed", "domain.max_rounds=3", *endpoints, *roles, *arguments]
            monkeypatch.setattr(sys, "argv", command + options)
            with suppress(SystemExit):
                generate.main()
        printed = capsys.readouterr()
        return printed.out + printed.err, server.requests

    return run


def read_run(folder):
    return read_records(folder / "trajectories.jsonl", TRAJECTORY)


# ── outcomes ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "content", "outcome"),
    [
        ("stop", "yes", Outcome.ANSWERED),
        ("STOP", "yes", Outcome.ANSWERED),
        ("tool_calls", "move", Outcome.ANSWERED),
        ("stop", " ", Outcome.EMPTY),
        ("length", "half", Outcome.CUT_OFF),
        ("MAX_TOKENS", "", Outcome.CUT_OFF),
        ("COMPLETE", "yes", Outcome.ANSWERED),
        ("end_turn", "yes", Outcome.ANSWERED),
        ("END_TURN", "yes", Outcome.ANSWERED),
        ("ERROR_LIMIT", "half", Outcome.CONTEXT_OVERFLOW),
        ("ERROR_TOXIC", "half", Outcome.REFUSED),
        ("content_filter", "half", Outcome.REFUSED),
        ("model_length", "half", Outcome.CONTEXT_OVERFLOW),
        ("abort", "half", Outcome.ABORTED),
        ("error", "half", Outcome.ABORTED),
        ("", "whole", Outcome.ABORTED),
        (None, "whole", Outcome.ABORTED),
    ],
)
def test_a_finish_reason_that_is_not_known_ends_no_answer(reason, content, outcome):
    assert read_outcome(reason, content, False) is outcome


@given(st.sampled_from(sorted(ENDED)) | st.text(max_size=20), st.text(max_size=5))
def test_only_a_listed_reason_makes_an_answer(reason, content):
    is_answer = reason.casefold() in ENDED and bool(content.strip())
    assert (read_outcome(reason, content, False) is Outcome.ANSWERED) == is_answer


@pytest.mark.parametrize("reason", ["error", "abort", None])
def test_half_a_reply_is_repeated_and_never_stored(ask, reason):
    half = completion("half an ans", reason)
    (reply,), server, client = ask(lambda body, count: half if count == 1 else completion("whole"), request())
    assert (reply.content, len(server.requests), client.counts["retried_aborted"]) == ("whole", 2, 1)
    assert client.counts["prompt_tokens"] + client.counts["completion_tokens"] == 2 * 18  # both were paid for
    with pytest.raises(NotMeasured, match="aborted"):
        ask(lambda body, count: half, request("another"))
    again, server, _ = ask(lambda body, count: completion("at last"), request("another"))
    assert (again[0].content, len(server.requests)) == ("at last", 1)


@pytest.mark.parametrize(
    ("message", "is_prompt"),
    [
        (TOO_LARGE, False),
        ("max_tokens is too large: 16384. This model supports at most 4096 completion tokens.", False),
        (f"{TOO_LONG} 17284 tokens (900 in the messages, 16384 in the completion).", False),
        (f"{TOO_LONG} 25384 tokens (9000 in the messages, 16384 in the completion).", True),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 900 `inputs` tokens and 16384 `max_new_tokens`",
         False),
        ("The decoder prompt (length 9000) is longer than the maximum model length of 8192.", True),
        ("prompt is too long: 210000 tokens > 200000 maximum", True),
        ("input length and `max_tokens` exceed context limit: 190000 + 21333 > 200000", False),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", False),
        ("Input is too long for requested model.", True),
        ("max_tokens must be at least 1, got -808.", True),
        ("You passed 9000 input tokens and requested 16384 output tokens. However, the model's context length is only "
         "8192 tokens. Please reduce the length of the input prompt.", True),
        ("You passed 900 input tokens and requested 16384 output tokens. However, the model's context length is only "
         "8192 tokens.", False),
        ("Unable to submit request because it has a maxOutputTokens value of 65536 but the supported range is from 1 "
         "(inclusive) to 8193 (exclusive).", False),
        ("The input token count (300000) exceeds the maximum number of tokens allowed (262144).", True),
    ],
)  # fmt: skip
def test_a_budget_that_does_not_fit_is_told_from_a_prompt(ask, message, is_prompt):
    assert interpret(HttpError(400, message)).kind is Kind.OVERFLOW
    assert is_prompt_too_long(message) is is_prompt
    key = "domain.document_chars" if is_prompt else r"lower models\.weak_solver\.sampling\.max_tokens"
    with pytest.raises(NotMeasured, match=key):
        ask(lambda body, count: refuse(message), request())


# ── a round that lacks attempts ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "reason", "key"),
    [
        (refuse(TOO_LARGE), "context_overflow", "lower models.weak_solver.sampling.max_tokens"),
        (DECLINED, "refused", "domain.count_refusals"),
        (completion("  "), "empty", "models.weak_solver.sampling.max_tokens"),
        (ABORTED, "aborted", "models.weak_solver.endpoint"),
    ],
    ids=["overflow", "refusal", "empty", "abort"],
)
def test_a_weak_solver_that_never_answers_accepts_nothing(command, tmp_path, reply, reason, key):
    output, _ = command(Broken(reply))
    assert "error: " in output
    assert (
        f"weak_solver ended without an answer ({reason} " in output
        or f"weak_solver was not measured ({reason})" in output
    )
    assert key in output
    assert not read_run(tmp_path / "run")
    output, requests = command(World(["accepted"]))  # the server is mended: the same command measures and completes
    assert "2 of 2 documents have an accepted candidate" in output
    assert {b["model"] for b in requests} >= {"weak"}


def test_a_call_of_a_function_that_nobody_offered_is_no_answer(command, tmp_path):
    calls = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]
    output, _ = command(Broken(completion(None, "tool_calls", tool_calls=calls)))
    assert "empty" in output and "error: " in output
    assert not read_run(tmp_path / "run")


def ended_by_context(prompt: int, written: int) -> Scripted:
    reply = completion("half an ans", "length")
    reply.body["usage"] = {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
    return reply


@pytest.mark.parametrize(
    ("prompt", "written", "budget", "outcome"),
    [
        (1_000, 7_192, 16_384, Outcome.CONTEXT_OVERFLOW),  # a server of 8,192 that lowers the budget by itself
        (1_000, 14_745, 16_384, Outcome.CONTEXT_OVERFLOW),
        (1_000, 14_746, 16_384, Outcome.CUT_OFF),
        (1_000, 16_384, 16_384, Outcome.CUT_OFF),
        (11, 7, 16_384, Outcome.CUT_OFF),  # no context is that small, so these counts are wrong
    ],
)
def test_a_budget_is_told_from_a_server_that_ends_a_reply_before_it(journal, prompt, written, budget, outcome):
    async def go(url):
        client = Client(models_at(url, sampling=Sampling(max_tokens=budget)), journal)
        try:
            return (await client.ask(request())).outcome
        except NotMeasured as error:
            return error.outcome
        finally:
            await client.close()

    with fake_server(lambda body, count: ended_by_context(prompt, written)) as server:
        assert asyncio.run(go(server.url)) is outcome


def test_documents_that_fit_no_server_are_not_done_and_are_tried_again(command, tmp_path):
    class Tight(World):
        def _propose(self, body):
            return refuse(f"{TOO_LONG} 9000 tokens (9000 in the messages, 0 in the completion).")

    output, _ = command(Tight(["accepted"]))
    assert "more than max_error_rate" in output or "challenger ended without an answer" in output
    assert "domain.document_chars" in output
    assert not read_run(tmp_path / "run")
    output, _ = command(World(["accepted"]))
    assert "2 of 2 documents have an accepted candidate" in output


def test_a_document_too_long_is_left_out_and_named_and_the_others_are_done(command, tmp_path):
    class Tight(World):
        def _propose(self, body):
            is_long = "Paper 1" in str(body["messages"])
            return refuse(f"{TOO_LONG} 9000 tokens (9000 in the messages).") if is_long else super()._propose(body)

    output, _ = command(Tight(["accepted"]), "max_error_rate=0.5", "max_unmeasured=0.5")
    assert "documents left out (failed quarantine_after=3 times or too long for the server): paper1.txt" in output
    manifest = read_manifest(tmp_path / "run")
    assert (manifest["quarantined"], bool(manifest["finished"])) == (["paper1.txt"], True)


def test_a_refusal_of_a_schema_is_no_overflow():
    for message in (
        "Invalid schema: nesting depth exceeds the maximum of 5 levels",
        "temperature 2.5 exceeds the maximum of 2",
    ):
        assert interpret(HttpError(400, message)).kind is not Kind.OVERFLOW


def test_a_content_filter_that_answers_400_is_no_refusal_of_the_model(ask):
    filtered = refuse(
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."
    )
    with pytest.raises(NotMeasured, match=r"\(filtered\)"):
        ask(lambda body, count: filtered, request())


def test_too_many_refusals_stop_a_run_whose_verdicts_all_stand(command):
    world = Broken(DECLINED, ["too_easy"], when=lambda number: number % 3 == 0)
    output, _ = command(world, "documents_in_flight=1")
    assert "error: 6 of 18 calls of weak_solver ended without an answer (refused 6)" in output


def test_what_overflowed_is_not_replayed_by_a_fork(command, tmp_path):
    command(Broken(refuse(TOO_LARGE)))
    output, requests = command(World(["accepted"]), f"fork={tmp_path / 'run'}", run="forked")
    assert "2 of 2 documents" in output
    assert sum(b["model"] == "weak" and len(b["messages"]) > 0 for b in requests) >= 6


def test_a_budget_that_does_not_fit_at_the_challenger_names_the_budget(command, tmp_path):
    class Tight(World):
        def _propose(self, body):
            return refuse(TOO_LARGE)

    output, _ = command(Tight(["accepted"]))
    # The order of replies decides which limit stops the run first.
    of_the_call = output.rpartition("the last error: ")[2]
    assert "lower models.challenger.sampling.max_tokens" in of_the_call
    assert "document_chars" not in of_the_call
    assert not read_run(tmp_path / "run")


def test_one_missing_attempt_leaves_the_round_open_where_it_could_change_the_verdict(command, tmp_path):
    world = Broken(DECLINED, when=lambda number: number == 2)
    output, _ = command(world, "max_unmeasured=1", "max_error_rate=1")
    assert "not complete" in output
    (kept,) = read_run(tmp_path / "run")
    assert all(a.is_measured for r in kept.rounds for a in (*r.weak, *r.strong))
    assert "1 document postponed" in output
    assert "weak_solver: 5 of 6 answered, refused 1 (17 %)" in output
    output, _ = command(World(["accepted"]), "max_unmeasured=1", "max_error_rate=1")
    assert "2 of 2 documents have an accepted candidate" in output


def test_one_missing_attempt_is_no_matter_where_the_verdict_stands(command, tmp_path):
    """Two easy answers of three are too easy whatever the third would be, so its attempt stays without a score."""
    output, _ = command(Broken(DECLINED, ["too_easy"], when=lambda number: number == 1), "max_unmeasured=1")
    assert "0 of 2 documents have an accepted candidate" in output
    attempts = [a for t in read_run(tmp_path / "run") for r in t.rounds for a in r.weak]
    (missing,) = [a for a in attempts if not a.is_measured]
    assert (missing.outcome, missing.judgement.score, missing.judgement.met) == (Outcome.REFUSED, None, None)


def test_a_recipe_may_count_refusals_as_wrong(command, tmp_path):
    output, _ = command(Broken(DECLINED), "domain.count_refusals=true", "max_unmeasured=1")
    assert "2 of 2 documents have an accepted candidate" in output
    attempts = [a for t in read_run(tmp_path / "run") for a in t.accepted.weak]
    assert {(a.outcome, a.judgement.score, a.is_measured) for a in attempts} == {(Outcome.REFUSED, 0.0, True)}


# ── a budget is no difficulty ─────────────────────────────────────────────────────────────────────


def test_three_weak_attempts_without_an_end_say_nothing(command, tmp_path):
    output, _ = command(Broken(CUT_OFF))
    assert "0 of 2 documents have an accepted candidate" in output
    assert "cut_off 6" in output
    assert "weak_solver: 0 of 18 answered, cut off 18 (100 %); raise models.weak_solver.sampling.max_tokens" in output
    (first, *_) = [r for t in read_run(tmp_path / "run") for r in t.rounds]
    assert first.verdict.failure is Failure.CUT_OFF
    assert [a.judgement.score for a in first.weak] == [0.0, 0.0, 0.0]  # the paper's rule stands
    assert "3 of 3 attempts of weak_solver were cut off" in first.verdict.reason


@pytest.mark.parametrize(("cut_off", "accepted"), [(0, True), (1, True), (2, False), (3, False)])
def test_half_of_the_weak_attempts_must_have_ended(cut_off, accepted):
    gate = Gate(weak_mean_below=0.5, strong_mean_at_least=0.65)
    verdict = decide([0, 0, 0], [1, 1, 1], gate, (cut_off, 0))
    assert (verdict.accepted, verdict.failure) == (accepted, None if accepted else Failure.CUT_OFF)
    assert decide([0, 0, 0], [1, 1, 1], replace(gate, finished_at_least=0), (cut_off, 0)).accepted


def test_exactly_half_is_enough_and_too_easy_stays_too_easy():
    gate = Gate(weak_mean_below=0.5, strong_mean_at_least=0.65)
    assert decide([0, 0], [1], gate, (1, 0)).accepted
    assert decide([1, 1, 0], [1], gate, (2, 0)).failure is Failure.TOO_EASY  # cut-off ones can only be better


def test_a_strong_solver_without_an_end_is_not_too_hard():
    gate = Gate(weak_mean_below=0.5, strong_mean_at_least=0.65)
    assert decide([0, 0], [0, 0, 0], gate, (0, 2)).failure is Failure.CUT_OFF
    assert decide([0, 0], [0, 0, 0], gate, (0, 1)).failure is Failure.TOO_HARD
    assert decide([0, 0], [1, 1, 1], gate, (0, 3)).accepted  # an answer cut by a budget can only be better


def test_examples_and_statistics_show_the_share_that_was_cut_off(command, tmp_path, monkeypatch, capsys):
    output, _ = command(Broken(CUT_OFF, when=lambda number: number % 3 == 0), "documents_in_flight=1")
    assert "2 of 2 documents have an accepted candidate" in output
    folder = make_dataset(tmp_path, monkeypatch)
    assert "weak_cut_off_pct" in capsys.readouterr().out
    examples = read_records(folder / "examples.jsonl", EXAMPLE)
    assert [e.evidence.cut_off for e in examples] == [(pytest.approx(1 / 3), 0.0)]  # both papers gave one question
    assert verify.verify(folder)[1] == []


# ── what the causes are ───────────────────────────────────────────────────────────────────────────


def test_a_challenger_that_is_cut_off_is_named_as_the_cause(command, tmp_path):
    class Short(World):
        def _propose(self, body):
            return completion('{"question": "half a', "length")

    output, _ = command(Short(["accepted"]))
    assert "malformed 6 (in 6 of the malformed rounds the challenger was cut off by its budget)" in output
    assert "challenger: 0 of 6 answered, cut off 6 (100 %); raise models.challenger.sampling.max_tokens" in output
    reasons = {r.verdict.reason for t in read_run(tmp_path / "run") for r in t.rounds}
    assert all("raise models.challenger.sampling.max_tokens" in reason for reason in reasons)


def test_json_in_the_reasoning_is_an_answer_and_said(command):
    class Misplaced(World):
        def _propose(self, body):
            reply = super()._propose(body)
            text = reply.body["choices"][0]["message"]["content"]
            return completion(None, reasoning=f"I think of this.\n{text}")

        def _judge(self, body):
            text = super()._judge(body).body["choices"][0]["message"]["content"]
            return completion("", reasoning=text)

    output, _ = command(Misplaced(["accepted"]))
    assert "2 of 2 documents have an accepted candidate" in output
    assert "14 answers found in the reasoning or the text" in output


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('first {"a": 0}, then\n```json\n{"a": 1}\n```', '{"a": 1}'),
        ('so {"a": {"b": 2}}', '{"a": {"b": 2}}'),
        ('{"a": 1} and more', ""),
        ('{"a": 1', ""),
        ("", ""),
    ],
)
def test_the_object_that_a_text_ends_with(text, expected):
    assert find_last_object(text) == expected


@given(st.text(alphabet='{}"a:1 \n', max_size=300))
def test_any_text_ends_with_an_object_or_none(text):
    value = find_last_object(text)
    assert not value or isinstance(json.loads(value), dict)


CALL = '{"name": "propose", "arguments": {"instruction": "other", "diagnosis": "easy"}}'
CALLS = {
    "hermes": f"<tool_call>\n{CALL}\n</tool_call>",
    "qwen": "<tool_call>\n<function=propose>\n<parameter=instruction>\nother\n</parameter>\n"
    "<parameter=diagnosis>\neasy\n</parameter>\n</function>\n</tool_call>",
    "bare": CALL,
}


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_a_call_that_a_server_left_in_the_text_is_one(text):
    name, arguments = find_call(text)
    assert (name, json.loads(arguments)) == ("propose", {"instruction": "other", "diagnosis": "easy"})


@pytest.mark.parametrize("form", [*CALLS, "no type"])
def test_an_orchestrator_whose_calls_stand_elsewhere_still_orchestrates(command, tmp_path, form):
    def orchestrate(body, move):
        name = legal(body)[0]
        if form == "no type":
            function = {"name": name, "arguments": "{}"}
            return completion(None, "tool_calls", tool_calls=[{"id": "1", "function": function}])
        return completion(CALLS[form].replace("propose", name))

    output, _ = command(World(["too_easy", "accepted"], orchestrate), "orchestrator=agent")
    assert "2 of 2 documents have an accepted candidate" in output
    assert {t.orchestrator for t in read_run(tmp_path / "run")} == {"agent"}
    assert "took over" not in output


def test_the_fixed_orchestrator_in_place_of_a_model_is_said(command):
    output, _ = command(World(["accepted"], lambda body, move: completion("Let me think.")), "orchestrator=agent")
    assert "the fixed orchestrator took over from the model in 2 of 2 documents" in output
    assert "no function was called; call one, or write" in output


# ── prompts that a server cut ─────────────────────────────────────────────────────────────────────


def words(count: int) -> tuple[Message, ...]:
    return (Message("user", "cache " * count),)


@pytest.mark.parametrize(
    ("count", "read", "cut"),
    [(1_500, 1_100, False), (1_501, 1_425, True), (1_501, 1_426, False), (20_000, 2_050, True),
     (20_000, 26_000, False),     (20_000, 0, False), (20_000, 64, False), (20_000, 65, True)],
)  # fmt: skip
def test_a_prompt_is_cut_where_fewer_tokens_than_words_were_read(count, read, cut):
    assert is_cut(words(count), read) is cut


def test_scripts_without_blanks_are_counted_by_characters():
    assert is_cut((Message("user", "缓存会磨损" * 2_000),), 1_000)
    assert not is_cut((Message("user", "缓存会磨损" * 2_000),), 6_000)


def test_the_first_reply_to_a_cut_prompt_stops_the_run(command, tmp_path):
    (tmp_path / "papers" / "long.txt").write_text("Flash caches wear out. " * 5_000)  # 115 kB

    def script(body, count):
        reply = World(["accepted"])(body, count)
        if len(str(body)) > 50_000:
            reply.body["usage"]["prompt_tokens"] = 2_050
        return reply

    output, _ = command(script, "max_error_rate=1", "max_unmeasured=1")
    assert "the server counts 2050 tokens in a prompt of" in output
    assert "so it cut the prompt silently" in output
    assert "long.txt" not in [t.document_source for t in read_run(tmp_path / "run")]


def test_cached_tokens_are_read_ones(ask):
    long = request("cache " * 3_000)
    reply = completion("fine")
    reply.body["usage"] = {
        "prompt_tokens": 900,
        "completion_tokens": 1,
        "total_tokens": 901,
        "prompt_tokens_details": {"cached_tokens": 2_500},
    }
    (received,), _, _ = ask(lambda body, count: reply, long)
    assert received.content == "fine"
    del reply.body["usage"]["prompt_tokens_details"]
    with pytest.raises(PromptCut, match="900 tokens"):
        ask(lambda body, count: reply, request("cache " * 3_001))


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────


def usage(**values) -> Scripted:
    reply = completion("fine")
    reply.body["usage"] = values
    return reply


@pytest.mark.parametrize(
    ("reported", "completion_tokens"),
    [
        ({"prompt_tokens": 500, "completion_tokens": 4_000, "total_tokens": 28_500}, 28_000),
        ({"prompt_tokens": 500, "completion_tokens": 4_000, "total_tokens": 4_500}, 4_000),
        (
            {"prompt_tokens": 500, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 900}},
            1_000,
        ),
        (
            {"prompt_tokens": 500, "completion_tokens": 1_000, "completion_tokens_details": {"reasoning_tokens": 900}},
            1_000,
        ),
    ],
)
def test_thinking_is_counted_wherever_it_is_reported(ask, reported, completion_tokens):
    (reply,), _, client = ask(lambda body, count: usage(**reported), request())
    assert reply.completion_tokens == client.counts["completion_tokens"] == completion_tokens
    assert not reply.is_usage_estimated


def test_repeats_are_paid_for_and_counted(journal):
    empty = completion("")
    empty.body["usage"] = {"prompt_tokens": 100, "completion_tokens": 1_400, "total_tokens": 1_500}
    with fake_server(lambda body, count: empty) as server:

        async def go():
            client = Client(models_at(server.url), journal)
            with pytest.raises(NotMeasured):
                await client.ask(request())
            await client.close()
            return client

        client = asyncio.run(go())
    assert len(server.requests) == 3
    assert client.counts["prompt_tokens"] + client.counts["completion_tokens"] == 4_500
    assert client.ledger()[Role.WEAK_SOLVER].outcomes == {"empty": 1}


def test_a_budget_of_tokens_stops_a_server_that_reports_none(command):
    class Silent(World):
        def __call__(self, body, count):
            reply = super().__call__(body, count)
            reply.body.pop("usage")
            return reply

    output, requests = command(Silent(["too_easy"]), "budget.tokens=2000", "documents_in_flight=1")
    assert "budget.tokens=2000 is reached" in output
    assert len(requests) < 40
    assert "replies had no token counts, so these are estimated" in output


# ── too much that is missing ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("missing", "calls", "in_the_middle", "at_the_end"),
    [(0, 100, False, False), (1, 1, False, True), (2, 2, True, True), (1, 10, False, False), (2, 10, False, True),
     (10, 100, False, False), (11, 100, False, True), (16, 100, False, True), (17, 100, True, True)],
)  # fmt: skip
def test_when_too_many_calls_end_without_an_answer(missing, calls, in_the_middle, at_the_end):
    outcomes = {"answered": calls - missing, "refused": missing}
    problems = [find_unmeasured("judge", outcomes, 0.1, is_end) for is_end in (False, True)]
    assert [bool(reason) for reason in problems] == [in_the_middle, at_the_end]
    if at_the_end:
        assert f"{missing} of {calls} calls of judge ended without an answer (refused {missing})" in problems[1]


@pytest.mark.parametrize(
    ("failed", "total", "stops"), [(31, 31, False), (4, 32, True), (3, 32, False), (0, 300, False)]
)
def test_a_window_of_judgements(failed, total, stops):
    window = Window(0.1)
    window.add([True] * failed + [False] * (total - failed))
    assert bool(window.find_problem("max_failures")) is stops
    window.add([False] * Window.SIZE)
    assert window.find_problem("max_failures") is None  # old failures do not count


def test_outcomes_are_told_only_where_something_is_missing():
    assert tell_outcomes({"judge": {"answered": 4}}) == []
    (line,) = tell_outcomes({"judge": {"answered": 3, "cut_off": 1}, "challenger": {"answered": 2}})
    assert line == (
        "judge: 3 of 4 answered, cut off 1 (25 %); raise models.judge.sampling.max_tokens, unless answers "
        "are meant to be that short"
    )


# ── the final check ───────────────────────────────────────────────────────────────────────────────


def test_a_candidate_that_fails_the_final_check_is_not_accepted(command, tmp_path):
    class SecondThoughts(World):
        """A verifier that passes everything, then refuses the first candidate in the final check."""

        def _verify(self, body):
            first = "Candidate 1:" in body["messages"][-1]["content"]
            with self._lock:
                self.counts["looks"] += first
            return completion(json.dumps(quality(not first or self.counts["looks"] % 2 == 1)))

    output, _ = command(SecondThoughts(["accepted"]), "documents_in_flight=1")
    for ended in read_run(tmp_path / "run"):
        first, second = ended.rounds
        assert first.verdict.failure is Failure.LOW_QUALITY
        assert first.verdict.reason.startswith("final check: ")
        assert not any(v.accepted for v in first.presets.values())
        assert second.verdict.accepted  # the loop went on
    assert "4 rounds: accepted 2, low_quality 2" in output


# ── journals and data sets of before ──────────────────────────────────────────────────────────────


def old(outcome: str, finish_reason: str, content: str = "x") -> bytes:
    """Make a row as version 2 wrote it."""
    names = {"ok": Outcome.ANSWERED, "truncated": Outcome.CUT_OFF, "refusal": Outcome.REFUSED}
    reply = Reply(names.get(outcome) or Outcome(outcome), content, "", finish_reason, "m", 1, 1, 0.0)
    return compress(reply)


ROWS = {"whole": old("ok", "stop"), "cut": old("truncated", "length"), "over": old("context_overflow", "", ""),
        "refused": old("refusal", "content_filter"), "empty": old("empty", "stop", ""),
        "aborted": old("ok", "abort"), "failed": old("ok", "error"), "budget": old("ok", "MAX_TOKENS")}  # fmt: skip


def test_an_old_journal_is_brought_up_with_a_message_and_keeps_its_answers(tmp_path, capsys):
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO replies VALUES (?, ?, 0)", ROWS.items())
        connection.execute("PRAGMA user_version = 2")
    journal = Journal(path)
    output = capsys.readouterr().err
    assert "upgraded from version 2 to 3; dropped 5 replies without an answer" in output
    assert "aborted 2, context_overflow 1, empty 1, refused 1" in output
    assert {key for key in ROWS if journal.get(key)} == {"whole", "cut", "budget"}
    assert journal.get("budget").outcome is Outcome.CUT_OFF  # by today's rule; version 2 called it an answer
    journal.close()
    Journal(path).close()
    assert capsys.readouterr().err == ""  # reported once


def test_a_reply_to_a_cut_prompt_in_an_old_journal_is_asked_for_again(ask, journal):
    long = request("cache " * 3_000)
    (first,), _, _ = ask(lambda body, count: usage(prompt_tokens=4_000, completion_tokens=1), long)
    with sqlite3.connect(journal.path) as connection:
        stored = compress(replace(first, prompt_tokens=2_050))
        connection.execute("UPDATE replies SET reply = ?", (stored,))
    _, server, _ = ask(lambda body, count: usage(prompt_tokens=4_000, completion_tokens=1), long)
    assert len(server.requests) == 1


def make_dataset(tmp_path, monkeypatch):
    recipe = tmp_path / "dataset.yaml"
    recipe.write_text(
        f"run: {tmp_path}/dataset\narms: {{agentic: {tmp_path}/run}}\ndecontaminate: []\n"
        "test_fraction: 0\nfilters: {near_duplicate: 1}\n"
    )
    monkeypatch.setattr(sys, "argv", ["dataset", str(recipe)])
    dataset.main()
    return tmp_path / "dataset"


def spoil(path, change):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_data_set_of_before_names_the_rows_that_would_not_be_accepted_today(command, tmp_path, monkeypatch):
    command(World(["accepted"]))
    folder = make_dataset(tmp_path, monkeypatch)

    def forget(row):
        """Remove the outcomes, as in old rows."""
        row["evidence"].pop("weak_outcomes"), row["evidence"].pop("strong_outcomes")
        for gate in row["evidence"]["gates"].values():
            gate.pop("finished_at_least")

    spoil(folder / "examples.jsonl", forget)
    count, mismatches = verify.verify(folder)
    assert {m.check for m in mismatches} == {"file"}  # a sound old row has no problem

    def overflow(row):
        for attempt in row["rounds"][0]["weak"]:
            attempt |= {"outcome": "context_overflow", "answer": ""}

    spoil(tmp_path / "run" / "trajectories.jsonl", overflow)
    count, mismatches = verify.verify(folder)
    problems = [m for m in mismatches if m.check == "measured"]
    assert (count, len(problems)) == (1, 1)
    cause = "because attempts have no answer: weak 1: context_overflow"
    assert f"would not be accepted today, {cause}" in problems[0].problem


def test_dataset_refuses_an_accepted_round_with_such_an_attempt(command, tmp_path, monkeypatch):
    command(World(["accepted"]))

    def refuse_first(row):
        if row["document_source"] == "paper0.txt":
            row["rounds"][0]["weak"][0] |= {"outcome": "refusal", "answer": ""}

    spoil(tmp_path / "run" / "trajectories.jsonl", refuse_first)
    folder = make_dataset(tmp_path, monkeypatch)
    funnel = read_manifest(folder)["funnel"]["agentic"]
    assert (funnel["accepted or measured"], funnel["measured"]) == (2, 1)


# ── a budget that was raised ──────────────────────────────────────────────────────────────────────


def test_a_larger_budget_asks_again_only_what_was_cut_off(journal):

    def script(body, count):
        is_long = "long" in str(body["messages"])
        return completion("half", "length") if is_long and body["max_tokens"] < 100 else completion("whole")

    async def ask_both(url, budget):
        client = Client(models_at(url, sampling=Sampling(max_tokens=budget)), journal)
        replies = [await client.ask(request(text)) for text in ("short", "long")]
        await client.close()
        return [r.content for r in replies], client.counts["replayed"]

    with fake_server(script) as server:
        assert asyncio.run(ask_both(server.url, 50)) == (["whole", "half"], 0)
        assert asyncio.run(ask_both(server.url, 50)) == (["whole", "half"], 2)
        assert asyncio.run(ask_both(server.url, 200)) == (["whole", "whole"], 1)
        assert asyncio.run(ask_both(server.url, 5)) == (["whole", "half"], 0)  # its 7 tokens would not have fitted
