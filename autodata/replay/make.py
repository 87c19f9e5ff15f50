"""Makes a pack of a folder of runs: their stored replies, recipes and documents, and the records of trainings."""

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autodata import config
from autodata.data import card
from autodata.data.examples import EXAMPLES, find_licence
from autodata.data.release import describe_run, find_leaks
from autodata.journal.replies import export_replies
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.replay.move import MOVES, Source, is_folder
from autodata.replay.pack import DOCUMENTS, VERSION, Pack, PackError, Step, compress, write_pack
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
            _write_recipe(target / steps[-1].recipe, MOVES[kind](source, recipe, target))
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
    if (weights := find_weights(recipe)) and is_folder(weights) and not source.name(weights):
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
