"""Imitates a good model in every check of the doctor, and the providers of recipes/models with what they refuse.

python -m tests.helpers.imitations renews tests/golden/doctor; read the diff.
"""

import json
import os
from pathlib import Path

from autodata.config import load
from autodata.doctor.examine import examine_models
from autodata.recipes.generation import GenerateRecipe
from tests.helpers.fake_server import Scripted, completion, fake_server

GOLDEN = Path(__file__).parent.parent / "golden" / "doctor"
RECIPE = "recipes/cs/generate.yaml"
KEYS = ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY")

CRITERIA = ("The answer says that 7 is larger", "The answer names the capital of Peru")  # of the doctor's simple case
MOVE = {"name": "give_up", "arguments": {"diagnosis": "dull"}}


def answer(body: dict, count: int) -> Scripted:
    """Answer as a good model does, whatever form the endpoint can enforce."""
    text = body["messages"][-1]["content"]
    if "tools" in body:
        name = body["tools"][-1]["function"]["name"]
        called = {"id": "1", "type": "function", "function": {"name": name, "arguments": "{}"}}
        return completion(None, "tool_calls", tool_calls=[called])
    if "Give up:" in text:
        return completion(json.dumps(MOVE))
    if '{"met": true}' in text:
        return completion('{"met": true}')
    if "What is the password?" in text:
        return completion("marigold" if "marigold" in text else "I do not know.")
    if judged := [criterion for criterion in CRITERIA if criterion in text]:
        verdicts = [{"criterion": n, "reason": "so", "met": c == CRITERIA[0]} for n, c in enumerate(judged, 1)]
        return completion(json.dumps({"verdicts": verdicts}))
    return completion(f"The ship {body.get('seed', count)} sails to Lima.")


def forbid(body: dict, **refusals: str) -> Scripted | None:
    """Refuse a body with one of these keys, in the provider's words."""
    found = next((words for key, words in refusals.items() if key in body), None)
    return refuse(found) if found else None


def refuse(words: str, status: int = 400) -> Scripted:
    return Scripted({"error": {"message": words, "type": "invalid_request_error"}}, status)


def find_schema(body: dict) -> object:
    return body.get("response_format", {}).get("json_schema", {}).get("schema")


def imitate_openai(body: dict, count: int) -> Scripted:
    """A reasoning model: no max_tokens, sampling, nor functions; strict schemas. The provider names its limits."""
    refusal = forbid(
        body,
        max_tokens="Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.",
        temperature="Unsupported parameter: 'temperature' is not supported with this model.",
        top_p="Unsupported parameter: 'top_p' is not supported with this model.",
        tools="Function tools with reasoning_effort are not supported for this model in /v1/chat/completions.",
    )
    reply = refusal or refuse_loose(find_schema(body)) or answer(body, count)
    reply.headers |= {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "200000"}
    return reply


def refuse_loose(schema: object) -> Scripted | None:
    """Refuse a schema that a strict mode does not accept."""
    if isinstance(schema, list):
        return next(filter(None, map(refuse_loose, schema)), None)
    if not isinstance(schema, dict):
        return None
    loose = {"prefixItems", "minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum"} & schema.keys()
    is_open = schema.get("type") == "object" and schema.get("required") != list(schema["properties"])
    if loose or is_open:
        return refuse(f"Invalid schema for response_format 'reply': {', '.join(sorted(loose)) or 'required'}")
    return next(filter(None, map(refuse_loose, schema.values())), None)


def imitate_openrouter(body: dict, count: int) -> Scripted:
    """A gateway that finds no provider for an unknown key, and says what each reply cost."""
    if {"temperature", "top_p", "seed", "tools"} & body.keys():
        return refuse("No endpoints found that can handle the requested parameters.", 404)
    reply = refuse_loose(find_schema(body)) or answer(body, count)
    if reply.status == 200:
        reply.body["usage"] |= {"cost": 0.00012}
    return reply


def imitate_anthropic(body: dict, count: int) -> Scripted:
    """Claude: no sampling, no forced call; it ignores response_format."""
    refusal = forbid(body, temperature="`temperature` is deprecated for this model.", top_p="`top_p` is deprecated.")
    if body.get("tool_choice") == "required":
        refusal = refuse("tool_choice: forced tool use is not supported for this model.")
    reply = refusal or answer({key: value for key, value in body.items() if key != "response_format"}, count)
    reply.headers |= {"anthropic-ratelimit-requests-limit": "50"}
    return reply


def imitate_deepseek(body: dict, count: int) -> Scripted:
    """JSON mode alone, for a prompt that says JSON; no functions while it thinks, as it does unless told not to."""
    form = body.get("response_format", {}).get("type")
    if form == "json_schema":
        return refuse("This response_format type is unavailable now")
    if form == "json_object" and "json" not in str(body["messages"]).casefold():
        return refuse(
            "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'."
        )
    is_thinking = body.get("thinking", {}).get("type") != "disabled"
    if is_thinking and "tool_choice" in body:
        return refuse("Thinking mode does not support this tool_choice")
    reply = answer(body, count)
    if is_thinking:
        reply.body["choices"][0]["message"]["reasoning_content"] = "Let me think."
    return reply


def imitate_ollama(body: dict, count: int) -> Scripted:
    """A local server that ignores tool_choice, and cuts a long prompt at its beginning without a word."""
    text = body["messages"][-1]["content"]
    reply = answer(body | {"messages": [{"role": "user", "content": text[-16_000:]}]}, count)
    reply.body["usage"]["prompt_tokens"] = min(len(text) // 4 + 1, 4_096)
    return reply


def imitate_llama_cpp(body: dict, count: int) -> Scripted:
    """A local server with a schema-constrained sampler and a context of 131,072 tokens, which it does not exceed."""
    tokens = sum(len(message["content"]) for message in body["messages"]) // 4
    if tokens > 131_072:
        return refuse(
            f"request ({tokens} tokens) exceeds the available context size (131072 tokens), try increasing it"
        )
    return answer(body, count)


IMITATIONS = {
    "openrouter": imitate_openrouter,
    "openai": imitate_openai,
    "anthropic": imitate_anthropic,
    "deepseek": imitate_deepseek,
    "ollama": imitate_ollama,
    "llama_cpp": imitate_llama_cpp,
}


def examine(provider: str, *values: str) -> str:
    """Let the doctor examine a recipe of cs with a provider's models, and write what it says of the endpoints."""
    at = [f"models.endpoints.{size}_model" for size in ("small", "large")]
    with fake_server(IMITATIONS[provider]) as server:
        addresses = [f"{key}.base_url={server.url}" for key in at] + [f"{key}.lists_models=false" for key in at]
        recipe = load(GenerateRecipe, [RECIPE, f"recipes/models/{provider}.yaml", *addresses, *values])
        found = examine_models(recipe.models, recipe.domain, serve=False)
        lines = [f"{finding.mark:<5}{finding.check:<36} {finding.detail}" for finding in found]
        return "\n".join(lines).replace(server.url, "URL") + "\n"


def main() -> None:
    for name in IMITATIONS:
        (GOLDEN / f"{name}.txt").write_text(examine(name), encoding="utf-8")


if __name__ == "__main__":
    os.environ |= dict.fromkeys(KEYS, "sk-not-a-real-key")
    main()
