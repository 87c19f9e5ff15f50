"""Tests behaviours of providers, a row each: a call works, or ends with their words and the key to change."""

import asyncio
import email.utils
import json
import math
import time
from contextlib import closing, nullcontext
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata import generate
from autodata.doctor import examine
from autodata.loop.agents import verdict_schema
from autodata.loop.directing.calls import GIVE_UP, PROPOSE, READ, offer
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Endpoint, Models, Price, RoleConfig, Sampling, Server
from autodata.run.folder import Run
from autodata.run.records import RunError
from autodata.serving.journal import Journal
from autodata.serving.limits import Limit
from autodata.serving.measured import EndpointClosed, EndpointError, NotMeasured, RequestRefused
from autodata.serving.probes import choose_probes, probe
from autodata.serving.request import make_body, make_strict
from autodata.serving.wire import waits
from autodata.serving.wire.body import decode as decode_body
from autodata.serving.wire.faults import ConnectionLost, HttpError, read_words
from autodata.serving.wire.meaning import Kind, interpret
from autodata.serving.wire.pace import Pace
from autodata.types import Outcome, Reply, Role
from tests.helpers.fake_server import Scripted, completion, fake_server, play_skills
from tests.helpers.recipes import request

pytestmark = pytest.mark.slow

FINE = completion("fine")
TOOLS = offer((PROPOSE, READ, GIVE_UP))
BUDGET = Sampling(max_tokens=64)
DEMO = "recipes/demo/generate.yaml"


def refuse(words: object, status: int = 400, **headers: str) -> Scripted:
    return Scripted({"error": {"message": words}}, status, {k.replace("_", "-"): v for k, v in headers.items()})


# ── what a request may hold ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("values", "sent", "missing"),
    [
        ({"max_tokens_key": "max_completion_tokens"}, {"max_completion_tokens": 64}, {"max_tokens"}),
        ({"sampling": Sampling(None, None, 64)}, {"max_tokens": 64, "seed": 1}, {"temperature", "top_p"}),
        ({"sampling": Sampling(0.7, None, 64)}, {"temperature": 0.7}, {"top_p"}),
        ({"body": {"seed": None, "reasoning_effort": "low"}}, {"reasoning_effort": "low"}, {"seed"}),
        ({"sampling": Sampling(1.0, 1.0, 64, {"seed": None})}, {"top_p": 1.0}, {"seed"}),
        ({"body": {"tool_choice": "auto"}}, {"model": "m"}, {"tool_choice"}),
        ({"tool_choice": "auto"}, {"model": "m"}, {"tool_choice"}),
    ],
)
def test_a_request_holds_what_the_endpoint_allows(values, sent, missing):
    endpoint = Endpoint("m", **{"sampling": BUDGET} | values)
    body = make_body(request(), endpoint, endpoint.sampling)
    assert sent.items() <= body.items()
    assert not missing & body.keys()


def test_a_forced_call_can_be_left_to_the_model():
    asked = request(tools=(TOOLS[0],))
    assert make_body(asked, Endpoint("m"), BUDGET)["tool_choice"] == "required"
    assert make_body(asked, Endpoint("m", tool_choice="auto"), BUDGET)["tool_choice"] == "auto"
    assert "tools" not in make_body(asked, Endpoint("m", tool_choice="none", body={"tool_choice": "auto"}), BUDGET)
    assert "tool_choice" not in make_body(asked, Endpoint("m", tool_choice="none", body={"tool_choice": "a"}), BUDGET)


def test_headers_and_query_are_sent_and_their_secrets_are_hidden(ask, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    _, server, _ = ask(lambda body, count: FINE, request(), headers={"api-key": "$SOME_KEY", "X-Title": "a"})
    sent = server.request_headers[0]
    assert (sent["api-key"], sent["x-title"]) == ("sk-secret", "a")
    assert "org-mine" not in str(sent)
    assert "authorization" not in sent
    with pytest.raises(EndpointError, match=r"\*\*\* is wrong") as raised:
        ask(lambda body, count: refuse("sk-secret is wrong", 401), request("b"), headers={"api-key": "$SOME_KEY"})
    assert "sk-secret" not in str(raised.value)
    with pytest.raises(EndpointError, match="NO_SUCH_KEY is not set"):
        ask(lambda body, count: FINE, request("c"), headers={"api-key": "$NO_SUCH_KEY"})


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/openai/deployments/gpt?api-version=2026-10-01", {}),
        ("/openai/deployments/gpt", {"query": {"api-version": "$API_VERSION"}}),
        ("/openai/deployments/gpt/", {"query": {"api-version": "2026-10-01"}}),
    ],
)
def test_a_version_stands_in_the_query_as_azure_wants_it(ask, monkeypatch, path, values):
    monkeypatch.setenv("API_VERSION", "2026-10-01")
    monkeypatch.setenv("AZURE_KEY", "azure-secret")
    with fake_server(lambda body, count: FINE) as azure:
        address = azure.url.removesuffix("/v1") + path
        ask(lambda body, count: FINE, request(), base_url=address, headers={"api-key": "$AZURE_KEY"}, **values)
        assert azure.paths == ["/openai/deployments/gpt/chat/completions?api-version=2026-10-01"]
        assert azure.request_headers[0]["api-key"] == "azure-secret"


@pytest.mark.parametrize(
    ("path", "sent"),
    [("", "/chat/completions"), ("/", "/chat/completions"), ("?a=1", "/chat/completions?a=1"),
     ("/v1//", "/v1/chat/completions"), ("/v1\n", "/v1/chat/completions"), ("/models", "/models/chat/completions")],
)  # fmt: skip
def test_an_address_may_end_with_a_slash_or_have_no_path(ask, path, sent):
    with fake_server(lambda body, count: FINE) as server:
        ask(lambda body, count: FINE, request(), base_url=server.url.removesuffix("/v1") + path)
        assert server.paths == [sent]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("https://h/v1/chat/completions", "leave out /chat/completions"),
        ("https://h/v1/responses/?a=1", "leave out /responses"),
        ("https://me:secret@h/v1", "set api_key_env"),
        ("https://a..b/v1", "not a URL"),
        ("http://[::1/v1", "not a URL"),
        ("https://h:99999/v1", "not a URL"),
    ],
)
def test_a_wrong_address_is_named_and_no_password_shown(ask, address, message):
    with pytest.raises(EndpointError, match=message) as raised:
        ask(lambda body, count: FINE, request(), base_url=address)
    assert "base_url" in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "message"),
    [("", "is empty"), (" \n", "is empty"), ("sk-12345\n6789", "no key"), ("sk-1234567–", "no key"),
     ("Bearer sk-123456", "no key")],
)  # fmt: skip
def test_a_key_that_cannot_be_sent_is_named_and_not_shown(ask, monkeypatch, key, message):
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(EndpointError, match=message) as raised:
        ask(lambda body, count: FINE, request(), api_key_env="SOME_KEY")
    assert "SOME_KEY" in str(raised.value) and (not key.strip() or key not in str(raised.value))


def test_a_key_with_a_line_break_at_its_end_is_sent_without_it(ask, monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-12345678\r\n")
    _, server, _ = ask(lambda body, count: FINE, request(), api_key_env="SOME_KEY", headers={"x-key": "$SOME_KEY"})
    assert server.request_headers[0]["authorization"] == "Bearer sk-12345678"
    assert server.request_headers[0]["x-key"] == "sk-12345678"


@pytest.mark.parametrize(
    ("name", "value"), [("x key", "a"), ("", "a"), ("x–key", "a"), ("x-key", "a\nb"), ("x-key", "$EMPTY"), ("x", "$")]
)
def test_a_header_that_cannot_be_sent_is_refused(ask, monkeypatch, name, value):
    monkeypatch.setenv("EMPTY", "")
    with pytest.raises(EndpointError):
        ask(lambda body, count: FINE, request(), headers={name: value})


def test_the_verdicts_of_a_strict_schema_still_name_their_criteria():
    items = make_strict(verdict_schema(3))["properties"]["verdicts"]["items"]
    assert items["properties"]["criterion"] == {"type": "integer", "enum": [1, 2, 3]}


# ── what a reply may look like ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ([{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}], ("fine", "")),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "fine"}], ("fine", "hm")),
        (["fine"], ("fine", "")),
    ],
)
def test_content_in_parts_is_read(ask, content, answer):
    (reply,), server, _ = ask(lambda body, count: completion(content), request())
    assert (reply.content, reply.reasoning, len(server.requests)) == (*answer, 1)


def stream(*events: object, end: bytes = b"data: [DONE]\n\n") -> Scripted:
    return Scripted(b"".join(b"event: x\r\ndata: " + json.dumps(e).encode() + b"\r\n\r\n" for e in events) + end)


def delta(finish_reason: str | None = None, **piece: object) -> dict[str, object]:
    return {"model": "m", "choices": [{"index": 0, "delta": piece, "finish_reason": finish_reason}]}


def test_a_stream_that_nobody_asked_for_is_put_together(ask):
    pieces = [delta(role="assistant", content=""), delta(reasoning_content="h"), delta(reasoning_content="m"),
              delta(content="fi"), delta(content=None), delta(content="ne"), delta("stop"),
              {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}]  # fmt: skip
    (reply,), _, _ = ask(lambda body, count: stream(*pieces), request())
    assert (reply.content, reply.reasoning, reply.prompt_tokens, reply.completion_tokens) == ("fine", "hm", 5, 2)


def test_calls_in_a_stream_are_joined_by_their_index(ask):
    calls = [{"index": 0, "id": "a", "function": {"name": "propose", "arguments": ""}},
             {"index": 0, "function": {"arguments": '{"diagnosis"'}},
             {"index": 1, "function": {"name": "give_up", "arguments": "{}"}},
             {"index": 0, "function": {"arguments": ': "easy"}'}}]  # fmt: skip
    pieces = [*(delta(tool_calls=[call]) for call in calls), delta("tool_calls")]
    (reply,), _, _ = ask(lambda body, count: stream(*pieces), request(tools=(TOOLS[0],)))
    assert (reply.tool, json.loads(reply.arguments)) == ("propose", {"diagnosis": "easy"})


@pytest.mark.parametrize(
    "cut",
    [stream(delta(content="fi")), stream(delta(content="fi"), end=b""), stream(delta(content="fi"), end=b"data:{")],
)
def test_a_stream_that_was_cut_off_is_no_answer(ask, cut):
    (reply,), server, _ = ask(lambda body, count: cut if count == 1 else FINE, request())
    assert (reply.content, len(server.requests)) == ("fine", 2)


@pytest.mark.parametrize("payload", [b"data: [DONE]\n", b"data: 3\n", b'data: {"choices": 3}\n', b"data:\n", b": x\n"])
def test_what_is_no_stream_of_a_completion_is_no_answer(ask, payload):
    with pytest.raises(EndpointError):
        ask(lambda body, count: Scripted(payload), request(), retries=0)


MARKUP = [
    '[TOOL_CALLS][{"name": "propose", "arguments": {"diagnosis": "easy"}}]',
    '[TOOL_CALLS]propose[ARGS]{"diagnosis": "easy"}',
    '<|python_tag|>{"name": "propose", "parameters": {"diagnosis": "easy"}}',
    '<function=propose>{"diagnosis": "easy"}</function>',
    '<|tool_call_begin|>functions.propose:0<|tool_call_argument_begin|>{"diagnosis": "easy"}<|tool_call_end|>',
    "I call it.\n<tool_call>propose\n<arg_key>diagnosis</arg_key>\n<arg_value>easy</arg_value>\n</tool_call>",
    '<invoke name="propose"><parameter name="diagnosis">easy</parameter></invoke>',
    '<｜tool▁call▁begin｜>function<｜tool▁sep｜>propose\n```json\n{"diagnosis": "easy"}\n```<｜tool▁call▁end｜>',
]


@pytest.mark.parametrize("text", MARKUP)
def test_a_call_in_the_markup_of_its_model_is_read(ask, text):
    (reply,), _, client = ask(lambda body, count: completion(text), request(tools=(TOOLS[0],)))
    assert (reply.tool, json.loads(reply.arguments)) == ("propose", {"diagnosis": "easy"})
    assert client.counts["found_in_text"] == 1


# ── what an error means ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error": "no such model"}', "no such model"),
        ('{"detail": [{"loc": ["body", "seed"], "msg": "not allowed"}]}', "not allowed; body.seed"),
        ('{"error": {"message": "bad", "code": "x_y"}}', "bad; x_y"),
        ('{"error": {"message": "Failed", "metadata": {"raw": "{\\"message\\": \\"slow\\"}"}}}', "Failed; slow"),
        ("<html><head><title>502 Bad Gateway</title></head><h1>Oh</h1>no</html>", "502 Bad Gateway; Oh no"),
        ("plain   words", "plain words"),
        ('{"error": "half \\ud800"}', "half ?"),
        ("", ""),
        ("[[[[", "[[[["),
    ],
)  # fmt: skip
def test_the_providers_words_are_found(text, words):
    assert read_words(text) == words


@pytest.mark.parametrize(
    ("status", "words", "kind", "advice"),
    [
        (400, "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
         Kind.CLOSED, "max_tokens_key"),
        (400, "`temperature` and `top_p` cannot both be specified for this model", Kind.CLOSED, "to null"),
        (422, "Extra inputs are not permitted; body.seed", Kind.CLOSED, "seed: null"),
        (400, "Invalid schema for response_format 'reply'", Kind.CLOSED, "structured_output"),
        (404, "No endpoints found that support tool use", Kind.CLOSED, "orchestrator=fixed"),
        (404, "The model `x` does not exist", Kind.CLOSED, "base_url and model"),
        (401, "Incorrect API key", Kind.CLOSED, "api_key_env"),
        (402, "", Kind.CLOSED, "credit"),
        (403, "You have no access to this model", Kind.CLOSED, "access"),
        (429, "You exceeded your current quota; insufficient_quota", Kind.CLOSED, "credit"),
        (429, "You exceeded your current quota, please check your billing details", Kind.CLOSED, "credit"),
        (429, "Limit 3 requests per min. Please try again in 20s. Add a payment method at /account/billing",
         Kind.BUSY, "requests_per_minute"),
        (429, "TPM limit reached. Need more? Upgrade at /settings/billing for 9 million per day", Kind.BUSY, ""),
        (429, "Quota exceeded; GenerateRequestsPerMinutePerProject; GenerateRequestsPerDayPerProject", Kind.CLOSED,
         "renewed"),
        (429, "Out of credits. Please try again in 20s", Kind.CLOSED, "credit"),
        (429, "You exceeded your monthly quota. Please try again in 20s", Kind.CLOSED, "renewed"),
        (429, "limited to 10 API calls / minute", Kind.BUSY, ""),
        (429, "limited to 1000 API calls / month", Kind.CLOSED, "renewed"),
        (400, "Rate limit reached. Try again in 2s, or see /billing", Kind.BUSY, ""),
        (400, "Try again in 2s, or see /billing", Kind.CLOSED, "credit"),
        (400, "You have reached your specified API usage limits. You will regain access on 2027-01-01",
         Kind.CLOSED, "raise the limit"),
        (403, "Key limit exceeded (total limit)", Kind.CLOSED, "raise the limit"),
        (400, "maker/seed-1 is not a valid model ID", Kind.CLOSED, "base_url and model"),
        (429, "Rate limit exceeded: free-models-per-day", Kind.CLOSED, "renewed"),
        (429, "slow down", Kind.BUSY, "requests_per_minute"),
        (529, "Overloaded", Kind.BUSY, ""),
        (403, "Your input was flagged; moderation", Kind.FILTERED, ""),
        (400, "content_filter", Kind.FILTERED, ""),
        (400, "This model's maximum context length is 4096 tokens", Kind.OVERFLOW, ""),
        (400, "no", Kind.REFUSED, "refuses this request"),
        (503, "loading", Kind.PASSING, "is the server up"),
    ],
)  # fmt: skip
def test_an_error_has_one_meaning(status, words, kind, advice):
    meaning = interpret(HttpError(status, json.dumps({"error": {"message": words}})))
    assert meaning.kind is kind
    assert advice in meaning.advice


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "the model failed to generate a valid tool call", "code": "server_error"}, Kind.PASSING),
        ({"message": "worker died at temperature sampling", "type": "InternalServerError"}, Kind.PASSING),
        ({"message": "flagged worker restarted", "code": "internal_error"}, Kind.PASSING),
        ({"message": "flagged by moderation", "type": "invalid_request_error"}, Kind.FILTERED),
        ({"message": "flagged by moderation", "code": 403, "type": "server_error"}, Kind.FILTERED),
        ({"message": "no tool_choice", "type": "BadRequestError"}, Kind.CLOSED),
    ],
)
def test_an_error_of_the_server_itself_passes_also_within_http_200(error, kind):
    with pytest.raises(HttpError) as raised:
        decode_body(json.dumps({"error": error}).encode())
    assert interpret(raised.value).kind is kind


@pytest.mark.parametrize(
    ("words", "kind", "advice"),
    [
        ("Cannot connect to host h:443 [SSL: CERTIFICATE_VERIFY_FAILED] self-signed", Kind.CLOSED, "SSL_CERT_FILE"),
        ("Cannot connect to host h:8000 [SSL: WRONG_VERSION_NUMBER]", Kind.CLOSED, "http://"),
        ("Cannot connect to host h:443 [Connect call failed]", Kind.PASSING, "is the server up"),
    ],
)
def test_a_certificate_is_not_tried_again(words, kind, advice):
    meaning = interpret(ConnectionLost(words))
    assert (meaning.kind, advice in meaning.advice) == (kind, True)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        (refuse("no credit", 402), EndpointClosed, r"HTTP 402, no credit; .*add credit"),
        (refuse("who are you", 401), EndpointClosed, "HTTP 401, who are you; .*check the key named by api_key_env"),
        (Scripted({"detail": "no"}, 422), RequestRefused, "HTTP 422, no; "),
        (Scripted({"error": {"message": "gone", "code": 404}}, 200), EndpointClosed, "HTTP 404, gone"),
        (refuse("content_filter"), NotMeasured, r"was not measured \(filtered\): HTTP 400, content_filter"),
        (refuse("flagged by moderation", 403), NotMeasured, r"\(filtered\)"),
        (Scripted({"id": "1", "choices": []}), NotMeasured, "content_filter"),
    ],
)
def test_what_cannot_change_is_sent_once(ask, failure, kind, message):
    sent = []

    def script(body, count):
        sent.append(count)
        return failure

    with pytest.raises(kind, match=message):
        ask(script, request())
    assert len(sent) == 1


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [429, 529])
def test_a_busy_endpoint_is_waited_for_beyond_all_retries(ask, status):
    script = lambda body, count: refuse("slow down", status) if count <= 9 else FINE  # noqa: E731
    (reply,), server, client = ask(script, request(), retries=1)
    assert (reply.content, len(server.requests)) == ("fine", 10)
    assert client.counts[f"retried_http_{status}"] == 9


def test_patience_has_an_end(ask):
    with pytest.raises(EndpointClosed, match=r"HTTP 429, slow.*patience_s"):
        ask(lambda body, count: refuse("slow", 429, retry_after="60"), request(), patience_s=30.0)


def test_patience_begins_with_the_first_refusal_after_a_success_and_not_while_nothing_is_asked():
    pace = Pace(Endpoint("m", patience_s=0.05), Limit(8))
    time.sleep(0.06)
    assert pace.slow_down(0.01, "judge", "slow down")
    time.sleep(0.06)
    assert not pace.slow_down(0.01, "judge", "slow down")
    pace.speed_up()
    assert pace.slow_down(0.01, "judge", "slow down")


def test_the_first_request_waits_as_later_ones_do():
    script = lambda body, count: refuse("busy", 503) if count <= 2 else FINE  # noqa: E731
    with fake_server(script) as server:
        probe(Endpoint("fake", base_url=server.url, sampling=BUDGET), is_patient=True)
        assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("headers", "words", "wait"),
    [
        ({"Retry-After": "7"}, "", 7),
        ({"Retry-After": email.utils.formatdate(time.time() + 3600, usegmt=True)}, "", 3600),
        ({"retry-after-ms": "250"}, "", 0.25),
        ({"X-RateLimit-Reset": str(int((time.time() + 3600) * 1000))}, "", 3600),
        ({"X-RateLimit-Reset": "12"}, "", 12),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-remaining-requests": "0",
          "x-ratelimit-reset-tokens": "9h", "x-ratelimit-remaining-tokens": "5"}, "", 360),
        ({"x-ratelimit-reset-tokens": "20ms"}, "", 0.02),
        ({"Retry-After": "1m30s"}, "", 90),
        ({"Retry-After": "90 seconds"}, "", 90),
        ({"Retry-After": "PT1M30S"}, "", 90),
        ({"Retry-After": "-5", "X-RateLimit-Reset": "12"}, "", 12),
        ({"Retry-After": "nan", "retry-after-ms": "nan", "X-RateLimit-Reset": "inf"}, "", math.inf),
        ({"retry-after-ms": "-100"}, "", None),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 GMT"}, "", 0),
        ({"Retry-After": "Sun, 21 Oct 99999 07:28:00 GMT"}, "", None),
        ({"Retry-After": "soon"}, "", None),
        ({"Retry-After": ""}, "", None),
        *(({name: str(int((time.time() + 3600) * unit))}, "", 3600)
          for name in ("Retry-After", "X-RateLimit-Reset") for unit in (1, 10**3, 10**6, 10**9)),
        ({"X-RateLimit-Reset": str(int(time.time() - 90))}, "", 0),
        ({"X-RateLimit-Reset": email.utils.formatdate(time.time() + 3600, usegmt=True)}, "", 3600),
        ({"X-RateLimit-Reset": datetime.fromtimestamp(time.time() + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%S")}, "",
         3600),
        ({"X-RateLimit-Reset": "9" * 400}, "", math.inf),
        ({"X-Rate-Limit-Reset": "12"}, "", 12),
        ({"X-RateLimit-Reset-After": "12.5"}, "", 12.5),
        ({"X-RateLimit-Reset": "12", "X-RateLimit-Remaining": "-3"}, "", 12),
        ({"X-RateLimit-Reset": "12", "X-RateLimit-Remaining": "3"}, "", None),
        ({"x-ratelimit-reset-requests-day": "9000", "x-ratelimit-remaining-requests-day": "10",
          "x-ratelimit-reset-tokens-minute": "12.5", "x-ratelimit-remaining-tokens-minute": "0"}, "", 12.5),
        ({"RateLimit": "limit=100, remaining=0, reset=12"}, "", 12),
        ({"RateLimit": '"day";r=9;t=9000, "minute";r=0;t=12'}, "", 12),
        ({}, "Rate limit reached. Please try again in 1.5s.", 1.5),
        ({}, "Please retry in 2 minutes", 120),
        ({}, "slow down", None),
    ],
)  # fmt: skip
def test_the_wait_that_an_endpoint_asks_for(headers, words, wait):
    found = waits.read_wait(HttpError(429, json.dumps({"error": words}), headers))
    assert found == wait if wait is None else found == pytest.approx(wait, abs=300 if wait == 3600 else 0.001)


def test_a_wait_that_stands_within_the_reply_is_read():
    assert waits.read_wait(HttpError(429, json.dumps({"error": {"message": "slow", "retry_after": 12}}))) == 12


@given(
    name=st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit"]),
    value=st.text("0123456789 :,-+.einfaTPSMHmsGrt=;", max_size=20) | st.text(max_size=9),
)
def test_no_header_asks_for_a_wait_that_cannot_be_waited(name, value):
    """A wait that is not a number compares with nothing, so the calls would be sent without any pause."""
    found = waits.read_wait(HttpError(429, json.dumps({"retry_after": value}), {name: value}))
    assert found is None or found >= 0


def test_a_rate_of_the_recipe_is_kept(ask):
    start = time.monotonic()
    ask(lambda body, count: FINE, *(request(seed=n) for n in range(4)), requests_per_minute=1200)
    assert time.monotonic() - start >= 3 * 60 / 1200


def test_a_refusal_lets_fewer_calls_run_at_once_until_successes_bring_them_back():
    async def play() -> list[int]:
        limit = Limit(8)
        pace, sizes = Pace(Endpoint("m"), limit), []
        for _ in range(3):  # of calls that were in flight together, so they count once
            assert pace.slow_down(0.05, "judge", "slow down")
            sizes.append(limit.most)
        for _ in range(6 + 7 + 9):
            pace.speed_up()
            sizes.append(limit.most)
        return sizes

    sizes = asyncio.run(play())
    assert sizes[:3] == [6, 6, 6]
    assert sizes[3:] == [6] * 5 + [7] * 7 + [8] * 10  # never more than the recipe allows


def test_the_calls_of_a_client_are_fewer_at_once_after_a_refusal(ask):
    script = lambda body, count: refuse("slow", 429) if count == 1 else FINE  # noqa: E731
    _, server, client = ask(script, *(request(seed=n) for n in range(4)), max_in_flight=8)
    assert len(server.requests) == 5
    assert client._lines["fake"].limit.most == 6
    assert client.counts["retried_http_429"] == 1


# ── what it costs ────────────────────────────────────────────────────────────────────────────────


def test_price_and_usage_are_read_through_the_client(ask):
    reported = completion("fine")
    reported.body["usage"] |= {
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    (reply,), _, client = ask(lambda body, count: reported, request(), price=Price(2.0, 10.0, 0.5))
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens, reply.reasoning_tokens) == (11, 7, 5, 3)
    assert reply.nano_usd is None
    (cost,) = client.ledger().values()
    assert cost.nano_usd == 6 * 2_000 + 5 * 500 + 7 * 10_000


def test_the_cost_that_a_provider_reports_is_kept(ask):
    reported = completion("fine")
    reported.body["usage"]["cost"] = 0.000123
    (reply,), _, _ = ask(lambda body, count: reported, request(), price=Price(2.0, 10.0))
    assert reply.nano_usd == 123_000


@pytest.mark.parametrize("listed", [404, 405])
def test_a_server_without_a_list_of_models_is_asked_for_a_token(listed, monkeypatch):
    from tests.helpers import fake_server as module

    monkeypatch.setattr(module._Handler, "do_GET", lambda handler: handler._send(Scripted(status=listed)))
    with fake_server(lambda body, count: FINE) as server:
        probe(Endpoint("fake", base_url=server.url, sampling=BUDGET))
        assert server.requests[0]["max_tokens"] == 1


PARSER = Server("w", flags={"tool-call-parser": "hermes"})


@pytest.mark.parametrize(
    ("endpoint", "roles", "is_probed"),
    [
        (Endpoint("m"), [Role.ORCHESTRATOR], True),
        (Endpoint("m", server=PARSER), [Role.ORCHESTRATOR], True),
        (Endpoint("m", server=Server("w")), [Role.ORCHESTRATOR], False),
        (Endpoint("m", tool_choice="auto"), [Role.ORCHESTRATOR], False),
        (Endpoint("m", server=PARSER), [Role.JUDGE], False),
    ],
)
def test_only_a_model_that_must_call_functions_is_probed_for_it(endpoint, roles, is_probed):
    assert ("tool call" in choose_probes(endpoint, roles)) is is_probed


@pytest.mark.parametrize(("orchestrator", "is_asked"), [("fixed", False), ("agent", True)])
def test_the_doctor_asks_an_orchestrating_model_only_if_one_leads(orchestrator, is_asked):
    models = Models({"m": Endpoint("m")}, orchestrator=RoleConfig("m"))
    recipe = GenerateRecipe(models=models, orchestrator=orchestrator)
    assert (examine._leave_out_orchestrator(recipe).orchestrator is not None) is is_asked
    assert models.orchestrator


NO_CHOICE = [Scripted({"id": "1", "choices": []}), Scripted({"id": "1", "choices": None})]


@pytest.mark.parametrize("role", [Role.WEAK_SOLVER, Role.JUDGE])
@pytest.mark.parametrize("reply", [completion("half", "content_filter"), refuse("content_filter"), *NO_CHOICE])
def test_a_filter_means_the_same_however_a_provider_writes_it(ask, role, reply):
    with pytest.raises(NotMeasured) as caught:
        ask(lambda body, count: reply, request(role=role))
    assert caught.value.outcome is Outcome.FILTERED


@pytest.mark.parametrize("reply", [completion("", "refusal"), completion(None, refusal="I will not.")])
def test_what_a_model_itself_declines_is_a_refusal(ask, reply):
    with pytest.raises(NotMeasured) as caught:
        ask(lambda body, count: reply, request())
    assert caught.value.outcome is Outcome.REFUSED


@pytest.fixture
def call(monkeypatch, capsys):
    """call(*arguments) runs generate and returns its exit code and stderr."""

    def run(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["generate", *arguments])
        code = 0
        try:
            generate.main()
        except SystemExit as end:
            code = end.code
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("filtered", "by_solver"), [(refuse("content_filter"), False), (NO_CHOICE[0], False), (NO_CHOICE[0], True)]
)
def test_a_filtered_document_is_left_out_and_the_run_goes_on(call, tmp_path, filtered, by_solver):
    """One prompt of one document is refused; the run ends well, and is not asked for it again."""
    refused = []

    def script(body, count):
        text = str(body["messages"])
        if ("response_format" not in body) == by_solver and body["max_tokens"] > 1 and not refused:
            refused.append(text)
        return filtered if refused and text == refused[0] else play_skills(body, count)

    with fake_server(script) as server:
        values = [f"run={tmp_path}/run", "documents.limit=6", f"models.endpoints.small.base_url={server.url}"]
        values += ["models.endpoints.small.model=fake", "models.endpoints.small.server=null", "domain.max_rounds=1"]
        code, error = call(DEMO, *values)
        assert code == 0, error
        ends = [json.loads(line)["end"] for line in (tmp_path / "run/trajectories.jsonl").read_text().splitlines()]
        sent = len(server.requests)
        assert (len(ends), ends.count("filtered")) == (6, 1)
        assert call(DEMO, *values)[0] == 0
        assert len(server.requests) == sent


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (("model=other",), 1, "serves fake"),
        (("model=wrong", "api_key_env=NO_SUCH_KEY"), 2, "NO_SUCH_KEY is not set"),
        (("model=wrong", "lists_models=false", "base_url=http://127.0.0.1:9/v1"), 1, "is the server up"),
    ],
)
def test_a_folder_whose_first_start_failed_takes_the_mended_recipe(call, tmp_path, wrong, code, message):
    """Nothing is pinned before the first stored reply, whatever ended the first start."""
    with fake_server(play_skills) as server:
        at = "models.endpoints.small"
        values = [f"run={tmp_path}/run", "documents.limit=2", "domain.max_rounds=1"]
        values += [f"{at}.base_url={server.url}", f"{at}.server=null", f"{at}.model=fake"]
        ended, error = call(DEMO, *values, *(f"{at}.{value}" for value in wrong))
        assert (ended, message in error) == (code, True), error
        ended, error = call(DEMO, *values)
        assert ended == 0, error
        ended, error = call(DEMO, *values, "seed=9")
        assert (ended, "other inputs" in error) == (1, True)


@pytest.mark.parametrize("stored", ["nothing", "reply", "record"])
def test_a_run_of_any_kind_is_pinned_by_its_first_reply_or_record(tmp_path, stored):
    """Evaluations and audits record no sessions, so their journal decides. Their first start was killed."""
    with (
        Run(str(tmp_path), "eval", {}, {"model": "wrong"}) as run,
        closing(Journal(run.path("journal.sqlite"))) as kept,
    ):
        run.start()
        if stored == "reply":
            asyncio.run(kept.put("key", Reply(Outcome.ANSWERED, "text", "", "stop", "m", 1, 1, 0.0)))
        if stored == "record":
            run.append("trajectories.jsonl", b"{}")
    with nullcontext() if stored == "nothing" else pytest.raises(RunError, match="other inputs"):
        Run(str(tmp_path), "eval", {}, {"model": "right"}).close()


def test_too_many_filtered_documents_stop_the_run(call, tmp_path):
    script = lambda body, count: refuse("content_filter") if "response_format" in body else play_skills(body, count)  # noqa: E731
    with fake_server(script) as server:
        values = [f"run={tmp_path}/run", "documents.limit=6", f"models.endpoints.small.base_url={server.url}"]
        values += ["models.endpoints.small.model=fake", "models.endpoints.small.server=null", "domain.max_rounds=1"]
        code, error = call(DEMO, *values, "max_filtered=0.2", "documents_in_flight=1")
    assert code == 1
    assert "a content filter refused 2 of 6 documents, more than max_filtered=0.2 allows" in error
