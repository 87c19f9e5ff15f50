"""Estimates how long the steps take that call no model: ingest, data set, verification and tables."""

from pathlib import Path

from autodata.plan.workload import PRIORS
from autodata.recipes.corpora import IngestRecipe


def estimate_ingest(recipe: IngestRecipe) -> float:
    """Estimate the seconds of an ingest."""
    prior = PRIORS["ingest"][recipe.source]
    hours = measure_corpus(recipe) / prior["gb_per_hour"] / (recipe.workers or prior["at_once"])
    return PRIORS["commands"]["ingest"] + 3600 * hours


def measure_corpus(recipe: IngestRecipe) -> float:
    """Measure the files of a corpus in GB; those that are not on this machine have the size in priors.yaml."""
    return sum(map(_measure, _find(recipe))) / 1e9 if is_here(recipe) else PRIORS["ingest"][recipe.source]["gb"]


def is_here(recipe: IngestRecipe) -> bool:
    """True if files of the corpus are on this machine."""
    return bool(_find(recipe))


def _find(recipe: IngestRecipe) -> list[Path]:
    return [Path(folder) for folder in (recipe.path, recipe.papers) if folder and Path(folder).exists()]


def _measure(path: Path) -> int:
    """Count the bytes of a file, or of all files below a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def estimate_command(module: str) -> float | None:
    """Look up the seconds of a command without models; None for one that has no entry in priors.yaml."""
    return PRIORS["commands"].get(module.rpartition(".")[2])
