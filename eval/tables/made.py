"""Notes beside a table what it was made from, so that a later command knows whether it must be written anew."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autodata.config import to_yaml
from autodata.recipes.evaluation import MADE, TableRecipe
from autodata.run.folder import MANIFEST
from autodata.run.records import digest, hash_path, read_json, write_file


def note_made(recipe: TableRecipe) -> None:
    """Note the recipe and the runs of a table, after the table is written. Raises RunError."""
    runs = {row.run: _identify(row.run) for row in recipe.rows if row.run}
    made = {"recipe": digest(to_yaml(recipe).encode()), "runs": runs}
    write_file(Path(recipe.output).with_suffix(MADE), json.dumps(made, indent=1, ensure_ascii=False) + "\n")


def is_current(output: Path, recipe: TableRecipe | None) -> bool:
    """True if a table is there and its runs, and its recipe if that is known, are those that it was made from.

    Raises RunError.
    """
    made: Any = read_json(output.with_suffix(MADE)) if output.exists() else None
    if not isinstance(made, dict) or not isinstance(runs := made.get("runs"), dict):
        return False
    is_same = recipe is None or made.get("recipe") == digest(to_yaml(recipe).encode())
    return is_same and _are_same(runs.items())


def _are_same(runs: Iterable[tuple[str, str | None]]) -> bool:
    return all(identity is not None and identity == _identify(run) for run, identity in runs)


def _identify(run: str) -> str | None:
    """Identify a run by its manifest, which has the hashes of its outputs and the time of its end."""
    manifest = Path(run) / MANIFEST
    return hash_path(manifest) if manifest.exists() else None
