"""Trajectories → examples with provenance, split by document, and the statistics of the paper's Table 1.

python -m autodata.dataset recipes/demo/dataset.yaml [key=value …]
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from autodata import store
from autodata.acceptance import scores
from autodata.config import RecipeError, load
from autodata.recipes import DatasetRecipe
from autodata.store import Run, RunError
from autodata.types import CANDIDATE, EXAMPLE, TRAJECTORY, Example, Round, Trajectory

EXAMPLES, STATISTICS = "examples.jsonl", "statistics.json"
METRICS = ("examples", "weak_avg", "strong_avg", "gap", "rounds", "question_chars", "rubric_items")
_COMMAND = "python -m autodata.generate"


def make_examples(
    arm: str,
    trajectories: Iterable[Trajectory],
    test: frozenset[str],
    provenance: Mapping[str, Any],
) -> list[Example]:
    """The examples of one arm, in the order of their document ids, equal candidates once."""
    examples: dict[str, Example] = {}
    for trajectory in sorted(trajectories, key=lambda t: t.document_id):
        chosen = choose_round(trajectory)
        if chosen and chosen.candidate:
            example = _make_example(arm, trajectory, chosen, test, provenance)
            examples.setdefault(chosen.candidate.hash, example)
    return list(examples.values())


def choose_round(trajectory: Trajectory) -> Round | None:
    """The round that becomes an example: what the loop accepted; for the baseline, what was proposed.

    The baseline does not act on the verdict: it only needs a sound candidate that was measured.
    """
    if trajectory.arm != "cot":
        return trajectory.accepted
    measured = [r for r in trajectory.rounds if r.weak and r.strong]
    return measured[-1] if measured else None


def choose_test_documents(ids: Iterable[str], fraction: float, seed: int) -> frozenset[str]:
    """A fixed share of the documents, drawn once for all arms: no document is on both sides."""
    ordered = sorted(set(ids), key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
    return frozenset(ordered[: round(len(ordered) * fraction)])


def summarize(examples: Sequence[Example]) -> dict[str, float | None]:
    """One column of the paper's Table 1."""
    if not examples:
        return {"examples": 0} | dict.fromkeys(METRICS[1:])
    weak, strong = (fmean(fmean(s) for s in scores_of) for scores_of in (
        [e.weak_scores for e in examples], [e.strong_scores for e in examples]))  # fmt: skip
    return {
        "examples": len(examples),
        "weak_avg": weak,
        "strong_avg": strong,
        "gap": strong - weak,
        "rounds": fmean(e.round for e in examples),
        "question_chars": fmean(len(e.candidate.question) for e in examples),
        "rubric_items": fmean(len(e.candidate.rubric) for e in examples),
    }


def _make_example(
    arm: str,
    trajectory: Trajectory,
    chosen: Round,
    test: frozenset[str],
    provenance: Mapping[str, Any],
) -> Example:
    candidate = chosen.candidate
    if candidate is None:
        raise ValueError("a round without a candidate has no example")
    return Example(
        id=f"{arm}-{candidate.hash}",
        document_id=trajectory.document_id,
        document_source=trajectory.document_source,
        arm=arm,
        split="test" if trajectory.document_id in test else "train",
        candidate=candidate,
        round=chosen.number,
        accepted=chosen.verdict.accepted is True,
        weak_scores=tuple(map(float, scores(candidate, chosen.weak))),
        strong_scores=tuple(map(float, scores(candidate, chosen.strong))),
        models=provenance["models"],
        recipe_hash=provenance["recipe_hash"],
    )


def _read_arm(arm: str, folder: str) -> tuple[list[Trajectory], dict[str, Any]]:
    manifest = store.require_finished(folder, _COMMAND)
    text = json.dumps(manifest["inputs"], sort_keys=True)
    provenance = {"models": manifest["models"], "recipe_hash": store.digest(text.encode())}
    trajectories = store.read_records(Path(folder) / "trajectories.jsonl", TRAJECTORY)
    if manifest["arm"] != arm:
        raise RunError(f"arms.{arm}={folder}: that run is of the arm {manifest['arm']}")
    return trajectories, provenance


def build(recipe: DatasetRecipe) -> list[Example]:
    """The examples of all arms. Raises RunError when a run is missing or not finished."""
    arms = {arm: _read_arm(arm, folder) for arm, folder in recipe.arms.items()}
    ids = [t.document_id for trajectories, _ in arms.values() for t in trajectories]
    test = choose_test_documents(ids, recipe.test_fraction, recipe.seed)
    return [e for arm, (trajectories, provenance) in sorted(arms.items())
            for e in make_examples(arm, trajectories, test, provenance)]  # fmt: skip


def save(run: Run, examples: Sequence[Example]) -> None:
    """examples.jsonl, the same as Hugging Face data sets, and the statistics."""
    lines = [EXAMPLE.dump_json(e).decode() for e in examples]
    run.write(EXAMPLES, "".join(line + "\n" for line in lines))
    statistics = {arm: summarize([e for e in examples if e.arm == arm]) for arm in _arms(examples)}
    run.write(STATISTICS, json.dumps(statistics, indent=2) + "\n")
    _save_huggingface(run.path("huggingface"), examples)
    run.finish([EXAMPLES, STATISTICS], statistics=statistics)
    _show(statistics)


def _save_huggingface(folder: Path, examples: Sequence[Example]) -> None:
    from datasets import Dataset, DatasetDict  # slow to import, needed here only

    splits = {}
    for arm in _arms(examples):
        for split in ("train", "test"):
            rows = [_row(e) for e in examples if e.arm == arm and e.split == split]
            if rows:
                splits[f"{arm}_{split}"] = Dataset.from_list(rows)
    DatasetDict(splits).save_to_disk(str(folder))


def _row(example: Example) -> dict[str, object]:
    record = json.loads(EXAMPLE.dump_json(example))
    # One string: Arrow would reshape rubrics of different lengths.
    return record | {"candidate": CANDIDATE.dump_json(example.candidate).decode(),
                     "models": json.dumps(example.models)}  # fmt: skip


def _arms(examples: Sequence[Example]) -> list[str]:
    return sorted({e.arm for e in examples})


def _show(statistics: Mapping[str, Mapping[str, float | None]]) -> None:
    table = Table("metric", *statistics)
    for metric in METRICS:
        values = [statistics[arm][metric] for arm in statistics]
        table.add_row(metric, *("–" if v is None else f"{v:.3g}" for v in values))
    Console().print(table)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(DatasetRecipe, sys.argv[1:])
        sources = {f"arm {arm}": store.output_hash(folder, _COMMAND) for arm, folder in recipe.arms.items()}
        with Run(recipe.run, "dataset", recipe, sources) as run:
            if run.is_finished:
                print(f"{run.folder}: up to date")
                return
            run.start()
            save(run, build(recipe))
    except (RecipeError, RunError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
