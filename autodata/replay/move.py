"""Rewrites the recipes of runs so that they name the files of a pack, and copies these files into it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autodata import config
from autodata.corpora.documents import find_files, read_corpus
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import DomainConfig
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Models
from autodata.replay.pack import DOCUMENTS, PROMPTS, PackError
from autodata.run.folder import MANIFEST
from autodata.run.records import link_files, write_file


@dataclass
class Source:
    """The finished runs below a folder, in the order in which they can be made, and what is in the pack so far."""

    folder: Path
    runs: dict[str, tuple[dict[str, Any], Any]]  # name below the folder → manifest and recipe
    documents: dict[Path, str] = field(default_factory=dict)  # path → name in the pack
    prompts: dict[Path, str] = field(default_factory=dict)  # the same of folders of prompts
    weights: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Path] = field(default_factory=dict)  # step → where the runs' own table stands
    unfinished: tuple[str, ...] = ()  # names of the runs that no pack holds yet

    def name(self, path: str) -> str | None:
        """Return a path's name below the folder of the runs; None if it is elsewhere."""
        inside = Path(path).absolute()
        return str(inside.relative_to(self.folder)) if inside.is_relative_to(self.folder) else None


def _move_generation(source: Source, recipe: GenerateRecipe, target: Path) -> GenerateRecipe:
    path = Path(recipe.documents.path).absolute()
    place = source.documents.setdefault(path, f"{len(source.documents)}_{_make_plain(path.name)}")
    files = read_corpus(str(path), recipe.documents.limit).files
    _bring(path, files, target / DOCUMENTS / place)
    if (path / MANIFEST).exists():
        write_file(target / DOCUMENTS / place / MANIFEST, json.dumps({"finished": "yes"}) + "\n")  # all that is read
    clean = config.forget_operational(recipe)
    documents = replace(clean.documents, path=f"{DOCUMENTS}/{place}")
    spent = source.name(recipe.budget_from) if recipe.budget_from else None
    domain = _move_prompts(source, clean.domain, target)
    _move_weights(source, clean.models)
    return replace(clean, documents=documents, budget_from=spent, domain=domain)


def _bring(path: Path, files: Iterable[Path], target: Path) -> None:
    """Copy those files of a path that a run has read, and nothing that lies beside them, such as a `.env`."""
    for file in files:
        place = target / (file.relative_to(path) if path.is_dir() else file.name)
        if not place.exists():
            link_files(file, place)


def _move_prompts(source: Source, domain: DomainConfig, target: Path) -> DomainConfig:
    """Copy the templates of a run that does not use the domain's own."""
    if not domain.prompts:
        return domain
    path = Path(domain.prompts).absolute()
    place = source.prompts.setdefault(path, f"{PROMPTS}/{len(source.prompts)}_{_make_plain(path.name)}")
    (target / place).mkdir(parents=True, exist_ok=True)
    _bring(path, [file for file, name in find_files(path) if name.endswith(".j2")], target / place)
    return replace(domain, prompts=place)


def _make_plain(name: str) -> str:
    """Replace the signs that a name in a pack must not have."""
    return re.sub(r"[^\w.-]", "_", name)


def _move_dataset(source: Source, recipe: DatasetRecipe, target: Path) -> DatasetRecipe:
    clean = config.forget_operational(recipe)
    arms = {arm: _require_name(source, f"arms.{arm}", run) for arm, run in recipe.arms.items()}
    return replace(clean, arms=arms, decontaminate=[])


def _move_evaluation(source: Source, recipe: EvalRecipe, target: Path) -> EvalRecipe:
    dataset = _require_name(source, "dataset", recipe.dataset) if recipe.dataset else None
    # Not by `replace`, which would choose the evaluated endpoint again, before its weights have their new name.
    moved = config.forget_operational(recipe)
    moved.dataset, moved.domain = dataset, _move_prompts(source, moved.domain, target)
    _move_weights(source, moved.models)
    if moved.evaluated and (weights := moved.evaluated.weights) and is_folder(weights):
        moved.evaluated.weights = _name_weights(source, weights)
        source.weights.append(moved.evaluated.weights)
    return moved


def _move_weights(source: Source, models: Models) -> None:
    for endpoint in models.endpoints.values():
        if endpoint.server:
            endpoint.server.weights = _name_weights(source, endpoint.server.weights)


def _name_weights(source: Source, weights: str) -> str:
    """Name a folder of weights as a pack does; its revision is the hash of its content, so its place says nothing."""
    return (source.name(weights) or Path(weights).name) if is_folder(weights) else weights


def is_folder(weights: str) -> bool:
    """Return True for a path of weights, which is not `embedded` and not a name of the Hub."""
    return weights.count("/") > 1 or weights.startswith((".", "/", "~")) or Path(weights).is_dir()


def _require_name(source: Source, key: str, run: str) -> str:
    name = source.name(run)
    if name in source.unfinished:
        raise PackError(f"{key}={run}: this run is not finished; finish it, or take away the runs that read it")
    if name not in source.runs:
        raise PackError(f"{key}={run}: this run is not below {source.folder}; a pack holds all runs that others read")
    return name


MOVES = {"generate": _move_generation, "dataset": _move_dataset, "eval": _move_evaluation}
