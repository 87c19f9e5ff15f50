"""Writes the report of a dataset: how many examples each arm kept, statistics with intervals, every example."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.data.remeasure import COLUMNS, Remeasured, read_remeasured, write_cells
from autodata.data.statistics import METRICS, estimate_metric, measure_intervals, write_metric
from autodata.loop.directing.recap import shorten
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.report import page
from autodata.report.charts import Columns, Forest, ForestRow, Frame, Line, Lines, Step, draw_histogram, series_style
from autodata.report.storyboard import EXCERPT_CHARS, Blocks
from autodata.run.records import iterate_records, read_json
from autodata.stats.writing import write_count
from autodata.types import EXAMPLE, Example

COMMAND = COMMANDS[DatasetRecipe]
_SHARES = {"weak_avg": "weak solver's mean", "strong_avg": "strong solver's mean", "gap": "gap between the two"}
_MAX_MATCHES = 200  # maximum number of removed examples shown


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Return the page of a dataset, finished or not. Raises RunError."""
    by_arm = read_arms(folder, manifest)
    blocks = pack_examples([e for examples in by_arm.values() for e in examples])
    models = read_remeasured(folder)
    return page.render(
        "dataset.j2",
        f"{folder.resolve().name}: examples of the arms {', '.join(by_arm)}" if by_arm else folder.resolve().name,
        ["parts.js", "examples.js"],
        manifest=manifest,
        command=f"{COMMAND} {folder}/recipe.yaml",
        sizes={arm: Counter(e.split for e in examples) for arm, examples in by_arm.items()},
        funnels={arm: draw_funnel(manifest, arm) for arm in by_arm},
        forests=[compare(name, metric, by_arm) for metric, name in _SHARES.items()],
        statistics=tabulate(manifest.get("statistics", {}), by_arm),
        shelf_life=draw_shelf_life(models),
        remeasured=(COLUMNS, [write_cells(model) for model in models]),
        scores=[draw_score_histogram(arm, examples) for arm, examples in by_arm.items() if examples],
        licences=Counter(e.provenance.licence for examples in by_arm.values() for e in examples).most_common(),
        decontamination=read_json(folder / "decontamination.json"),
        max_matches=_MAX_MATCHES,
        index=blocks.finish(),
        blocks=blocks.packed,
    )


def read_arms(folder: Path, manifest: Mapping[str, Any]) -> dict[str, list[Example]]:
    """Read the examples by arm, including arms of which no example was kept. Raises RunError."""
    by_arm: dict[str, list[Example]] = {arm: [] for arm in sorted(manifest.get("funnel", {}))}
    for example in iterate_records(folder / "examples.jsonl", EXAMPLE):
        by_arm.setdefault(example.arm, []).append(example)
    return by_arm


def draw_funnel(manifest: Mapping[str, Any], arm: str) -> list[Step]:
    """Draw how many examples of an arm each stage kept. Stages that the arm does not have are left out."""
    counts = manifest.get("funnel", {}).get(arm, {})
    kept = counts.keys() - {"train", "test"}  # these are the sides of the split, not stages
    stages = [stage for stage in manifest.get("card", {}).get("stages", []) if stage in kept]
    return [Step(stage, counts[stage], "muted" if stage == "trajectories" else "accent") for stage in stages]


def compare(name: str, metric: str, by_arm: Mapping[str, Sequence[Example]]) -> Forest:
    rows = [
        ForestRow(arm, estimate_metric(metric, examples), series_style(number), write_count(len(examples), "example"))
        for number, (arm, examples) in enumerate(by_arm.items())
    ]
    return Forest(name, rows)


def tabulate(
    statistics: Mapping[str, Mapping[str, float | None]], by_arm: Mapping[str, Sequence[Example]]
) -> list[list[str]]:
    """Return one row per metric that some arm has a number for; means come with their interval."""
    metrics = [m for m in METRICS if any(numbers.get(m) is not None for numbers in statistics.values())]
    intervals = {arm: measure_intervals(examples) for arm, examples in by_arm.items()}
    return [
        [metric, *(write_metric(statistics.get(arm, {}).get(metric), intervals[arm].get(metric)) for arm in by_arm)]
        for metric in metrics
    ]


def draw_shelf_life(models: Sequence[Remeasured]) -> Lines | None:
    """Draw the share of the rows that still separate the solvers, over the training steps of the remeasured models.

    None if the models are not of different steps: other students are no points of a curve.
    """
    points = {m.step: (m.label, m.in_band) for m in sorted(models, key=lambda m: m.step or 0) if m.in_band}
    if len(points) < max(len(models), 2):
        return None
    shares = [(step, share.value) for step, (_, share) in points.items()]
    bounds = [(share.low, share.high) for _, share in points.values()]
    words = ", ".join(f"{label} (step {step}): {share.value:.2f}" for step, (label, share) in points.items())
    frame = Frame("Rows that still separate the solvers", f"Share of the rows in the band: {words}.", "step", "share")
    line = Line("in the band", "accent", shares, [] if (None, None) in bounds else bounds)
    return Lines(frame, [line], extra=(0, 1))


def draw_score_histogram(arm: str, examples: Sequence[Example]) -> Columns:
    """Draw the histograms of the weak and of the strong solver's mean scores."""
    sides = (
        ("weak solver", "no_signal", [fmean(e.weak_scores) for e in examples]),
        ("strong solver", "accepted", [fmean(e.strong_scores) for e in examples]),
    )
    means = ", ".join(f"{name} {fmean(values):.2f} on average" for name, _, values in sides)
    desc = f"{write_count(len(examples), 'example')}; {means}."
    frame = Frame(f"Mean scores of each example: {arm}", desc, "mean score, lower end", "examples")
    return draw_histogram(frame, sides)


def pack_examples(examples: Sequence[Example]) -> Blocks:
    """Pack the full texts of all examples, which are read when one is opened, and what their list shows."""
    blocks = Blocks()
    for e in examples:
        entry = {
            "id": e.id,
            "document": e.document_id,
            "arm": e.arm,
            "split": e.split,
            "weak": fmean(e.weak_scores),
            "strong": fmean(e.strong_scores),
            "excerpt": shorten(e.candidate.question, EXCERPT_CHARS),
        }
        blocks.add(entry, EXAMPLE.dump_json(e))
    return blocks
