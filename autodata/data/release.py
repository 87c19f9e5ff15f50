"""Prepares a finished run for publication: its results and their evidence, without paths or keys of this machine."""

import json
import mmap
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, TypeVar

import yaml

from autodata import config
from autodata.data import card, parquet
from autodata.data.examples import DECONTAMINATION, EXAMPLES, STATISTICS, hash_inputs, read_arm
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.shipped import SHIPPED
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import read_manifest, require_finished
from autodata.run.records import (
    TRAJECTORIES,
    NoSuchRun,
    RunError,
    hash_path,
    link_files,
    read_json,
    read_records,
    write_file,
)
from autodata.types import EXAMPLE, TRAJECTORY, Example

# The keys of a manifest that tell how a run was made and what came out, but not on which machine.
_FACTS = ("inputs", "started", "finished", "git_commit", "packages", "outputs", "arm", "models", "summary", "counts",
          "statistics", "funnel", "card", "domains", "steps", "reward_first_quarter", "reward_last_quarter",
          "judgements", "failed_judgements", "judged_over", "label", "evaluated", "left_out", "ledger",
          "revisions")  # fmt: skip
Manifest = dict[str, Any]


@dataclass(frozen=True)
class ReleaseKind:
    """How the runs of one command are published."""

    repo: str  # the Hub's repository type
    command: str  # the command that makes or finishes such a run
    fill: Callable[[Path, Path, Manifest, bool], None]


def stage(run: Path, target: Path, allow_unknown: bool = False) -> ReleaseKind:
    """Write the files to publish into an empty folder; return the kind of the run. Raises RunError, RecipeError."""
    manifest = read_manifest(run)
    if manifest is None:
        raise NoSuchRun(f"{run}: no run there; name the run folder of a data set, a training or an evaluation")
    kind_name = manifest["inputs"]["kind"]
    if kind_name not in KINDS:
        raise NoSuchRun(f"{run} is a run of kind {kind_name}; only runs of kind {', '.join(KINDS)} can be published")
    kind = KINDS[kind_name]
    if not manifest.get("finished"):
        raise RunError(f"{run}: not finished; finish it with {kind.command} {run}/recipe.yaml")
    kind.fill(run, target, manifest, allow_unknown)
    write_file(target / "CITATION.cff", (SHIPPED / "CITATION.cff").read_text(encoding="utf-8"))
    return kind


def fill_dataset(run: Path, target: Path, manifest: Manifest, allow_unknown: bool) -> None:
    """Write the rows, the trajectories that they come from, and everything else that `autodata.verify` reads."""
    examples = read_records(run / EXAMPLES, EXAMPLE)
    if not allow_unknown:
        require_licences(run, examples)
    recipe = config.load(DatasetRecipe, [str(run / "recipe.yaml")])
    origins = {arm: _copy_arm(arm, folder, target / "arms" / arm, examples) for arm, folder in recipe.arms.items()}
    moved = [replace(e, provenance=replace(e.provenance, **origins[e.arm])) for e in examples]
    write_file(target / EXAMPLES, "".join(EXAMPLE.dump_json(e).decode() + "\n" for e in moved))
    parquet.write_splits(target, moved)
    for name in (STATISTICS, DECONTAMINATION):
        content = make_portable(read_json(run / name))
        write_file(target / name, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    here = {"run": ".", "decontaminate": [], "arms": {arm: f"arms/{arm}" for arm in recipe.arms}}
    facts = describe_run(recipe, here, manifest, target, (EXAMPLES, STATISTICS, DECONTAMINATION))
    arms = facts["card"]["arms"]
    moves = {e.arm: {"models": e.provenance.models, "recipe_hash": e.provenance.recipe_hash} for e in moved}
    facts["card"] = facts["card"] | {"arms": {arm: about | moves.get(arm, {}) for arm, about in arms.items()}}
    write_file(target / "README.md", card.write_card(facts))


def require_licences(run: Path, examples: Sequence[Example]) -> None:
    unknown = Counter(e.provenance.licence for e in examples if not card.is_known(e.provenance.licence))
    if unknown:
        stated = ", ".join(f"{licence!r} ({count})" for licence, count in unknown.most_common(5))
        raise RunError(
            f"{run}: {unknown.total():,} of {len(examples):,} rows come from documents of unknown licence: "
            f"{stated}. Set the licences of these documents in `sources` of the data set's recipe and make the data "
            "set again; or, if you are allowed to publish the documents, add --allow-unknown-licence"
        )


def _copy_arm(name: str, folder: str, target: Path, examples: Sequence[Example]) -> dict[str, Any]:
    """Copy the run of an arm, with only the trajectories that have an example; return the new origin of its rows."""
    wanted = {e.document_id for e in examples if e.arm == name}
    kept = [t for t in read_arm(name, folder).trajectories if t.document_id in wanted]
    write_file(target / TRAJECTORIES, "".join(TRAJECTORY.dump_json(t).decode() + "\n" for t in kept))
    recipe = config.load(GenerateRecipe, [str(Path(folder) / "recipe.yaml")])
    documents = replace(config.forget_operational(recipe.documents), path="documents")
    here = {"run": f"arms/{name}", "documents": documents}
    facts = describe_run(recipe, here, require_finished(folder, COMMANDS[GenerateRecipe]), target, (TRAJECTORIES,))
    return {"run": here["run"], "recipe_hash": hash_inputs(facts), "models": facts["models"]}


def fill_model(run: Path, target: Path, manifest: Manifest, allow_unknown: bool) -> None:
    """Write the trained model with its card, its reward curve, and the recipe and manifest of the training.

    Models of earlier steps that the training kept go into folders of their own.
    """
    if not (run / "model" / "README.md").exists():
        raise RunError(f"{run}/model has no card; finish the training: {KINDS['grpo'].command} {run}/recipe.yaml")
    link_files(run / "model", target)
    for kept in run.glob("model_at_*"):
        link_files(kept, target / kept.name)
    for name in ("curve.png", "curve.json"):
        if (run / name).exists():
            link_files(run / name, target / name)
    recipe = config.load(GrpoRecipe, [str(run / "recipe.yaml")])
    watched = {"evaluate_dataset": "evaluate_dataset"} if recipe.evaluate_dataset else {}
    describe_run(recipe, {"run": ".", "dataset": "dataset", **watched}, manifest, target, ())


def fill_logs(run: Path, target: Path, manifest: Manifest, allow_unknown: bool) -> None:
    """Write the results, every answer in one small file, and the complete logs of inspect_ai."""
    outputs = sorted(manifest["outputs"])
    for name in (*outputs, "logs"):
        link_files(run / name, target / name)
    recipe = config.load(EvalRecipe, [str(run / "recipe.yaml")])
    facts = describe_run(recipe, {"run": "."}, manifest, target, outputs)
    write_file(target / "README.md", card.write_logs_card(facts))


def describe_run(
    recipe: Any, here: dict[str, Any], manifest: Manifest, target: Path, names: Sequence[str]
) -> Manifest:
    """Write the recipe, with the paths `here`, and the manifest beside the files `names`; return the manifest."""
    values = make_portable(yaml.safe_load(config.to_yaml(replace(config.forget_operational(recipe), **here))))
    write_file(target / "recipe.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    facts = make_portable({key: manifest[key] for key in _FACTS if key in manifest})
    facts["outputs"] = {name: hash_path(target / name) for name in names}
    write_file(target / "manifest.json", json.dumps(facts, indent=2, sort_keys=True) + "\n")
    return facts


KINDS = {
    "dataset": ReleaseKind("dataset", COMMANDS[DatasetRecipe], fill_dataset),
    "grpo": ReleaseKind("model", f"accelerate launch {COMMANDS[GrpoRecipe]}", fill_model),
    "eval": ReleaseKind("dataset", COMMANDS[EvalRecipe], fill_logs),
}


V = TypeVar("V")
_NAMES_A_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
_SHORTEST_SECRET = 12  # a variable with a shorter value is a setting, not a secret
_SHAPES = {
    "a key": rb"\b(?:hf|sk|ghp|gho)[_-][A-Za-z0-9_-]{20,}",
    "a name and password in a URL": rb"://[^/\s:@\"]+:[^/\s@\"]+@",
}
_WEIGHTS = ".safetensors"  # not searched: gigabytes of numbers


def make_portable(value: V) -> V:
    """Cut every absolute path in a JSON value down to its last part."""
    if isinstance(value, dict):
        return {make_portable(k): make_portable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [make_portable(v) for v in value]
    is_path = isinstance(value, str) and value.startswith(("/", "~/")) and "\n" not in value and len(value) > 1
    return PurePath(value).name if is_path else value


def find_leaks(folder: Path, *private: Path) -> list[str]:
    """List the files below a folder that hold a key or a `private` path, with the reason but never the key itself."""
    patterns = _list_patterns(os.environ, (config.REPO, Path.cwd(), *private))
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != _WEIGHTS and p.stat().st_size)
    return [
        f"{file.relative_to(folder)}{part}: {leak}"
        for file in files
        for part, data in _open(file)
        for leak, pattern in patterns.items()
        if re.search(pattern, data)
    ]


def _list_patterns(environment: Mapping[str, str], private: tuple[Path, ...]) -> dict[str, bytes]:
    secrets = {
        f"the value of {name}": re.escape(value.encode())
        for name, value in environment.items()
        if _NAMES_A_SECRET.search(name) and len(value) >= _SHORTEST_SECRET
    }
    homes = () if Path.home() in (Path("/"), Path("/root")) else (Path.home(),)  # a document may mention / or /root
    paths = {str(path.resolve()) for path in (*private, *homes)} - {"/"}
    return _SHAPES | secrets | {f"the path {path}": re.escape(path.encode()) for path in sorted(paths)}


def _open(file: Path) -> Iterator[tuple[str, bytes | mmap.mmap]]:
    """Yield the content of a file, or of every file in a ZIP archive. Raises RunError if it cannot be searched."""
    if zipfile.is_zipfile(file):
        import inspect_ai.log  # noqa: F401 - with it, Python before 3.14 reads how inspect_ai compresses its logs

        try:
            with zipfile.ZipFile(file) as archive:
                yield from ((f" ({name})", archive.read(name)) for name in archive.namelist())
        except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # damaged, another method, or a password
            raise RunError(f"{file}: cannot be searched for keys ({error}); remove it or unpack it") from error
    else:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield "", data
