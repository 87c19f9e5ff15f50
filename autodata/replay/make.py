"""Makes a pack of a folder of runs: their stored replies, recipes and documents, and the records of trainings."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autodata import config
from autodata.data import card
from autodata.data.examples import EXAMPLES, find_licence
from autodata.data.release import describe_run, find_leaks
from autodata.journal.replies import export_replies
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import DomainConfig
from autodata.recipes.evaluation import EvalRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.replay.pack import DOCUMENTS, PROMPTS, VERSION, Pack, PackError, Step, compress, write_pack
from autodata.replay.play import OUTPUTS, Made, play
from autodata.replay.unpack import COSTS, unpack
from autodata.run.folder import MANIFEST, find_git_commit, find_runs, read_manifest
from autodata.run.identity import find_weights
from autodata.run.records import TRAJECTORIES, hash_path, link_files, read_records, write_file
from autodata.types import TRAJECTORY

# In the order in which they are made: each reads runs of the kinds before it.
SCHEMAS = {"generate": GenerateRecipe, "dataset": DatasetRecipe, "grpo": GrpoRecipe, "eval": EvalRecipe}
_TRAINING = ("curve.json", "curve.png")  # what tables and pages read of a training
Tell = Callable[[Made], None]


def make_pack(runs: Path, tables: Sequence[Path], file: Path, tell: Tell) -> Pack:
    """Make a pack of the runs below a folder and replay it once, to prove that it gives the same.

    Raises PackError if something comes out differently, or if the pack holds a key or a path of this machine.
    """
    source = find_source(runs)
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".pack") as scratch:
        staged, tried = Path(scratch) / "staged", Path(scratch) / "tried.zip"
        pack = stage(source, tables, staged)
        write_pack(staged, pack)
        compress(staged, tried)
        made = []
        for result in play(unpack(tried, Path(scratch) / "again"), Path(scratch) / "again"):
            _require_equal(source, result, Path(scratch) / "again")
            made.append(replace(result.step, outputs=result.outputs))
            tell(result)
        if not _may_be_shared(source):
            shutil.rmtree(staged / DOCUMENTS, ignore_errors=True)
        pack = replace(pack, steps=tuple(made))
        write_pack(staged, pack)
        if leaks := find_leaks(staged, runs):
            problem = "because it would hold a key or a path of this machine"
            raise PackError(f"{file} was not made, {problem}:\n  " + "\n  ".join(leaks[:20]))
        compress(staged, tried)
        tried.replace(file)
    return pack


def _require_equal(source: "Source", made: Made, again: Path) -> None:
    """Raise PackError if a file that came out is not the one of the run."""
    for name in OUTPUTS.get(made.step.kind, ()):
        before, now = source.folder / made.step.name / name, again / made.step.name / name
        if before.exists() and _read(before) != _read(now):
            raise PackError(f"{before}: the replay gave another file, so this run cannot be published as a pack")


def _read(path: Path) -> list[object]:
    """Read a file of JSON, without where its examples come from: in a pack, runs have other names."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else []
    for record in records:
        if path.name == EXAMPLES:
            record["provenance"] |= {"run": "", "recipe_hash": "", "models": {}}
    return records or [json.loads(path.read_text())]


def _may_be_shared(source: "Source") -> bool:
    """Return True if the licence of every document is known."""
    datasets = [recipe.sources for manifest, recipe in source.runs.values() if isinstance(recipe, DatasetRecipe)]
    licences = {pattern: licence for sources in datasets for pattern, licence in sources.items()}
    generated = [name for name, (_, recipe) in source.runs.items() if isinstance(recipe, GenerateRecipe)]
    trajectories = (t for name in generated for t in read_records(source.folder / name / TRAJECTORIES, TRAJECTORY))
    return all(card.is_known(find_licence(t, licences)) for t in trajectories)


@dataclass
class Source:
    """The finished runs below a folder, in the order in which they can be made, and what is in the pack so far."""

    folder: Path
    runs: dict[str, tuple[dict[str, Any], Any]]  # name below the folder → manifest and recipe
    documents: dict[Path, str] = field(default_factory=dict)  # path → name in the pack
    prompts: dict[Path, str] = field(default_factory=dict)  # the same of folders of prompts
    weights: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def name(self, path: str) -> str | None:
        """Return a path's name below the folder of the runs; None if it is elsewhere."""
        inside = Path(path).absolute()
        return str(inside.relative_to(self.folder)) if inside.is_relative_to(self.folder) else None


def find_source(folder: Path) -> Source:
    """Read the finished runs below a folder. Raises PackError, RecipeError."""
    runs = {}
    for path in find_runs(folder):
        manifest = read_manifest(path) or {}
        kind = manifest.get("inputs", {}).get("kind")
        if kind in SCHEMAS and manifest.get("finished"):
            runs[str(path.relative_to(folder))] = manifest, config.load(SCHEMAS[kind], [str(path / "recipe.yaml")])
    if not runs:
        raise PackError(f"{folder}: no finished run below it")

    def rank(name: str) -> tuple[int, bool, str]:
        manifest, recipe = runs[name]
        # best_of_n spends what an agentic run has spent, so it comes after that run.
        return [*SCHEMAS].index(manifest["inputs"]["kind"]), bool(getattr(recipe, "budget_from", None)), name

    return Source(folder.absolute(), {name: runs[name] for name in sorted(runs, key=rank)})


def stage(source: Source, tables: Sequence[Path], target: Path) -> Pack:
    """Write the files of a pack into an empty folder; return what it holds. Raises PackError."""
    steps = []
    for name, (manifest, recipe) in source.runs.items():
        kind = manifest["inputs"]["kind"]
        if reason := _find_hindrance(source, kind, recipe):
            source.kept[name] = reason
            _keep(source, name, target)
        else:
            steps.append(Step(kind, name))
            _write_recipe(target / steps[-1].recipe, _MOVES[kind](source, recipe, target))
            _write_replies(source.folder / name, recipe, target / steps[-1].replies)
            _write_costs(manifest, target / name / MANIFEST)
    for path in tables:
        recipe = config.load(TableRecipe, [str(path), f"runs={source.folder}"])
        rows = [replace(row, run=source.name(row.run) or row.run) for row in recipe.rows]
        steps.append(Step("table", path.stem))
        _write_recipe(target / steps[-1].recipe, replace(recipe, runs=".", output=f"{path.stem}.md", rows=rows))
    documents = {name: hash_path(path) for path, name in source.documents.items()}
    weights = tuple(sorted(set(source.weights)))
    return Pack(VERSION, find_git_commit(), tuple(steps), documents, weights, dict(source.kept))


def _find_hindrance(source: Source, kind: str, recipe: Any) -> str:
    """Say why a run cannot be made from stored replies; empty if it can."""
    if kind == "grpo":
        return "a training needs a model"
    if kind == "dataset" and recipe.decontaminate:
        return "it was searched for texts of benchmarks, which the pack does not hold"
    if kind in ("generate", "eval") and recipe.domain.path:
        return "its domain is a folder of its own, which the pack does not hold"
    if kind == "generate" and recipe.documents.shard:
        return "it is a part of a run"
    return _find_foreign(source, recipe) if kind == "eval" else ""


def _find_foreign(source: Source, recipe: EvalRecipe) -> str:
    """Say what an evaluation reads that no pack holds."""
    if recipe.prbench or recipe.principia:
        return "it asks the problems of a benchmark, which the pack does not hold"
    if (weights := find_weights(recipe)) and _is_folder(weights) and not source.name(weights):
        return f"it measures weights outside {source.folder.name}, and another machine cannot say which these are"
    return ""


def _keep(source: Source, name: str, target: Path) -> None:
    """Copy the records of a run that is not made again: its recipe, its manifest and its outputs."""
    manifest, recipe = source.runs[name]
    kind, run = manifest["inputs"]["kind"], source.folder / name
    names = _TRAINING[:2] if kind == "grpo" else sorted(manifest["outputs"])
    there = [file for file in names if (run / file).exists()]
    for file in there:
        (target / name / file).parent.mkdir(parents=True, exist_ok=True)
        link_files(run / file, target / name / file)
    describe_run(recipe, {"run": name}, manifest, target / name, there)
    if kind == "grpo":
        source.weights += [f"{name}/{path.name}" for path in sorted(run.glob("model*")) if path.is_dir()]


def _move_generation(source: Source, recipe: GenerateRecipe, target: Path) -> GenerateRecipe:
    path = Path(recipe.documents.path).absolute()
    place = source.documents.setdefault(path, f"{len(source.documents)}_{_make_plain(path.name)}")
    if not (target / DOCUMENTS / place).exists():
        (target / DOCUMENTS).mkdir(parents=True, exist_ok=True)
        link_files(path, target / DOCUMENTS / place)
    clean = config.forget_operational(recipe)
    documents = replace(clean.documents, path=f"{DOCUMENTS}/{place}")
    spent = source.name(recipe.budget_from) if recipe.budget_from else None
    domain = _move_prompts(source, clean.domain, target)
    return replace(clean, documents=documents, budget_from=spent, domain=domain)


def _move_prompts(source: Source, domain: DomainConfig, target: Path) -> DomainConfig:
    """Copy the folder of prompts of a run that does not use the domain's own."""
    if not domain.prompts:
        return domain
    path = Path(domain.prompts).absolute()
    place = source.prompts.setdefault(path, f"{PROMPTS}/{len(source.prompts)}_{_make_plain(path.name)}")
    if not (target / place).exists():
        (target / PROMPTS).mkdir(parents=True, exist_ok=True)
        link_files(path, target / place)
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
    for endpoint in moved.models.endpoints.values():
        if endpoint.server and (name := _name_weights(source, endpoint.server.weights)):
            endpoint.server.weights = name
    if moved.evaluated and moved.evaluated.weights:
        moved.evaluated.weights = _name_weights(source, moved.evaluated.weights) or moved.evaluated.weights
    return moved


def _name_weights(source: Source, weights: str) -> str | None:
    return source.name(weights) if _is_folder(weights) else None


def _is_folder(weights: str) -> bool:
    """Return True for a path of weights, which is not `embedded` and not a name of the Hub."""
    return weights.count("/") > 1 or weights.startswith((".", "/", "~")) or Path(weights).is_dir()


def _require_name(source: Source, key: str, run: str) -> str:
    name = source.name(run)
    if name not in source.runs:
        raise PackError(f"{key}={run}: this run is not below {source.folder}; a pack holds all runs that others read")
    return name


_MOVES = {"generate": _move_generation, "dataset": _move_dataset, "eval": _move_evaluation}


def _write_recipe(path: Path, recipe: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, config.to_yaml(recipe))


def _write_costs(manifest: dict[str, Any], path: Path) -> None:
    """Write what a run has cost, so that it still stands in the tables when the run is made again for nothing."""
    if costs := {key: manifest[key] for key in sorted(COSTS) if key in manifest}:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(costs, indent=2, sort_keys=True) + "\n")


def _write_replies(run: Path, recipe: Any, target: Path) -> None:
    journal = Path(getattr(recipe, "journal", None) or run / "journal.sqlite")
    if journal.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        export_replies(journal, target)
