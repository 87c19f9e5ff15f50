"""Lists what must be there before a table is begun: weights, downloaded data, disk, and settings of the site."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from autodata.cluster.fleet import find_graders, find_served
from autodata.config import REPO
from autodata.plan.generation import are_here
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step, list_strings
from autodata.reproduce.record import Cost

_SITE = Path("slurm/site.env")
_DOWNLOADS = "corpora"  # folder in which the recipes expect what was downloaded
_PATHS = ("path", "papers", "abstracts", "documents.path", "prbench.path")  # keys of data that no step makes
_EMPTY = ("SBATCH_PARTITION", "SBATCH_ACCOUNT")  # most clusters want them


def list_weights(steps: Sequence[Step]) -> dict[str, float]:
    """List the weights that come from the hub, with their size in GB; 0 if the recipe does not say it."""
    sizes: dict[str, float] = {}
    for step in steps:
        for weights, size in _list_loaded(step):
            if weights.count("/") == 1 and not Path(weights).exists() and not weights.startswith((".", "/")):
                sizes[weights] = max(size, sizes.get(weights, 0.0))
    return dict(sorted(sizes.items()))


def _list_loaded(step: Step) -> Iterator[tuple[str, float]]:
    recipe = step.recipe
    if isinstance(recipe, GrpoRecipe):
        yield recipe.model, 0.0
    if models := getattr(recipe, "models", None):
        for endpoint in find_served(models, find_graders(recipe)).values():
            yield endpoint.server.weights, endpoint.server.weights_gb


def list_missing_data(steps: Sequence[Step]) -> dict[str, list[str]]:
    """List the data, downloaded or named by the user, that are not there, each with the steps that read it."""
    missing: dict[str, list[str]] = {}
    made = {Path(step.target) for step in steps}
    for step in steps:
        strings = list_strings(asdict(step.recipe) if step.recipe else {})
        for text in sorted({text for key, text in strings if key in _PATHS or text.startswith(f"{_DOWNLOADS}/")}):
            if not Path(text).exists() and made.isdisjoint((Path(text), *Path(text).parents)):
                missing.setdefault(text, []).append(step.name)
    return missing


def list_uncounted(steps: Sequence[Step]) -> list[tuple[Step, list[str]]]:
    """List the ingests whose documents nobody has counted yet, each with the steps that generate from them."""
    makers = {step.target: step for step in steps}
    readers: dict[str, list[str]] = {}
    for step in steps:
        if isinstance(step.recipe, GenerateRecipe) and not are_here(step.recipe.documents):
            readers.setdefault(step.recipe.documents.path, []).append(step.name)
    return [(makers[path], names) for path, names in readers.items() if path in makers]


def list_missing_keys(steps: Sequence[Step], environment: Mapping[str, str]) -> dict[str, list[str]]:
    """List the variables with keys of providers that are not set, each with the steps that need it."""
    missing: dict[str, list[str]] = {}
    for step in steps:
        for name in sorted(_list_keys(step)):
            if not environment.get(name):
                missing.setdefault(name, []).append(step.name)
    return missing


def _list_keys(step: Step) -> set[str]:
    """List the variables of the endpoints that no server job serves; a campaign makes the keys of the others."""
    models = getattr(step.recipe, "models", None)
    endpoints = models.endpoints.values() if models else ()
    return {endpoint.api_key_env for endpoint in endpoints if endpoint.api_key_env and not endpoint.server}


def count_disk(weights: Mapping[str, float], costs: Mapping[str, Cost]) -> float:
    """Count the gigabytes of weights, downloaded corpora, replies, models and checkpoints."""
    return sum(weights.values()) + sum(cost.disk_gb for cost in costs.values())


def find_site_problems(site: Mapping[str, str]) -> list[str]:
    """Say what slurm/site.env lacks; `site` is its content, over which the environment goes."""
    if not (REPO / _SITE).parent.exists():
        return ["the scripts of slurm/ are in a checkout only: work in a clone, or add --local to use this machine"]
    if not (REPO / _SITE).exists():
        return [f"{_SITE} is missing: copy {_SITE}.example and edit it"]
    problems = [f"{name} is empty; many clusters require it" for name in _EMPTY if not site.get(name)]
    python = site.get("AUTODATA_PYTHON", "")
    if python and not os.access(REPO / python, os.X_OK):
        problems.append(f"AUTODATA_PYTHON={python}: no such program; `make setup GPU=1` makes .venv-gpu/bin/python")
    return problems
