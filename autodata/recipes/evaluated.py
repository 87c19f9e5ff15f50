"""Chooses the weights that are evaluated and the endpoint that serves them. No models file can change them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from omegaconf import MISSING

from autodata.recipes.models import MODEL_NAME, Endpoint, Sampling

_FORMS = frozenset({"fp8", "fp16", "bf16", "int4", "int8", "nvfp4", "mxfp4", "awq", "gptq", "gguf", "instruct", "it",
                    "chat", "hf", "latest"})  # fmt: skip
_VERSION = re.compile(r"[a-z]?\d+(?:\.\d+)*")
EVALUATED = "evaluated"  # key of models.endpoints for weights that none of the recipe's endpoints serves


@dataclass
class Evaluated:
    """The weights that answer, and the endpoint whose server settings serve them."""

    weights: str | None = MISSING  # hub name, folder or "embedded"; null: whatever the endpoint serves, as an API
    endpoint: str = MISSING  # a key of models.endpoints
    sampling: Sampling = field(default_factory=Sampling)  # overrides that of models.weak_solver


def choose_endpoint(evaluated: Evaluated, endpoints: Mapping[str, Endpoint]) -> tuple[str, Endpoint]:
    """Return the endpoint of the evaluated weights, or a copy with them, as (key, endpoint). Raises ValueError."""
    existing, source = endpoints.get(EVALUATED), endpoints.get(evaluated.endpoint)  # a resolved recipe has the copy
    if existing and existing.server and existing.server.weights == evaluated.weights:
        return EVALUATED, existing
    if source is None:
        raise ValueError(f"evaluated.endpoint={evaluated.endpoint}: not in models.endpoints ({', '.join(endpoints)})")
    if evaluated.weights is None or (source.server and source.server.weights == evaluated.weights):
        return evaluated.endpoint, source
    if existing and existing.server:
        problem = f"the command makes this server from evaluated.weights={evaluated.weights}"
        raise ValueError(f"models.endpoints.{EVALUATED}.server: {problem}; leave the key out")
    return EVALUATED, _serve(evaluated.weights, source, existing, evaluated.endpoint)


def _serve(weights: str, source: Endpoint, serving: Endpoint | None, key: str) -> Endpoint:
    """Copy an endpoint, with other weights. `serving` already serves them, as in a campaign."""
    if source.server is None:
        raise ValueError(
            f"evaluated.endpoint={key}: this endpoint has no server to load evaluated.weights={weights}; name an "
            "endpoint with a server, or write evaluated.weights: null to evaluate the model that the endpoint serves"
        )
    running = serving or Endpoint(name_model(weights))
    where = {name: getattr(running, name) for name in ("model", "base_url", "api_key_env", "leases")}
    return replace(source, revision="", server=replace(source.server, weights=weights), **where)


def name_model(weights: str) -> str:
    """Name weights as they are served: by hub name, or by the end of the path, without the machine's part."""
    return MODEL_NAME if weights == "embedded" else "/".join(Path(weights).parts[-3:]).strip("/")


def list_words(name: str) -> list[str]:
    """List the words of a model's name or of a label in lower case: qwen3.5 and 4b for `Qwen3.5-4B`."""
    return re.findall(r"[a-z0-9]+(?:\.[0-9]+)*", name.casefold())


def is_name(name: str, model: str) -> bool:
    """True if `name` is the model's name, without regard to its owner and the form of its weights.

    `Qwen3.5-4B` is the name of `Qwen/Qwen3.5-4B-FP8`; `gpt-4o` is not that of `gpt-4o-mini`.
    """
    words, model_words = list_words(name), list_words(model.rpartition("/")[2])
    rest = model_words[len(words) :]
    return bool(words) and model_words == words + rest and all(map(_is_form, rest))


def is_family(name: str, model: str) -> bool:
    """True if `name`, as the column of a grader, stands for the model: `kimi` for `Kimi-K2.6`, `gpt5` for `gpt-5`."""
    model_words = list_words(model.rpartition("/")[2])
    ends = [end for end in range(1, len(model_words) + 1) if _join(model_words[:end]) == _join(list_words(name))]
    return bool(ends) and all(_is_form(word) or _VERSION.fullmatch(word) for word in model_words[ends[0] :])


def _join(words: list[str]) -> str:
    """Join letters and digits only: a recipe's key has no full stop, so `kimi_k2_6` stands for `Kimi-K2.6`."""
    return "".join(words).replace(".", "")


def _is_form(word: str) -> bool:
    return word in _FORMS or (word.isdigit() and len(word) >= 4)  # a release date: 0324, 20250806
