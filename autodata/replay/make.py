"""Makes a pack of a folder of runs: their stored replies, recipes and documents, and the records of trainings."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from autodata import config
from autodata.data.release import describe_run, find_leaks
from autodata.journal.replies import export_replies
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.replay import check
from autodata.replay.move import MOVES, Source, is_folder
from autodata.replay.pack import DOCUMENTS, VERSION, Pack, PackError, Step, compress, write_pack
from autodata.replay.play import Made, hash_records, play
from autodata.replay.unpack import COSTS, unpack
from autodata.run.folder import MANIFEST, find_runs, read_manifest
from autodata.run.identity import find_weights
from autodata.run.records import hash_path, link_files, write_file
from autodata.run.software import find_git_commit

# In the order in which they are made: each reads runs of the kinds before it.
SCHEMAS = {"generate": GenerateRecipe, "dataset": DatasetRecipe, "grpo": GrpoRecipe, "eval": EvalRecipe}
_TRAINING = ("curve.json", "curve.png")  # what tables and pages read of a training
Tell = Callable[[Made], None]


def make_pack(
    runs: Path,
    tables: Sequence[Path],
    file: Path,
    tell: Tell,
    allow_unknown: bool = False,
) -> Pack:
    """Make a pack of the runs below a folder and replay it once, to prove that it gives the same.

    Raises PackError if something comes out differently, or if the pack holds a key or a path of this machine.
    Documents of unknown licence are left out unless `allow_unknown`.
    """
    source = find_source(runs)
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".pack") as scratch:
        staged, tried = Path(scratch) / "staged", Path(scratch) / "tried.zip"
        pack = stage(source, tables, staged)
        if not allow_unknown:
            check.require_known_rows(source)
        steps = tuple(_prove(source, pack, staged, tried, tell))
        left_out = {} if allow_unknown else _leave_out(source, staged)
        pack = replace(pack, steps=steps, left_out=left_out)
        write_pack(staged, pack)
        if leaks := find_leaks(staged, runs):
            problem = "because it would hold a key or a path of this machine"
            raise PackError(f"{file} was not made, {problem}:\n  " + "\n  ".join(leaks[:20]))
        compress(staged, tried)
        tried.replace(file)
    return pack


def _prove(source: Source, pack: Pack, staged: Path, tried: Path, tell: Tell) -> Iterator[Step]:
    """Replay what is staged; yield each step with the hashes of what came out. Raises PackError."""
    write_pack(staged, pack)
    compress(staged, tried)
    again = tried.with_name("again")
    for result in play(unpack(tried, again), again):
        check.require_equal(source, result, again)
        tell(result)
        yield replace(result.step, outputs=result.outputs)


def _leave_out(source: Source, staged: Path) -> dict[str, str]:
    """Remove the documents that may not be passed on; say why. Their hashes stay, and what makes them an ingest."""
    found = check.find_unlicensed(source, staged)
    for place in found:
        files = [path for path in (staged / DOCUMENTS / place).rglob("*") if path.is_file()]
        for file in files:
            if file.relative_to(staged / DOCUMENTS / place) != Path(MANIFEST):
                file.unlink()
    return {place: f"the licence of {document} is unknown" for place, document in found.items()}


def find_source(folder: Path) -> Source:
    """Read the finished runs below a folder. Raises PackError, RecipeError."""
    runs = {}
    for path in find_runs(folder):
        manifest = read_manifest(path) or {}
        kind = manifest.get("inputs", {}).get("kind")
        if kind in SCHEMAS and manifest.get("finished"):
            if path == folder:
                problem = "this is a run itself, and a pack holds all runs below a folder"
                raise PackError(f"{folder}: {problem}; name the folder that holds it, {folder.absolute().parent}")
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
        source.tables[path.stem] = Path(recipe.output).absolute()
        _write_recipe(target / steps[-1].recipe, replace(recipe, runs=".", output=f"{path.stem}.md", rows=rows))
    documents = {name: hash_path(target / DOCUMENTS / name) for name in source.documents.values()}
    weights = tuple(sorted(set(source.weights)))
    records = hash_records(source.kept, [step.name for step in steps], target)
    return Pack(VERSION, find_git_commit(), tuple(steps), documents, weights, dict(source.kept), records)


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
