"""Tests edge cases of requests and replies; test_llm.py tests the normal ones."""

import asyncio
import json

import pytest

from autodata.recipes.models import Canary, Endpoint, Models, Sampling, Server
from autodata.serving.journal import JournalError, read_replies
from autodata.serving.llm import Client, Draining
from autodata.serving.measured import EndpointError, NotMeasured
from autodata.serving.probes import choose_probes, run_probe
from autodata.serving.wire import connection, retries
from autodata.serving.wire.faults import HttpError
from autodata.types import Message, Outcome, Role
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.recipes import models_at, request

pytestmark = pytest.mark.slow

FINE = completion("fine")


def refuse(message, status=400):
    return Scripted({"error": {"message": message}}, status)


def first(failure):
    return lambda body, count: failure if count == 1 else FINE


def replaced(**values):
    return Scripted({**FINE.body, **values})


def with_message(message):
    return replaced(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (Scripted(drop=True), "ConnectionLost"),
        (Scripted(delay_s=0.3), "TimedOut"),
        (Scripted(b"<html>bad gateway</html>"), "BadShape"),
        (refuse("busy", 500), "HTTP 500"),
    ],
    ids=["drop", "timeout", "garbage", "500"],
)
def test_after_the_last_retry_the_error_says_what_went_wrong(ask, failure, name, retries):
    calls = []

    def script(body, count):
        calls.append(count)
        return failure

    with pytest.raises(EndpointError, match=f"weak_solver at http://127.*{name}.*tried for"):
        ask(script, request(), retries=retries, timeout_s=0.2 if name == "TimedOut" else 5.0)
    assert len(calls) == retries + 1


@pytest.mark.parametrize(
    ("header", "wait"),
    [("0.5", 0.5), ("3600", 120), ("-1", "backoff"), ("soon", "backoff"), (None, "backoff"),
     ("Wed, 21 Oct 2015 07:28:00 GMT", "backoff"),
     ("nan", "backoff")],
)  # fmt: skip
def test_the_wait_for_a_server_in_trouble_is_bounded_and_else_there_is_backoff(monkeypatch, header, wait):
    monkeypatch.setattr(retries, "backoff", lambda tries: "backoff")
    headers = {} if header is None else {"retry-after": header}
    assert retries._find_wait(HttpError(500, "busy", headers), 1) == wait


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 5000.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        "The input (5000 tokens) is longer than the model's context length (4096 tokens).",
        "context_length_exceeded",
    ],
)
def test_a_prompt_that_does_not_fit_is_an_outcome_and_is_not_sent_again(ask, message):
    sent = []

    def script(body, count):
        sent.append(count)
        return refuse(message)

    with pytest.raises(NotMeasured, match="context_overflow") as caught:
        ask(script, request())
    assert (caught.value.outcome, caught.value.is_prompt, len(sent)) == (Outcome.CONTEXT_OVERFLOW, True, 1)


@pytest.mark.parametrize(
    ("scripted", "outcome", "content"),
    [
        (completion("half an ans", "length"), Outcome.CUT_OFF, "half an ans"),
        (completion(None, "length", reasoning="on and on"), Outcome.CUT_OFF, ""),
    ],
)
def test_an_answer_that_did_not_come_says_why_and_keeps_what_came(ask, scripted, outcome, content):
    (reply,), _, _ = ask(lambda body, count: scripted, request())
    assert (reply.outcome, reply.content) == (outcome, content)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.model) == (11, 7, "fake")


def test_a_reply_without_usage_is_still_a_reply(ask):
    (reply,), _, client = ask(lambda body, count: replaced(usage=None), request())
    assert (reply.content, reply.is_usage_estimated, client.counts["estimated"]) == ("fine", True, 1)
    assert reply.prompt_tokens > 0 < reply.completion_tokens


def test_a_reply_whose_usage_has_no_counts_is_still_a_reply(ask):
    shapes = ({}, "none", {"prompt_tokens": 5}, {"completion_tokens": 5}, {"prompt_tokens": -9})
    for number, usage in enumerate(shapes):
        (reply,), _, client = ask(
            lambda body, count, usage=usage: replaced(usage=usage), request(f"question {number}")
        )
        assert (reply.content, reply.is_usage_estimated) == ("fine", True)
        assert reply.prompt_tokens > 0 < reply.completion_tokens
        assert client.counts["estimated"] == 1


@pytest.mark.parametrize(
    "malformed",
    [
        replaced(choices={"a": 1}),
        with_message("fine"),
        with_message({"content": 5}),
        with_message({"content": [{"type": "text", "text": 5}]}),
        Scripted(b'{"choices": "\xff"}'),
    ],
    ids=["mapping", "message", "number", "parts", "not utf-8"],
)
def test_a_malformed_completion_is_tried_again(ask, malformed):
    replies, server, _ = ask(first(malformed), request())
    assert replies[0].content == "fine"
    assert len(server.requests) == 2


def test_half_a_character_in_a_reply_is_no_crash(ask):
    broken = b'{"choices": [{"message": {"content": "a\\ud800"}, "finish_reason": "stop"}]}'
    (reply,), _, _ = ask(lambda body, count: Scripted(broken), request())
    assert reply.content.startswith("a")


def test_equal_requests_at_one_time_are_one_call(ask):
    script = lambda body, count: Scripted(completion(f"reply {count}").body, delay_s=0.05)  # noqa: E731
    replies, server, client = ask(script, request(), request(), request("other"), request())
    assert len(server.requests) == 2
    assert replies[0] == replies[1] == replies[3] != replies[2]
    assert (client.counts["calls"], client.counts["replayed"]) == (2, 2)


def ask_equal(journal, script, count, disturb=lambda calls: None):
    """Send a request several times at once, disturb the server, and return (replies or errors, requests)."""
    with fake_server(script) as server:

        async def go():
            client = Client(models_at(server.url, retries=0), journal)
            calls = [asyncio.create_task(client.ask(request())) for _ in range(count)]
            while not server.requests:
                await asyncio.sleep(0.001)
            disturb(calls)
            results = await asyncio.gather(*calls, return_exceptions=True)
            await client.close()
            return results

        return asyncio.run(go()), len(server.requests)


def test_a_call_that_fails_fails_for_itself_and_an_equal_one_asks_again(journal):
    (one, *others), sent = ask_equal(journal, first(refuse("no", 401)), 3)
    assert isinstance(one, EndpointError)
    assert [r.content for r in others] == ["fine", "fine"]
    assert sent == 2


def test_equal_calls_that_all_fail_have_each_asked(journal):
    results, sent = ask_equal(journal, lambda body, count: refuse(f"no {count}", 401), 3)
    assert all(f"no {n}" in str(r) for n, r in enumerate(results, 1))
    assert sent == 3


@pytest.mark.parametrize(("cancelled", "sent"), [(0, 2), (1, 1)])
def test_a_call_that_is_cancelled_takes_no_equal_one_with_it(journal, cancelled, sent):
    slow = lambda body, count: Scripted(FINE.body, delay_s=0.05)  # noqa: E731
    results, requests = ask_equal(journal, slow, 3, lambda calls: calls[cancelled].cancel())
    assert isinstance(results.pop(cancelled), asyncio.CancelledError)
    assert [r.content for r in results] == ["fine", "fine"]
    assert requests == sent


def test_the_body_holds_the_sampling_and_nothing_that_was_not_asked(ask, journal):
    with fake_server(lambda body, count: FINE) as server:
        models = models_at(server.url)
        extra = {"top_k": 5, "chat_template_kwargs": {"enable_thinking": False}}
        models.judge.sampling = Sampling(0.2, 0.9, 33, extra)
        messages = (Message("system", "s"), Message("user", "u"))

        async def go():
            client = Client(models, journal)
            await client.ask(request(role=Role.JUDGE, messages=messages, seed=4))
            await client.close()

        asyncio.run(go())
    expected = {"model": "fake", "temperature": 0.2, "top_p": 0.9, "max_tokens": 33, "seed": 4, **extra}
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert server.requests == [{**expected, "messages": turns}]


def test_a_stored_reply_serves_wherever_the_endpoint_moves(ask):
    before, _, _ = ask(lambda body, count: FINE, request())
    after, server, client = ask(first(refuse("no", 401)), request(), timeout_s=1.0, retries=0)
    assert after == before
    assert (server.requests, client.counts["replayed"], client.counts["calls"]) == ([], 1, 0)


def test_draining_finishes_what_is_under_way_and_starts_nothing_waiting(journal):
    slow = lambda body, count: Scripted(FINE.body, delay_s=0.1)  # noqa: E731
    with fake_server(slow) as server:
        client = Client(models_at(server.url, max_in_flight=2), journal)

        async def go():
            calls = [asyncio.create_task(client.ask(request(seed=s))) for s in range(5)]
            while len(server.requests) < 2:
                await asyncio.sleep(0.005)
            client.draining = True
            results = await asyncio.gather(*calls, return_exceptions=True)
            client.accounts.clear()
            assert (await client.ask(request(seed=0))).content == "fine"
            await client.close()
            return results

        results = asyncio.run(go())
    assert [r.content for r in results[:2]] == ["fine", "fine"]
    assert [type(r) for r in results[2:]] == [Draining] * 3
    assert len(server.requests) == 2
    assert client.counts == {"replayed": 1}


def test_no_reply_is_used_that_could_not_be_stored(ask, journal, monkeypatch):
    async def full(key, reply):
        raise JournalError("disk full")

    monkeypatch.setattr(journal, "put", full)
    with pytest.raises(JournalError, match="disk full"):
        ask(lambda body, count: FINE, request())


def test_the_key_is_sent_and_is_nowhere_else(ask, journal, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    _, server, _ = ask(lambda body, count: FINE, request(), api_key_env="SOME_KEY")
    assert server.request_headers[0]["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(server.requests)
    stored = list(read_replies(journal.path))
    assert len(stored) == 1
    assert "sk-secret" not in str(stored)


def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_error(ask, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    echo = refuse("Incorrect API key provided: sk-secret", 401)
    with pytest.raises(EndpointError) as raised:
        ask(lambda body, count: echo, request(), api_key_env="SOME_KEY")
    assert "sk-secret" not in str(raised.value)


def test_a_server_that_repeats_the_key_does_not_bring_it_into_the_error_of_a_probe(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    echo = refuse("Incorrect API key provided: sk-secret", 401)
    with fake_server(lambda body, count: echo) as server:
        canary = Server("fake", canary=Canary("Who?", "me"))
        endpoint = Endpoint("fake", base_url=server.url, api_key_env="SOME_KEY", server=canary)
        with pytest.raises(EndpointError, match=r"a probe failed with HTTP 401.* \*\*\*") as raised:
            run_probe(endpoint, choose_probes(endpoint, [])["canary"])
    assert "sk-secret" not in str(raised.value)


def test_a_role_without_a_model_names_the_key_to_fill(journal):
    with pytest.raises(EndpointError, match=r"no model for judge: set models\.judge\.endpoint"):
        asyncio.run(Client(Models(), journal).ask(request(role=Role.JUDGE)))


def test_an_empty_reply_is_asked_for_again_and_is_no_answer_where_it_stays(ask):
    (reply,), server, client = ask(first(completion("")), request())
    assert (reply.content, len(server.requests), client.counts["retried_empty"]) == ("fine", 2, 1)
    # Reasoning shows that the model works, so a retry would not help.
    for reasoning, times in ((None, 3), ("hm", 1)):
        sent = []

        def script(body, count, reasoning=reasoning, sent=sent):
            sent.append(count)
            return completion(" ", reasoning=reasoning)

        with pytest.raises(NotMeasured, match="empty"):
            ask(script, request("other"), retries=6)
        assert len(sent) == times


def test_a_reply_that_is_sent_twice_is_not_the_answer_to_the_next_request(ask):
    """Otherwise every later reply on the connection would go to the wrong request."""

    def twice(body, count):
        payload = json.dumps(completion(body["messages"][0]["content"]).body).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n"
        return Scripted(payload + head.encode() + payload, headers={"Content-Length": str(len(payload))})

    requests = [request(f"question {n}") for n in range(8)]
    replies, _, _ = ask(twice, *requests, max_in_flight=1)
    assert [r.content for r in replies] == [f"question {n}" for n in range(8)]


def test_a_reply_without_end_is_none(ask, monkeypatch):
    monkeypatch.setattr(connection, "MAX_REPLY_BYTES", 10_000)
    with pytest.raises(EndpointError, match="ConnectionLost"):
        ask(lambda body, count: completion("x" * 20_000), request(), retries=0)


@pytest.mark.parametrize(
    ("scheme", "spared", "is_used"),
    [("http://", "", True), ("", "", True), ("http://", "model.invalid", False)],
)
def test_the_proxy_of_the_environment_is_used_unless_it_is_told_not_to(journal, monkeypatch, scheme, spared, is_used):
    with fake_server(lambda body, count: FINE) as proxy:
        monkeypatch.setenv("http_proxy", f"{scheme}name:word@127.0.0.1:{proxy.server_port}")
        monkeypatch.setenv("no_proxy", spared)
        client = Client(models_at("http://model.invalid/v1", retries=0), journal)

        async def go():
            try:
                return await client.ask(request())
            finally:
                await client.close()

        if is_used:
            assert asyncio.run(go()).content == "fine"
            assert "proxy-authorization" in proxy.request_headers[0]
        else:
            with pytest.raises(EndpointError, match=r"model\.invalid"):
                asyncio.run(go())
        assert len(proxy.requests) == is_used
