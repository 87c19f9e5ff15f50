"""Checks that the rows of a table are what they say: every run under its own label, no weights under two labels."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from autodata import store
from autodata.evaluation_recipes import TableRow
from autodata.store import RunError
from eval.cells import is_finished

Manifests = Mapping[str, Mapping[str, Any]]  # by the label of the row


def check_labels(rows: Sequence[TableRow]) -> list[str]:
    """Notes on rows whose weights are not known. Raises RunError for a row that shows another model than it says."""
    evaluations = {row.label: manifest for row in rows if (manifest := _read_evaluation(row))}
    for row in rows:
        label = evaluations.get(row.label, {}).get("label", row.label)
        if label != row.label:
            raise RunError(f"row {row.label}: {row.run} evaluated {label}; write label: {label} in the table, "
                           "or name the run that belongs to the row")  # fmt: skip
    _require_different(evaluations)
    return [f"- {label}: the identity of its weights is not recorded (run made before it was)"
            for label, manifest in evaluations.items() if "evaluated" not in manifest]  # fmt: skip


def _read_evaluation(row: TableRow) -> Mapping[str, Any] | None:
    manifest = store.read_manifest(Path(row.run)) if is_finished(row) else None
    return manifest if manifest and manifest.get("inputs", {}).get("kind") == "eval" else None


def _require_different(evaluations: Manifests) -> None:
    """Raise RunError for two labels on one model."""
    known = {label: m["evaluated"] for label, m in evaluations.items() if "evaluated" in m}
    for (first, one), (second, other) in combinations(known.items(), 2):
        if _is_same(one, other):
            raise RunError(f"rows {first} and {second}: both runs evaluated {one['weights'] or one['model']}; one of "
                           "them has a wrong evaluated.weights, evaluate it again in a new folder")  # fmt: skip


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By content where it is known of both, else by name."""
    if one.get("revision") and other.get("revision"):
        return bool(one["revision"] == other["revision"])
    return bool((one.get("weights") or one["model"]) == (other.get("weights") or other["model"]))
