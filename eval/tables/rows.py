"""Checks that the rows of a table are comparable: each under its own label, with the same judges and data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from autodata.config import RecipeError, load
from autodata.eval.tables.cells import read_answers, read_finished
from autodata.recipes.domain import expects_cut_off
from autodata.recipes.evaluation import EvalRecipe, TableRow
from autodata.run.records import RunError
from autodata.serving.measured import tell_outcomes
from autodata.types import Outcome

CUT_OFF_IS_MEANT = (
    "- An answer that ran into its token budget (truncated, cut off) counts like any other here: answers of this "
    "domain are meant to be that short (`finished_at_least: 0` in its preset)"
)


def check_rows(rows: Sequence[TableRow]) -> list[str]:
    """Check that the rows can be compared, and note those with unknown weights. Raises RunError if they cannot."""
    evaluations = {row.label: manifest for row in rows if (manifest := _read_evaluation(row))}
    for row in rows:
        if (label := evaluations.get(row.label, {}).get("label", row.label)) != row.label:
            raise RunError(
                f"row {row.label}: {row.run} evaluated {label}; write label: {label} in the table, "
                "or name the run that belongs to the row"
            )
    _require_different(evaluations)
    for kind, find in (("data", _find_data), ("judges", _find_judges)):
        _require_equal(kind, {label: find(manifest["inputs"]) for label, manifest in evaluations.items()})
    return [
        f"- {label}: the identity of its weights is not recorded, because an older version made the run"
        for label, manifest in evaluations.items()
        if "evaluated" not in manifest
    ]


def note_outcomes(rows: Sequence[TableRow]) -> list[str]:
    """Say how the answers of each row ended, if any never came, or was cut off where that is not meant."""
    lines, is_meant_somewhere = [], False
    for row in filter(_read_evaluation, rows):
        outcomes = {task: Counter(str(g.outcome) for g in sampled) for task, sampled in read_answers(row).items()}
        is_meant = _expects_cut_off(row)
        lines += [f"- {row.label}, {line}" for line in tell_outcomes(outcomes, is_meant)]
        is_meant_somewhere |= is_meant and any(Outcome.CUT_OFF in counts for counts in outcomes.values())
    return [*lines, CUT_OFF_IS_MEANT] if is_meant_somewhere else lines


def _expects_cut_off(row: TableRow) -> bool:
    """Read in the recipe of a run whether its domain expects answers to run into their budget."""
    path = Path(row.run) / "recipe.yaml"
    try:
        return path.exists() and expects_cut_off(load(EvalRecipe, [str(path)]).domain)
    except RecipeError:  # a recipe of older code, or of a domain that is not here
        return False


def _find_data(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Select the hashes of the data that a run evaluated on."""
    benchmarks = ("principia ", "prbench ")
    return {key: value for key, value in inputs.items() if key == "dataset" or key.startswith(benchmarks)}


def _find_judges(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Select what identifies the judge and every grader: model and sampling."""
    judging = {key: value for key, value in inputs.items() if key.startswith(("models.judge.", "graders."))}
    # Token budgets are left out, because a raised budget only adds scores that were missing.
    settings = {key: value for key, value in judging.items() if not key.endswith((".max_tokens", ".endpoint"))}
    roles = {key.removesuffix(".endpoint"): name for key, name in judging.items() if key.endswith(".endpoint")}
    return settings | {role: inputs.get(f"models.endpoints.{name}.model") for role, name in roles.items()}


def _require_equal(kind: str, identities: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RunError if two rows used different data, or different judges."""
    for (first, one), (second, other) in combinations(identities.items(), 2):
        if differing := [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]:
            raise RunError(
                f"rows {first} and {second}: their runs used different {kind} ({', '.join(differing)}), so "
                f"they cannot be compared; evaluate both again with the same {kind}"
            )


def _read_evaluation(row: TableRow) -> Mapping[str, Any] | None:
    manifest = read_finished(row)
    return manifest if manifest.get("inputs", {}).get("kind") == "eval" else None


def _require_different(evaluations: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise RunError if two labels belong to one model."""
    models = {label: m["evaluated"] for label, m in evaluations.items() if "evaluated" in m}
    for (first, one), (second, other) in combinations(models.items(), 2):
        if _is_same(one, other):
            raise RunError(
                f"rows {first} and {second}: both runs evaluated {one['weights'] or one['model']}; one of "
                "them has a wrong evaluated.weights; correct it and evaluate that row again in a new folder"
            )


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare two models by content if it is known for both, else by name."""
    if one.get("revision") and other.get("revision"):
        return bool(one["revision"] == other["revision"])
    return bool((one.get("weights") or one["model"]) == (other.get("weights") or other["model"]))
