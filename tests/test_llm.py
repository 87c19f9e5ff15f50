"""Tests the client of the endpoints: retries, errors, outcomes, and the requests that it sends."""

import asyncio
import hashlib
import json
from dataclasses import asdict, replace

import pytest

from autodata.loop.agents import attempt_seed, make_object
from autodata.recipes.models import Endpoint, Sampling, Server
from autodata.serving.llm import Client, Draining
from autodata.serving.measured import EndpointError
from autodata.serving.probes import probe
from autodata.serving.request import request_key, request_keys, resolve_sampling
from autodata.types import Message, Outcome, Role
from tests.helpers.fake_server import Scripted, completion, fake_server
from tests.helpers.recipes import models_at, request

ERROR = {"error": {"message": "no"}}


def failing_first(times: int, failure: Scripted):
    return lambda body, count: failure if count <= times else completion("fine")


@pytest.mark.parametrize(
    "failure",
    [Scripted(ERROR, status) for status in (408, 409, 429, 500, 503)]
    + [Scripted(drop=True), Scripted(b"not json"), Scripted({"object": "?"}), Scripted(b"[]")],
    ids=str,
)
def test_transient_failures_are_tried_again(ask, failure):
    replies, server, client = ask(failing_first(2, failure), request())
    assert replies[0].content == "fine"
    assert len(server.requests) == 3
    assert sum(count for name, count in client.counts.items() if name.startswith("retried_")) == 2


def test_a_timeout_is_tried_again_and_counted_as_such(ask):
    script = failing_first(1, Scripted(delay_s=0.6))
    replies, _, client = ask(script, request(), timeout_s=0.3)
    assert replies[0].content == "fine"
    assert client.counts["retried_timeout"] == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_other_4xx_are_never_tried_again(ask, status):
    calls = []

    def script(body, count):
        calls.append(count)
        return Scripted(ERROR, status)

    with pytest.raises(EndpointError, match=f"weak_solver at http.*HTTP {status}"):
        ask(script, request())
    assert len(calls) == 1


def test_retries_are_bounded_and_the_error_names_role_url_and_status(ask):
    with pytest.raises(EndpointError, match=r"weak_solver at http://127.*HTTP 503.*tried for"):
        ask(lambda body, count: Scripted(ERROR, 503), request())


def test_retry_after_is_respected(ask, monkeypatch):
    waits = []
    monkeypatch.setattr("asyncio.sleep", _recording_sleep(waits, asyncio.sleep))
    ask(failing_first(1, Scripted(ERROR, 429, {"retry-after": "0.25"})), request())
    assert any(0.2 < seconds <= 0.25 for seconds in waits)


def _recording_sleep(waits, sleep):
    async def record(seconds, *rest):
        waits.append(seconds)
        await sleep(0)

    return record


def test_a_down_endpoint_names_its_url(journal):
    async def go() -> None:
        client = Client(models_at("http://127.0.0.1:9/v1"), journal)
        try:
            await client.ask(request())
        finally:
            await client.close()

    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1.*ConnectionLost"):
        asyncio.run(go())


@pytest.mark.parametrize(
    ("scripted", "outcome"),
    [
        (completion("yes"), Outcome.ANSWERED),
        (completion("cut", "length"), Outcome.CUT_OFF),
        (completion("cut", "MAX_TOKENS"), Outcome.CUT_OFF),
    ],
)
def test_an_answer_has_its_outcome_and_is_kept(ask, scripted, outcome):
    replies, server, client = ask(lambda body, count: scripted, request())
    assert replies[0].outcome is outcome
    again, server, client = ask(lambda body, count: Scripted(ERROR, 500), request())
    assert again == replies
    assert client.counts["replayed"] == 1
    assert not server.requests


@pytest.mark.parametrize(
    ("text", "finish", "answer"),
    [
        ("<think>2+2</think>4", "stop", ("<think>2+2", "4", Outcome.ANSWERED)),
        ("2+2</think>\n4", "stop", ("2+2", "\n4", Outcome.ANSWERED)),
        ("<think>2+2 and so on", "length", ("<think>2+2 and so on", "", Outcome.CUT_OFF)),
        ("4, I think", "stop", ("", "4, I think", Outcome.ANSWERED)),
    ],
)
def test_reasoning_that_a_server_left_in_the_text_is_no_answer(ask, text, finish, answer):
    (reply,), _, _ = ask(lambda body, count: completion(text, finish), request())
    assert (reply.reasoning, reply.content, reply.outcome) == answer


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart(ask, name):
    replies, _, _ = ask(lambda body, count: completion("4", **{name: "2+2"}), request())
    assert (replies[0].reasoning, replies[0].content) == ("2+2", "4")


def test_schema_seed_and_continuation_reach_the_server(ask):
    messages = (Message("user", "u"), Message("assistant", "The be"))
    schema = {"type": "object"}
    _, server, _ = ask(lambda b, c: completion("x"), request(messages=messages, schema=schema, seed=5))
    body = server.requests[0]
    assert body["response_format"]["json_schema"]["schema"] == schema
    assert (body["seed"], body["continue_final_message"], body["add_generation_prompt"]) == (
        5,
        True,
        False,
    )


def test_at_most_max_in_flight_calls_run_at_once(ask):
    requests = [request(seed=s) for s in range(12)]
    script = lambda body, count: replace(completion("x"), delay_s=0.02)  # noqa: E731
    _, server, _ = ask(script, *requests, max_in_flight=3)
    assert 1 <= server.most_running <= 3


def test_draining_starts_no_call(journal):
    with fake_server(lambda b, c: completion("x")) as server:
        client = Client(models_at(server.url), journal)
        client.draining = True
        with pytest.raises(Draining):
            asyncio.run(client.ask(request()))
        assert not server.requests


def test_the_key_holds_what_is_asked_and_not_where():
    here, there = Endpoint("m", base_url="a", timeout_s=1), Endpoint("m", base_url="b", retries=9)
    sampling = Sampling()
    key = request_key(request(), here, sampling)
    assert key == request_key(request(), there, sampling)
    different = {
        request_key(request("other"), here, sampling),
        request_key(request(seed=2), here, sampling),
        request_key(request(attempt=1), here, sampling),
        request_key(request(schema={"a": 1}), here, sampling),
        request_key(request(), Endpoint("n"), sampling),
        request_key(request(), Endpoint("m", revision="2"), sampling),
        request_key(request(), Endpoint("m", server=Server("w")), sampling),
        request_key(request(), Endpoint("m", structured_output="none"), sampling),
        request_key(request(tools=({"name": "f"},)), here, sampling),
        request_key(request(), here, Sampling(temperature=0.5)),
    }
    assert len(different | {key}) == 11


def test_the_key_is_the_hash_of_the_whole_identity_as_one_text():
    """Journals of earlier versions hold keys that were made so."""
    tools, body = ({"name": "f", "strict": True},), {"z": 1, "a": None}
    asked = request("¿\ud800”", schema={"b": 1, "a": [2]}, tools=tools)
    endpoint = Endpoint("m", tool_choice="auto", body=body, server=Server("w"))
    sampling = Sampling(0.5, None, 7, {"k": {"y": 1, "x": 2}})
    identity = {
        "model": "m", "weights": "w", "revision": "", "messages": [asdict(m) for m in asked.messages],
        "schema": asked.schema, "structured_output": "json_schema", "seed": asked.seed, "attempt": 0,
        "tools": tools, "tool_choice": "auto", "body": body,
    }  # fmt: skip
    for budget, key in zip((None, 7), request_keys(asked, endpoint, sampling), strict=False):
        whole = identity | {"sampling": asdict(replace(sampling, max_tokens=budget))}
        text = json.dumps(whole, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")
        assert key == hashlib.sha256(text).hexdigest()


def test_attempt_seeds_differ_in_every_part():
    seeds = {
        attempt_seed(s, d, r, role, a)
        for s in (0, 1)
        for d in "ab"
        for r in (1, 2)
        for role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER)
        for a in (0, 1)
    }
    assert len(seeds) == 32
    assert all(0 <= s < 2**31 for s in seeds)


def test_a_missing_key_variable_is_named_and_a_key_is_never_shown(ask, monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(EndpointError, match="SOME_KEY is not set"):
        ask(lambda b, c: completion("x"), request(), api_key_env="SOME_KEY")
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    with pytest.raises(EndpointError) as raised:
        ask(lambda b, c: Scripted(ERROR, 401), request(), api_key_env="SOME_KEY")
    assert "sk-secret" not in str(raised.value)


def test_a_probe_wants_the_right_name_and_a_token():
    with fake_server(lambda b, c: completion("x", "length")) as server:
        probe(Endpoint("fake", base_url=server.url))
        with pytest.raises(EndpointError, match="serves fake, weak, strong, not other"):
            probe(Endpoint("other", base_url=server.url))
    with fake_server(lambda b, c: Scripted(ERROR, 500)) as server, pytest.raises(EndpointError):
        probe(Endpoint("fake", base_url=server.url))


SCHEMA = make_object({"a": {"type": "string", "maxLength": 9, "minLength": 1}})


@pytest.mark.parametrize(
    ("form", "sent"),
    [
        ("json_schema", make_object({"a": {"type": "string"}})),
        ("bounded", SCHEMA),
        ("json_object", None),
        ("none", None),
    ],
)
def test_an_endpoint_is_held_to_the_form_that_it_knows(ask, form, sent):
    _, server, _ = ask(lambda b, c: completion("{}"), request(schema=SCHEMA), structured_output=form)
    response_format = server.requests[0].get("response_format")
    assert (response_format or {}).get("json_schema", {}).get("schema") == sent
    assert (response_format or {}).get("type") == (form if form == "json_object" else "json_schema" if sent else None)


def test_functions_are_offered_strictly_and_the_called_one_is_read(ask):
    tool = {"name": "move", "description": "d", "parameters": SCHEMA}
    calls = [{"id": "1", "type": "function", "function": {"name": "move", "arguments": '{"a": "x"}'}}]
    (reply,), server, _ = ask(lambda b, c: completion(None, "tool_calls", tool_calls=calls), request(tools=(tool,)))
    assert (reply.outcome, reply.tool, reply.arguments) == (Outcome.ANSWERED, "move", '{"a": "x"}')
    body = server.requests[0]
    assert body["tool_choice"] == "required"
    assert body["tools"][0]["function"]["strict"] is True
    assert "maxLength" not in str(body["tools"])


@pytest.mark.parametrize(("choice", "sent"), [("required", "required"), ("auto", "auto"), ("none", None)])
def test_an_endpoint_says_how_functions_are_offered(ask, choice, sent):
    tool = {"name": "move", "description": "d", "parameters": SCHEMA}
    text = '{"name": "move", "arguments": {"a": "x"}}'
    (reply,), server, _ = ask(lambda b, c: completion(text), request(tools=(tool,)), tool_choice=choice)
    assert server.requests[0].get("tool_choice") == sent
    assert ("tools" in server.requests[0]) == (sent is not None)
    assert (reply.tool, reply.arguments) == ("move", '{"a": "x"}')
    keys = {
        request_key(request(tools=(tool,)), Endpoint("m", tool_choice=c), Sampling()) for c in ("required", choice)
    }
    assert len(keys) == (1 if choice == "required" else 2)


@pytest.mark.parametrize(
    ("role_sampling", "preset", "effective"),
    [
        (Sampling(), Sampling(max_tokens=5), Sampling(None, None, 5)),
        (Sampling(), Sampling(0.6, 0.95, 99, {"top_k": 20}), Sampling(0.6, 0.95, 99, {"top_k": 20})),
        (
            Sampling(0.0, None, 7, {"top_k": 1}),
            Sampling(0.6, 0.95, 99, {"top_k": 20, "seed": 1}),
            Sampling(0.0, 0.95, 7, {"top_k": 1, "seed": 1}),
        ),
    ],
)
def test_a_roles_sampling_lies_over_its_models_preset(role_sampling, preset, effective):
    assert resolve_sampling(role_sampling, preset, "judge") == effective
