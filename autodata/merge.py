"""Merge the shards of a run into one run, as if it had been made without shards.

python -m autodata.merge RECIPE [more.yaml …] [key=value …]

The arguments are those of autodata.generate, without documents.shard. The merge fails if a shard is missing or was
made from other inputs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autodata import command, generate
from autodata.config import RecipeError, load
from autodata.corpora.documents import Corpus
from autodata.loop.summary import describe, join_outcomes, summarize
from autodata.recipes.generation import SHARDS, GenerateRecipe
from autodata.run.folder import Run, require_equal, require_finished
from autodata.run.records import TRAJECTORIES, RunError, hash_path, iterate_records
from autodata.serving import journal
from autodata.serving.costs import LEDGER, add, tell_usd
from autodata.stats.writing import write_count
from autodata.types import TRAJECTORY

JOURNAL = "journal.sqlite"


def merge(run: Run, corpus: Corpus) -> dict[str, Any]:
    """Join the trajectories and replies of all shards and add up their counts. Raises RunError, JournalError."""
    shards = find_shards(run.path(SHARDS))
    manifests = [read_shard(run, folder) for folder in shards]
    run.start()
    if journals := [folder / JOURNAL for folder in shards if (folder / JOURNAL).exists()]:
        journal.join(run.path(JOURNAL), journals)
    generate.order_trajectories(run, [folder / TRAJECTORIES for folder in shards], corpus)
    summary, facts = summarize(iterate_records(run.path(TRAJECTORIES), TRAJECTORY)), add_up(manifests)
    ledger = LEDGER.validate_python(facts["ledger"])
    facts |= {"summary": summary, "outcomes": join_outcomes(summary, ledger), "cost": tell_usd(ledger)}
    ended = facts["summary"]["documents"] + len(facts["quarantined"])
    if ended != len(corpus.documents):
        raise RunError(
            f"{run.folder}: the shards have {write_count(ended, 'document')}, but the corpus has "
            f"{len(corpus.documents):,}; make the shards again from the same documents"
        )
    run.finish([TRAJECTORIES], **facts)
    return facts


def find_shards(folder: Path) -> list[Path]:
    """Find all n folders named i_of_n, in order. Raises RunError that names the missing ones."""
    names = [path.name for path in folder.glob("*_of_*")]
    counts = {int(name.rpartition("_")[2]) for name in names}
    if not counts:
        raise RunError(f"{folder}: no shards there; make them with documents.shard=1/n to n/n")
    if len(counts) > 1:
        parts = f"shards of {sorted(counts)} parts"
        raise RunError(f"{folder}: {parts} are in one folder; move the folders of the wrong shards away")
    (count,) = counts
    expected = [f"{i}_of_{count}" for i in range(1, count + 1)]
    if missing := [name.replace("_of_", "/") for name in expected if name not in names]:
        remedy = "python -m autodata.generate RECIPE documents.shard=…"
        raise RunError(f"{folder}: no shard {', '.join(missing)}; make it with {remedy}")
    return [folder / name for name in expected]


def read_shard(run: Run, folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished shard. Raises RunError if it belongs to another run or has changed."""
    shard = folder.name.replace("_of_", "/")
    manifest = require_finished(str(folder), f"python -m autodata.generate with documents.shard={shard}")
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


@command.report_errors()
def main() -> None:
    recipe = load(GenerateRecipe, command.read_recipe(__doc__))
    if recipe.documents.shard:
        raise RecipeError(f"documents.shard={recipe.documents.shard}: leave it out, because all shards are merged")
    run, corpus = generate.open_run(recipe)
    with run:
        print(f"{run.folder}: up to date" if run.is_finished else describe(merge(run, corpus)))


if __name__ == "__main__":
    main()
