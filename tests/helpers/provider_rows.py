"""Imitates behaviours of providers that their documentation describes or their users report.

python -m tests.helpers.provider_rows renews tests/golden/providers.txt, which says what a user sees of each; read the
diff.
"""

import asyncio
import gzip
import json
import os
import re
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from autodata.loop.agents import verdict_schema
from autodata.loop.directing.calls import GIVE_UP, PROPOSE, offer
from autodata.recipes.models import Endpoint, Models, Sampling
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError
from autodata.serving.probes import probe
from autodata.serving.wire import retries
from autodata.types import Role
from tests.helpers.fake_server import Script, Scripted, completion, fake_server
from tests.helpers.recipes import models_at, request

GOLDEN = Path(__file__).parent.parent / "golden" / "providers.txt"
FINE = completion("fine")
VERDICTS = {"role": Role.JUDGE, "schema": verdict_schema(2)}
MOVES = {"role": Role.ORCHESTRATOR, "tools": offer((PROPOSE, GIVE_UP))}
KEY, SECRET = "AUTODATA_TEST_KEY", "sk-very-secret-0123456789"


@dataclass(frozen=True)
class Row:
    """One behaviour. `endpoint` and `asked` are the fields of the Endpoint and the Request that meet it.

    With `models`, a list of models, the first request of a run meets it, which asks for that list.
    """

    script: Script
    endpoint: dict[str, object] = field(default_factory=dict)
    asked: dict[str, object] = field(default_factory=dict)
    models: Scripted | None = None


def always(reply: Scripted, *after: Scripted) -> Script:
    """Send these replies, the last one again and again."""
    replies = (reply, *after)
    return lambda body, count: replies[min(count, len(replies)) - 1]


def refuse(status: int, error: object, **headers: str) -> Scripted:
    """Refuse a request with this JSON or text."""
    body = error.encode() if isinstance(error, str) else error
    return Scripted(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def say(message: str, **fields: object) -> dict[str, object]:
    """Make an error in OpenAI's form."""
    return {"error": {"message": message, **fields}}


def unless(is_right: Callable[[dict], bool], refusal: Scripted, reply: Scripted = FINE) -> Script:
    """Answer a request that is right, and refuse all others."""
    return lambda body, count: reply if is_right(body) else refusal


NO_MAX_TOKENS = unless(
    lambda body: "max_tokens" not in body,
    refuse(400, say("Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead.", param="max_tokens", code="unsupported_parameter")),
)  # fmt: skip
NO_TEMPERATURE = unless(
    lambda body: not {"temperature", "top_p"} & body.keys(),
    refuse(400, say("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) "
                    "value is supported.", param="temperature")),
)  # fmt: skip
NOT_BOTH = unless(
    lambda body: not {"temperature", "top_p"} <= body.keys(),
    refuse(400, say("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")),
)
BELOW_ONE = unless(lambda body: body.get("top_p", 0.5) < 1, refuse(422, {"error": "`top_p` must be > 0.0 and < 1.0"}))
NO_SEED = unless(
    lambda body: "seed" not in body,
    refuse(422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"],
                             "msg": "Extra inputs are not permitted", "input": 1}]}),
)  # fmt: skip
NO_FORCED_CALL = unless(
    lambda body: body.get("tool_choice") != "required",
    refuse(400, say("Thinking mode does not support this tool_choice")),
    completion('{"name": "give_up", "arguments": {"diagnosis": "dull"}}'),
)
NO_TOOLS_WHILE_THINKING = unless(
    lambda body: "tools" not in body or body.get("reasoning_effort") == "none",
    refuse(400, say("Function tools with reasoning_effort are not supported for gpt-6-sol in /v1/chat/completions. To "
                    "use function tools, use /v1/responses or set reasoning_effort to 'none'.",
                    param="reasoning_effort")),
    completion('{"name": "give_up", "arguments": {}}'),
)  # fmt: skip
STRICT = unless(
    lambda body: not re.search('"(prefixItems|minItems|maxLength|minimum)"', json.dumps(body)),
    refuse(400, say("Invalid schema for response_format 'reply': In context=('properties', 'verdicts'), 'prefixItems' "
                    "is not permitted.")),
    completion('{"verdicts": []}'),
)  # fmt: skip
JSON_ALONE = unless(
    lambda body: body.get("response_format", {}).get("type") != "json_schema",
    refuse(400, say("This response_format type is unavailable now")),
    completion('{"verdicts": []}'),
)
SCHEMA_ALONE = unless(
    lambda body: body.get("response_format", {}).get("type") != "json_object",
    refuse(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}),
    completion('{"verdicts": []}'),
)
_HTML = (
    "<html><head><title>502 Bad Gateway</title><style>h1 {}</style></head><body><h1>Bad Gateway</h1>"
    "cloudflare</body></html>"
)
_CHUNK = (
    b': keep-alive\n\ndata: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "fi"}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {"content": "ne"}}]}\n\n'
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}}\n\ndata: [DONE]\n'
)


def list_models(*names: str) -> Scripted:
    return Scripted({"object": "list", "data": [{"id": name} for name in names]})


def change(**fields: object) -> Scripted:
    """Make a completion whose outermost fields are others; None leaves one out."""
    body = completion("fine").body | fields
    return Scripted({name: value for name, value in body.items() if value is not None})


def change_choice(**fields: object) -> Scripted:
    return change(choices=[completion("fine").body["choices"][0] | fields])


ROWS: dict[str, Row] = {
    # What a request may hold.
    "reasoning model: max_tokens is refused": Row(NO_MAX_TOKENS),
    "reasoning model: max_tokens_key": Row(NO_MAX_TOKENS, {"max_tokens_key": "max_completion_tokens"}),
    "reasoning model: temperature is refused": Row(NO_TEMPERATURE, {"sampling": Sampling(0.7, 1.0, 64)}),
    "reasoning model: null is not sent": Row(NO_TEMPERATURE, {"sampling": Sampling(None, None, 64)}),
    "Claude: temperature and top_p together": Row(NOT_BOTH, {"sampling": Sampling(1.0, 1.0, 64)}),
    "Claude: temperature alone": Row(NOT_BOTH, {"sampling": Sampling(1.0, None, 64)}),
    "TGI: top_p of 1": Row(BELOW_ONE, {"sampling": Sampling(1.0, 1.0, 64)}),
    "TGI: no top_p": Row(BELOW_ONE, {"sampling": Sampling(1.0, None, 64)}),
    "Mistral: seed is refused": Row(NO_SEED),
    "Mistral: no seed": Row(NO_SEED, {"body": {"seed": None}}),
    "OpenRouter: no provider takes all parameters": Row(always(refuse(404, say(
        "No endpoints found that can handle the requested parameters.", code=404)))),
    "strict schema of OpenAI and Azure": Row(STRICT, asked=VERDICTS),
    "DeepSeek: no JSON schema": Row(JSON_ALONE, asked=VERDICTS),
    "DeepSeek: JSON mode": Row(JSON_ALONE, {"structured_output": "json_object"}, VERDICTS),
    "LM Studio: no JSON mode": Row(SCHEMA_ALONE, {"structured_output": "json_object"}, VERDICTS),
    "LM Studio: JSON schema": Row(SCHEMA_ALONE, asked=VERDICTS),
    "DeepSeek: a call cannot be forced": Row(NO_FORCED_CALL, asked=MOVES),
    "DeepSeek: a call is left to the model": Row(NO_FORCED_CALL, {"tool_choice": "auto"}, MOVES),
    "OpenAI: no functions while the model reasons": Row(NO_TOOLS_WHILE_THINKING, asked=MOVES),
    "OpenAI: no functions": Row(NO_TOOLS_WHILE_THINKING, {"tool_choice": "none"}, MOVES),
    "OpenAI: functions without reasoning": Row(NO_TOOLS_WHILE_THINKING, {"body": {"reasoning_effort": "none"}}, MOVES),
    "OpenRouter: no provider has tools": Row(always(refuse(404, say(
        "No endpoints found that support tool use. Try disabling \"propose\".", code=404))), asked=MOVES),
    "vLLM without a tool parser": Row(always(refuse(400, {"object": "error", "message":
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "code": 400})),
        asked=MOVES),
    # Where the reason of an error stands.
    "error is a text": Row(always(refuse(400, {"error": "model is not loaded"}))),
    "error is a list of details": Row(always(refuse(422, {"detail": [{"loc": ["body", "n"], "msg": "too many"}]}))),
    "error in a list (Gemini)": Row(always(refuse(400, '[{"error": {"code": 400, "message": "Unknown name", '
                                                       '"status": "INVALID_ARGUMENT"}}]'))),
    "error is an HTML page": Row(always(refuse(502, _HTML)), {"retries": 1}),
    "error is a plain text": Row(always(refuse(400, "no such tenant"))),
    "error is empty": Row(always(refuse(400, ""))),
    "error is long": Row(always(refuse(400, say("so long " * 200)))),
    "error echoes the key": Row(always(refuse(401, say(f"Incorrect API key provided: {SECRET}."))),
                                {"api_key_env": KEY}),
    "error in a reply with HTTP 200": Row(always(Scripted(say("Provider returned error", code=404)))),
    "error in a reply with HTTP 200, without a status": Row(always(Scripted(say(
        "You exceeded your current quota", code="insufficient_quota")))),
    "error in a reply with HTTP 200: the key": Row(always(Scripted({"error": "Invalid API key"}))),
    "error in a reply with HTTP 200: filtered": Row(always(Scripted(say("no", code="content_filter")))),
    "error in a reply with HTTP 200: busy": Row(always(*[Scripted(say("Rate limit exceeded"))] * 9, FINE),
                                                {"retries": 0}),
    "error in a reply with HTTP 200: unknown": Row(always(Scripted({"error": "oh"})), {"retries": 1}),
    "error object of vLLM with HTTP 200": Row(always(Scripted({
        "object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}))),
    "error beside empty choices (MiniMax)": Row(always(Scripted({
        "id": "1", "choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}))),
    "error with a code of its own (Zhipu)": Row(always(Scripted({
        "code": 1113, "msg": "insufficient balance", "success": False}))),
    "error in a choice (OpenRouter)": Row(always(change_choice(
        message={"role": "assistant", "content": ""}, finish_reason="error",
        error={"code": 502, "message": "Upstream idle timeout exceeded"})), {"retries": 1}),
    # Busy endpoints.
    "429 at first": Row(always(refuse(429, say("slow down")), FINE)),
    "503 at first": Row(always(refuse(503, say("loading")), FINE)),
    "529 at first (Anthropic)": Row(always(refuse(529, say("Overloaded")), FINE)),
    "20 a minute with X-RateLimit-Reset": Row(always(*[refuse(
        429, say("Rate limit exceeded: free-models-per-min."), X_RateLimit_Reset="0.02")] * 9, FINE), {"retries": 0}),
    "10 in 10 s with Retry-After": Row(always(*[refuse(429, say("slow"), Retry_After="0.02")] * 9, FINE),
                                       {"retries": 0}),
    "Retry-After in minutes": Row(always(refuse(429, say("slow"), Retry_After="1m30s")), {"patience_s": 89.0}),
    "Retry-After as a moment": Row(always(refuse(429, say("slow"), Retry_After="2400000000"))),
    "Retry-After is no number": Row(always(*[refuse(429, say("slow"), retry_after_ms="nan", Retry_After="-1")] * 9,
                                           FINE), {"retries": 0}),
    "Retry-After is past": Row(always(*[refuse(
        429, say("slow"), Retry_After="Sun, 21 Oct 2001 07:28:00 GMT")] * 9, FINE), {"retries": 0}),
    "Retry-After is longer than the patience": Row(always(refuse(
        429, say("slow"), Retry_After="Sun, 21 Oct 2046 07:28:00 GMT")), {"patience_s": 1.0}),
    "Gemini: requests of a minute": Row(always(*[refuse(429, {"error": {
        "code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [{"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]},
                    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.02s"}]}})] * 9, FINE),
        {"retries": 0}),
    "Groq: tokens of a minute": Row(always(*[refuse(429, say(
        "Rate limit reached for model `m` on tokens per minute (TPM): Limit 6000, Used 5500, Requested 1200. Please "
        "try again in 20ms. Need more tokens? Upgrade today at https://console.groq.com/settings/billing",
        type="tokens", code="rate_limit_exceeded"), Retry_After="0.02")] * 9, FINE), {"retries": 0}),
    "OpenAI: requests of a minute": Row(always(*[refuse(429, say(
        "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20ms. "
        "You can add a payment method to your account at https://platform.openai.com/account/billing.",
        type="requests", code="rate_limit_exceeded"))] * 9, FINE), {"retries": 0}),
    "Bedrock: throttled with HTTP 400": Row(always(*[refuse(400, {"detail": "An error occurred (ThrottlingException) "
        "when calling the Converse operation: Too many requests, please wait before trying again."})] * 9, FINE),
        {"retries": 0}),
    "Bedrock: throttled with HTTP 500": Row(
        always(*[refuse(500, {"detail": "ThrottlingException: Rate exceeded"})] * 9, FINE), {"retries": 0}),
    "Gemini: overloaded": Row(always(*[refuse(503, {"error": {
        "code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}})] * 9,
        FINE), {"retries": 0}),
    "Hugging Face: loading": Row(always(*[refuse(503, {
        "error": "Model m is currently loading", "estimated_time": 20.0})] * 9, FINE), {"retries": 0}),
    "llama.cpp: loading": Row(always(*[refuse(503, say("Loading model", type="unavailable_error"))] * 9, FINE),
                              {"retries": 0}),
    # Errors that no retry mends.
    "Groq: a key that it does not know": Row(always(refuse(400, say(
        "property 'min_tokens' is unsupported, did you mean 'max_tokens'?")))),
    "OpenAI: a key that it does not know": Row(always(refuse(400, say(
        "Unrecognized request argument supplied: min_tokens")))),
    "OpenAI: an answer that was begun": Row(always(refuse(400, say(
        "Unrecognized request arguments supplied: add_generation_prompt, continue_final_message")))),
    "Claude: an answer that was begun": Row(always(refuse(400, say(
        "This model does not support assistant message prefill. The conversation must end with a user message.")))),
    "Ollama: too little memory": Row(always(refuse(500, say(
        "model requires more system memory (5.6 GiB) than is available (3.1 GiB)")))),
    "Ollama: no tools": Row(always(refuse(400, say(
        "registry.ollama.ai/library/m:latest does not support tools"))), asked=MOVES),
    "the proxy wants a password": Row(always(refuse(407, "Proxy Authentication Required"))),
    "401": Row(always(refuse(401, say("Invalid Authentication")))),
    "Gemini: a wrong key has HTTP 400": Row(always(refuse(
        400, '[{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}]'))),
    "402 without credit": Row(always(refuse(402, say("Insufficient credits. Add more using "
                                                     "https://openrouter.ai/settings/credits", code=402)))),
    "OpenAI: 429 without credit": Row(always(refuse(429, say("You exceeded your current quota, please check your plan "
                                                             "and billing details.", code="insufficient_quota")))),
    "daily quota of requests (OpenRouter)": Row(always(refuse(429, say("Rate limit exceeded: free-models-per-day.")))),
    "daily quota of tokens (Groq)": Row(always(refuse(429, say(
        "Rate limit reached for model `m` on tokens per day (TPD): Limit 500000, Used 499912, Requested 1200. Please "
        "try again in 3m12s.", type="tokens", code="rate_limit_exceeded")))),
    "daily quota (Gemini)": Row(always(refuse(429, {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
        "Quota exceeded", "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel"}]}]}}))),
    "request larger than a minute's tokens (Groq)": Row(always(refuse(413, say(
        "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7800, please reduce your "
        "message size and try again.", type="tokens", code="rate_limit_exceeded")))),
    "monthly quota (Cohere)": Row(always(refuse(429, {"message": "You are using a Trial key, which is limited to 1000 "
        "API calls / month. You can upgrade to a Production key with higher rate limits."}))),
    "Anthropic: its own limit is reached": Row(always(refuse(400, say(
        "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
        type="invalid_request_error")))),
    "OpenRouter: the limit of a key": Row(always(refuse(403, say("Key limit exceeded (total limit).", code=403)))),
    "OpenRouter: no such model": Row(always(refuse(400, say("maker/m is not a valid model ID", code=400)))),
    "403 without access": Row(always(refuse(403, say(
        "Project does not have access to model m", code="model_not_found")))),
    "404: no such model": Row(always(refuse(404, say("The model `m` does not exist", code="model_not_found")))),
    "404: no such deployment (Azure)": Row(always(refuse(404, {"error": {
        "code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}))),
    "404: the address is wrong": Row(always(refuse(404, '{"detail":"Not Found"}'))),
    "no model is loaded (LM Studio)": Row(always(refuse(400, {"error":
        "No models loaded. Please load a model in the developer page or use the `lms load` command."}))),
    "model is not pulled (Ollama)": Row(always(refuse(404, say(
        'model "qwen3:4b" not found', type="not_found_error")))),
    "model is not ready (Together)": Row(always(refuse(400, say(
        "Unable to access non-serverless model m. Please visit your dashboard to create a dedicated endpoint.",
        code="model_not_available")))),
    "a status of its own": Row(always(refuse(418, "teapot"))),
    "moved": Row(always(refuse(301, "", Location="https://api.example.org/v1/chat/completions"))),
    "too long for the context": Row(always(refuse(400, say(
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8500 in the messages"
        ", 500 in the completion).", code="context_length_exceeded")))),
    "too long for the gateway": Row(always(refuse(413, "<html><title>413 Request Entity Too Large</title></html>"))),
    "too long for llama.cpp": Row(always(refuse(400, {"error": {
        "code": 400, "message": "request (14429 tokens) exceeds the available context size (8192 tokens), try "
        "increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 14429, "n_ctx": 8192}}))),
    # Filters.
    "403 moderated (OpenRouter)": Row(always(refuse(403, say(
        "openai/m requires moderation. Your input was flagged for \"violence\"", code=403)))),
    "400 content_filter (Azure)": Row(always(refuse(400, {"error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}))),
    "DeepSeek: filtered": Row(always(refuse(400, say("Content Exists Risk", type="invalid_request_error")))),
    "xAI: filtered": Row(always(refuse(403, {
        "code": "The caller does not have permission", "error": "Content violates usage guidelines."}))),
    "Moonshot: filtered": Row(always(refuse(400, say(
        "The request was rejected because it was considered high risk", type="content_filter")))),
    "empty choices": Row(always(Scripted({"id": "1", "choices": []}))),
    "filtered reply": Row(always(completion("", "content_filter")), asked={"role": Role.JUDGE}),
    # What a model may do wrong, and another try may mend.
    "no JSON came out (Groq)": Row(always(refuse(400, say(
        "Failed to generate JSON. Please adjust your prompt. See 'failed_generation' for more details.",
        code="json_validate_failed", failed_generation="{")), FINE)),
    "no call came out (Groq)": Row(always(refuse(400, say(
        "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
        code="tool_use_failed", failed_generation="<function")), FINE), asked=MOVES),
    # What a reply may look like.
    "content in parts": Row(always(completion([{"type": "text", "text": "fi"}, {"type": "text", "text": "ne"}]))),
    "call in the text": Row(always(completion('[TOOL_CALLS]propose[ARGS]{"diagnosis": "easy"}')), asked=MOVES),
    "content is one part": Row(always(completion({"type": "text", "text": {"value": "fine"}}))),
    "content with a part of reasoning": Row(always(completion([
        {"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "fine"}]))),
    "one call instead of a list": Row(always(completion(None, "tool_calls", tool_calls={
        "name": "propose", "input": {"diagnosis": "easy"}})), asked=MOVES),
    "parallel calls, the first without a name": Row(always(completion(None, "tool_calls", tool_calls=[
        None, {"function": {"name": "", "arguments": "{}"}},
        {"function": {"name": "propose", "arguments": '{"diagnosis": "easy"}'}},
        {"function": {"name": "give_up", "arguments": "{}"}}])), asked=MOVES),
    "call with arguments that are no text": Row(always(completion(None, "tool_calls", tool_calls=[
        {"function": {"name": "propose", "arguments": {"diagnosis": "easy"}}}])), asked=MOVES),
    "reasoning_content": Row(always(completion("fine", reasoning_content="hm"))),
    "reasoning": Row(always(completion("fine", reasoning="hm"))),
    "reasoning in an object": Row(always(completion("fine", reasoning={"content": "hm"}))),
    "reasoning in parts": Row(always(completion("fine", reasoning_content=[{"type": "text", "text": "hm"}]))),
    "reasoning twice": Row(always(completion("<think>hm</think>fine", reasoning_content="hm"))),
    "<think> in the text": Row(always(completion("<think>hm</think>fine"))),
    "<think> never ends": Row(always(completion("<think>hm"))),
    "no usage": Row(always(change(usage=None))),
    "no id": Row(always(change(id=None))),
    "another model's name": Row(always(change(model="fake-2026-11-01"))),
    "choices in another order": Row(always(change(choices=[
        {"index": 1, "message": {"content": "second"}, "finish_reason": "stop"},
        {"index": 0, "message": {"content": "fine"}, "finish_reason": "stop"}]))),
    "finish_reason null": Row(always(change_choice(finish_reason=None))),
    "finish_reason error": Row(always(change_choice(finish_reason="error"))),
    "usage in texts": Row(always(change(usage={"prompt_tokens": "11", "completion_tokens": "7", "cost": "0.001"}))),
    "usage is a list": Row(always(change(usage=[1, {}]))),
    "finish_reason COMPLETE (Cohere)": Row(always(change_choice(finish_reason="COMPLETE"))),
    "finish_reason in capitals (Gemini)": Row(always(change_choice(finish_reason="STOP"))),
    "gzip": Row(always(Scripted(gzip.compress(json.dumps(FINE.body).encode()), 200, {"Content-Encoding": "gzip"}))),
    "broken gzip": Row(always(Scripted(b"no gzip", 200, {"Content-Encoding": "gzip"})), {"retries": 1}),
    "a stream that nobody asked for": Row(always(Scripted(_CHUNK, 200, {"Content-Type": "text/event-stream"})),
                                          {"retries": 1}),
    "a stream that was cut off": Row(always(Scripted(_CHUNK[:140])), {"retries": 1}),
    "an error in a stream": Row(always(Scripted(b'data: {"error": {"message": "no credit", "code": 402}}\n\n'))),
    "deflate": Row(always(Scripted(zlib.compress(json.dumps(FINE.body).encode()), 200, {
        "Content-Encoding": "deflate"}))),
    "another content type": Row(always(Scripted(FINE.body, 200, {"Content-Type": "text/html"}))),
    "blanks before the reply (OpenRouter)": Row(always(Scripted(b"\n  \n\n" + json.dumps(FINE.body).encode()))),
    "a mark of the byte order": Row(always(Scripted(b"\xef\xbb\xbf" + json.dumps(FINE.body).encode()))),
    "empty body": Row(always(Scripted(b"")), {"retries": 1}),
    "HTML with HTTP 200": Row(always(Scripted(b"<html><title>Sign in</title></html>")), {"retries": 1}),
    "connection broken": Row(always(Scripted(drop=True)), {"retries": 1}),
    "answer after a break": Row(always(Scripted(drop=True), FINE)),
    "too late": Row(always(Scripted(FINE.body, delay_s=0.3)), {"retries": 0, "timeout_s": 0.1}),
    # The first request of a run.
    "start: no list of models": Row(always(FINE), models=refuse(404, '{"detail":"Not Found"}')),
    "start: the list has a prefix (Gemini)": Row(always(FINE), models=list_models("models/fake", "models/other")),
    "start: the list is a list (Together)": Row(always(FINE), models=Scripted(b'[{"id": "fake"}]')),
    "start: the list has gaps": Row(always(FINE), models=list_models("other")),
    "start: the list is not asked": Row(always(FINE), {"lists_models": False}, models=list_models("other")),
    "start: the list is empty (LM Studio)": Row(always(FINE), models=list_models()),
    "start: the list is a web page": Row(always(FINE), models=Scripted(b"<html><title>Welcome</title></html>")),
    "start: 401": Row(always(FINE), models=refuse(401, say("Invalid Authentication"))),
    "start: the model is gone": Row(always(refuse(404, say("The model has been deprecated"))),
                                    models=list_models("fake")),
    "start: busy, then not": Row(always(refuse(429, say("slow down")), FINE), models=list_models("fake")),
    "start: loading, then not": Row(always(refuse(503, say("loading")), FINE), models=list_models("fake")),
    "start: nobody is there": Row(always(FINE), {"base_url": "http://127.0.0.1:9/v1"}, models=list_models("fake")),
    "start: the address is that of a request": Row(
        always(FINE), {"base_url": "http://127.0.0.1:9/v1/chat/completions/"}, models=list_models("fake")),
    "start: the address holds a password": Row(
        always(FINE), {"base_url": "http://me:secret@127.0.0.1:9/v1"}, models=list_models("fake")),
    "start: a header with a wrong name": Row(always(FINE), {"headers": {"x key:": "a"}}, models=list_models("fake")),
    "start: the key stands in the recipe": Row(always(FINE), {"api_key_env": "sk-1234-5678"},
                                               models=list_models("fake")),
    "start: the address has no scheme": Row(always(FINE), {"base_url": "localhost:8000/v1"},
                                            models=list_models("fake")),
    "half a character": Row(always(completion("fi\ud800ne"))),
    "half a character in a call": Row(always(completion(None, "tool_calls", tool_calls=[
        {"function": {"name": "propose", "arguments": '{"diagnosis": "\ud800"}'}}])), asked=MOVES),
    "half a character in a call in the text": Row(always(completion(
        '{"name": "propose", "arguments": "{\\"diagnosis\\": \\"\\ud800\\"}"}')), asked=MOVES),
}  # fmt: skip


def meet(row: Row) -> str:
    """Send a request to a provider of this row, and write what a user sees."""
    with fake_server(row.script) as server:
        server.models, values = row.models, {"retries": 3, "patience_s": 2.0} | row.endpoint
        models = models_at(values.pop("base_url", server.url), **values)
        words = _start(models.endpoints["fake"]) if row.models else _ask_once(models, row)
        times = len(server.requests)
    varying = {r"tried for \d+ s": "tried for … s", r"127\.0\.0\.1:\d+": "HOST", r"\d{5,} h \d\d min": "… h"}
    for pattern, shown in varying.items():
        words = re.sub(pattern, shown, words)
    return f"{words} ({times} requests)" if times > 1 else words


def _start(endpoint: Endpoint) -> str:
    try:
        probe(endpoint, is_patient=True)
    except EndpointError as error:
        return f"{type(error).__name__}: {error}"
    return "works"


def _ask_once(models: Models, row: Row) -> str:
    with tempfile.TemporaryDirectory() as folder, closing(Journal(Path(folder) / "journal.sqlite")) as journal:
        return asyncio.run(_ask(Client(models, journal), row))


async def _ask(client: Client, row: Row) -> str:
    try:
        reply = await client.ask(request(**row.asked))
    except EndpointError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await client.close()
    call = f"{reply.tool} {reply.arguments}" if reply.tool else ""
    return " · ".join(
        filter(None, [f"works: {reply.content or call!r}", reply.reasoning and f"thought {reply.reasoning!r}"])
    )


def read_golden() -> dict[str, str]:
    """Read what a user should see of each row."""
    parts = (part.split("\n", 1) for part in GOLDEN.read_text(encoding="utf-8").strip().split("\n\n"))
    return {name: seen.strip() for name, seen in parts}


def main() -> None:
    retries.backoff = lambda tries: 0.01
    os.environ[KEY] = SECRET
    rows = (f"{name}\n    {meet(row)}\n" for name, row in ROWS.items())
    GOLDEN.write_text("\n".join(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
