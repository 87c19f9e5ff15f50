"""Checks that the rows of a table can stand side by side: each under its own label, of one judge, on the same data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from autodata.recipes.evaluation import TableRow
from autodata.run.folder import read_manifest
from autodata.run.records import RunError
from autodata.serving.measured import tell_outcomes
from eval.tables.cells import is_finished, read_answers

Manifests = Mapping[str, Mapping[str, Any]]  # by the label of the row


def check_rows(rows: Sequence[TableRow]) -> list[str]:
    """Notes on rows whose weights are not known. Raises RunError for rows that cannot be compared."""
    evaluations = {row.label: manifest for row in rows if (manifest := _read_evaluation(row))}
    for row in rows:
        label = evaluations.get(row.label, {}).get("label", row.label)
        if label != row.label:
            raise RunError(f"row {row.label}: {row.run} evaluated {label}; write label: {label} in the table, "
                           "or name the run that belongs to the row")  # fmt: skip
    _require_different(evaluations)
    for what, find in (("data", _find_data), ("judges", _find_judges)):
        _require_equal(what, {label: find(manifest["inputs"]) for label, manifest in evaluations.items()})
    return [f"- {label}: the identity of its weights is not recorded (run made before it was)"
            for label, manifest in evaluations.items() if "evaluated" not in manifest]  # fmt: skip


def note_outcomes(rows: Sequence[TableRow]) -> list[str]:
    """How the answers behind each row ended, where one of them is cut off or never came."""
    found = [(row.label, read_answers(row)) for row in rows if _read_evaluation(row)]
    return [f"- {label}, {line}" for label, answers in found for line in tell_outcomes(
        {task: Counter(str(g.outcome) for g in sampled) for task, sampled in answers.items()})]  # fmt: skip


def _find_data(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes of what was evaluated on."""
    return {key: value for key, value in inputs.items()
            if key == "dataset" or key.startswith(("principia ", "prbench "))}  # fmt: skip


def _find_judges(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Whose verdicts the scores are: model and sampling of the judge and of every grader, but for their budgets.

    A budget that was raised only fills gaps.
    """
    roles = {key.removesuffix(".endpoint"): name for key, name in inputs.items()
             if key.startswith(("models.judge.", "graders.")) and key.endswith(".endpoint")}  # fmt: skip
    own = {
        key: value
        for key, value in inputs.items()
        if key.startswith(tuple(f"{role}." for role in roles)) and not key.endswith((".max_tokens", ".endpoint"))
    }
    return own | {role: inputs.get(f"models.endpoints.{name}.model") for role, name in roles.items()}


def _require_equal(what: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RunError where two rows rest on other data, or on other judges."""
    for (first, one), (second, other) in combinations(found.items(), 2):
        if differing := [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]:
            raise RunError(f"rows {first} and {second}: their runs have other {what} ({', '.join(differing)}), so "
                           "they cannot be compared; evaluate both alike")  # fmt: skip


def _read_evaluation(row: TableRow) -> Mapping[str, Any] | None:
    manifest = read_manifest(Path(row.run)) if is_finished(row) else None
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
