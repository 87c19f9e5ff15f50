"""Reads the finished shards of a run and joins their files and counts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autodata.recipes.generation import SHARDS, GenerateRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import Run, require_equal, require_finished
from autodata.run.records import ERRORS, TRAJECTORIES, RunError, hash_path, write_lines
from autodata.serving import journal
from autodata.serving.costs import LEDGER, add

JOURNAL = "journal.sqlite"


def join(run: Run) -> tuple[list[Path], dict[str, Any]]:
    """Join the replies and errors of all shards; return the shards' folders, and their counts added up.

    Raises RunError, JournalError.
    """
    shards = find_shards(run.path(SHARDS))
    manifests = [read_shard(run, folder) for folder in shards]
    run.start()
    if journals := [folder / JOURNAL for folder in shards if (folder / JOURNAL).exists()]:
        journal.join(run.path(JOURNAL), journals)
    if errors := [folder / ERRORS for folder in shards if (folder / ERRORS).exists()]:
        write_lines(run.path(ERRORS), (path.read_bytes() for path in errors))
    return shards, add_up(manifests)


def find_shards(folder: Path) -> list[Path]:
    """Find all n folders named i_of_n, in order. Raises RunError that names the missing ones."""
    counts = count_parts(folder)
    if not counts:
        raise RunError(f"{folder}: no shards there; make them with documents.shard=1/n to n/n")
    if len(counts) > 1:
        parts = f"shards of {sorted(counts)} parts"
        raise RunError(f"{folder}: {parts} are in one folder; move the folders of the wrong shards away")
    (count,) = counts
    expected = [f"{i}_of_{count}" for i in range(1, count + 1)]
    if missing := [name.replace("_of_", "/") for name in expected if not (folder / name).exists()]:
        remedy = f"{COMMANDS[GenerateRecipe]} RECIPE documents.shard=…"
        raise RunError(f"{folder}: no shard {', '.join(missing)}; make it with {remedy}")
    return [folder / name for name in expected]


def count_parts(folder: Path) -> set[int]:
    """Return into how many parts a run was divided; several numbers if it was divided several times."""
    return {int(path.name.rpartition("_")[2]) for path in folder.glob("*_of_*")}


def read_shard(run: Run, folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished shard. Raises RunError if it belongs to another run or has changed."""
    shard = folder.name.replace("_of_", "/")
    manifest = require_finished(str(folder), f"{COMMANDS[GenerateRecipe]} with documents.shard={shard}")
    require_equal(folder, manifest["inputs"], {**run.inputs, "shard": shard})
    if hash_path(folder / TRAJECTORIES) != manifest["outputs"][TRAJECTORIES]:
        raise RunError(
            f"{folder / TRAJECTORIES}: this file changed after the shard was finished; make the shard again"
        )
    return manifest


def add_up(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the counts and times of all shards; the other facts are the same in each."""
    keys = dict.fromkeys(key for m in manifests for key in m["counts"])
    total_s = sum(m["total_s"] for m in manifests)
    busy_s = sum(m["server_busy_share"] * m["total_s"] for m in manifests)
    return {
        "counts": {key: sum(m["counts"].get(key, 0) for m in manifests) for key in keys},
        "working_s": round(sum(m["working_s"] for m in manifests), 1),
        "total_s": round(total_s, 1),
        "server_busy_share": round(busy_s / total_s, 3) if total_s else 0.0,
        "quarantined": [document for m in manifests for document in m["quarantined"]],
        "ledger": LEDGER.dump_python(add([LEDGER.validate_python(m["ledger"]) for m in manifests]), mode="json"),
        "shards": len(manifests),
        **{key: manifests[0][key] for key in ("arm", "models", "skipped_files")},
    }
