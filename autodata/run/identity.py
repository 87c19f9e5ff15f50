"""Checks which weights an evaluation measures: its label must fit them, and the server must serve them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.recipes.evaluated import is_name, list_words, name_model
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import ARMS
from autodata.recipes.models import Endpoint
from autodata.run.folder import read_manifest
from autodata.serving.embedded import is_folder, resolve_weights
from autodata.serving.probes import read_served

_KEPT = re.compile(r"model_at_(\d+)")  # a model that a training kept of an earlier step
_UNTRAINED = ("untrained", "baseline", "base")


def check_label(recipe: EvalRecipe) -> None:
    """Raise RecipeError if the recipe names nothing to evaluate, or if the label names another model."""
    weights, endpoint = find_weights(recipe), find_endpoint(recipe)
    if weights and is_folder(weights) and not Path(weights).is_dir():
        raise RecipeError(f"evaluated.weights={weights}: no such folder; {_advise(Path(weights))}")
    if weights and (training := find_training(weights)):
        return _check_trained(recipe.label, weights, training)
    name = name_model(weights) if weights else endpoint.model
    if not is_name(recipe.label, name):
        wrong = f"label={recipe.label} is not the name of the evaluated model {name}, which no training run here made"
        advice = f"write label={name.rpartition('/')[2]}, or set evaluated.weights to the weights that the label names"
        raise RecipeError(f"{wrong}; {advice}")


def _advise(missing: Path) -> str:
    """Say what to do about a model that is missing: its training may have kept other steps."""
    kept = sorted(path.name for path in missing.parent.glob("model*") if path.is_dir())
    if not kept:
        return "train the model first"
    has = f"this training has {', '.join(kept)}"
    return f"{has}; save_models_at in its recipe names the steps to keep" if _KEPT.fullmatch(missing.name) else has


def find_endpoint(recipe: EvalRecipe) -> Endpoint:
    """Return the endpoint that serves the evaluated model. Raises RecipeError."""
    if recipe.evaluated is None or recipe.models.weak_solver is None:
        example = "evaluated.weights=Qwen/Qwen3.5-4B evaluated.endpoint=weak"
        advice = "name the weights to evaluate and the endpoint whose server loads them"
        raise RecipeError(f"evaluated: {advice}, for example {example}")
    return recipe.models.endpoints[recipe.models.weak_solver.endpoint]


def find_weights(recipe: EvalRecipe) -> str | None:
    """Return the evaluated weights; None if an API serves the model and only its name is known. Raises RecipeError."""
    server = find_endpoint(recipe).server
    return server.weights if server else None


def find_training(weights: str) -> Mapping[str, Any] | None:
    """Return the manifest of the training run that made a folder of weights; None for weights from elsewhere."""
    # Checkpoints lie deeper than the model, so three folders above the weights are searched.
    folders = [*Path(weights).absolute().parents][:3] if Path(weights).is_dir() else []
    manifests = (read_manifest(folder) or {} for folder in folders)
    return next((m for m in manifests if m.get("inputs", {}).get("kind") == "grpo"), None)


def find_step(weights: str) -> int | None:
    """Return the training step of a model that a training here saved; None for weights from elsewhere."""
    training, kept = find_training(weights), _KEPT.fullmatch(Path(weights).name)
    if training is None:
        return None
    return int(kept[1]) if kept else training.get("steps")


def _check_trained(label: str, weights: str, training: Mapping[str, Any]) -> None:
    """Raise RecipeError unless the label names the trained arms (or says `combined`) and no other arm or model."""
    arms, words = training["inputs"]["arms"], list_words(label)
    base = _name_base(training)
    named = {arm for arm in {*arms, *ARMS} if f" {arm.replace('_', ' ')} " in f" {' '.join(words)} "}
    is_named = named.issuperset(arms) or (len(arms) > 1 and "combined" in " ".join(words))
    # Words that say that nothing was trained, and sizes or versions that the base model has not.
    wrong = [w for w in words if w in _UNTRAINED or (any(map(str.isdigit, w)) and w not in list_words(base))]
    if not is_named or named - {*arms} or wrong:
        example = f"{base} + RL {arms[0] if len(arms) == 1 else 'combined'} data"
        advice = f"write a label that names this model and these arms only, for example label='{example}'"
        raise RecipeError(f"label={label}: {weights} is {base}, trained on {' and '.join(arms)}; {advice}")


def _name_base(training: Mapping[str, Any]) -> str:
    """Name the model that a training began with, before any earlier training that it continues."""
    model = str(training["inputs"].get("model", ""))
    earlier = find_training(model)
    return _name_base(earlier) if earlier else name_model(model).rpartition("/")[2]


def identify(recipe: EvalRecipe) -> dict[str, str | int | None]:
    """Ask the server for its weights; return what the manifest records. Raises EndpointError, RecipeError.

    A replay has no server, so it records what the recipe says.
    """
    endpoint, weights = find_endpoint(recipe), find_weights(recipe)
    served = None if recipe.models.replay else read_served(endpoint)
    if served and weights and not _is_same(served, weights):
        advice = "set base_url to a server that has loaded these weights, or leave base_url out"
        raise RecipeError(f"{endpoint.base_url} serves {served}, not evaluated.weights={weights}; {advice}")
    if weights and not served and not recipe.models.replay and not is_name(endpoint.model, name_model(weights)):
        raise RecipeError(
            f"{endpoint.base_url} serves {endpoint.model} without saying which weights these are, so nothing shows "
            f"that they are evaluated.weights={weights}; write evaluated.weights=null and "
            f"label={endpoint.model.rpartition('/')[2]}"
        )
    revision = endpoint.revision or (_find_commit(weights) if weights else None)
    step = find_step(weights) if weights else None
    return {"weights": weights, "model": endpoint.model, "revision": revision, "served": served, "step": step}


def _is_same(served: str, weights: str) -> bool:
    """Return True if both are the same name or folder, or if `served` is the hub's snapshot of `weights`."""
    resolved = resolve_weights(weights)
    is_snapshot = f"models--{weights.replace('/', '--')}" in Path(served).parts
    return served == resolved or Path(served).resolve() == Path(resolved).resolve() or is_snapshot


def _find_commit(weights: str) -> str | None:
    """Return the commit of hub weights in this machine's hub cache; None if they are not there."""
    if weights.count("/") != 1:
        return None
    from huggingface_hub import try_to_load_from_cache  # slow to import, needed here only

    path = try_to_load_from_cache(weights, "config.json")
    return Path(path).parent.name if isinstance(path, str) else None
