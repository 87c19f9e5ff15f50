"""The report of a dataset: what was kept of each arm, its numbers with intervals, every example."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.data.statistics import METRICS, estimate_metric, measure_intervals, write_metric
from autodata.report import page
from autodata.report.charts import Columns, Forest, ForestRow, Frame, Series, Step, series_style
from autodata.report.storyboard import Blocks, pack, shorten
from autodata.run.records import iterate_records, read_json
from autodata.types import EXAMPLE, Example

EXAMPLES, DECONTAMINATION = "examples.jsonl", "decontamination.json"
COMMAND = "python -m autodata.dataset"
_SHARES = {"weak_avg": "weak solver's mean", "strong_avg": "strong solver's mean", "gap": "gap between the two"}
_SIDES = ("train", "test")  # what the examples are split into, no further stages of the funnel
_BINS = 10
_MAX_MATCHES = 200  # of removed examples, shown


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The page of a dataset, finished or not. Raises RunError."""
    by_arm = read_arms(folder, manifest)
    index, blocks = pack_examples([e for of in by_arm.values() for e in of])
    return page.render(
        "dataset.j2",
        f"{folder.resolve().name}: examples of the arms {', '.join(by_arm)}" if by_arm else folder.resolve().name,
        ["parts.js", "examples.js"],
        manifest=manifest,
        command=f"{COMMAND} {folder}/recipe.yaml",
        sizes={arm: Counter(e.split for e in of) for arm, of in by_arm.items()},
        funnels={arm: draw_funnel(manifest, arm) for arm in by_arm},
        forests=[compare(name, metric, by_arm) for metric, name in _SHARES.items()],
        statistics=tabulate(manifest.get("statistics", {}), by_arm),
        scores=[draw_scores(arm, of) for arm, of in by_arm.items() if of],
        licences=Counter(e.provenance.licence for of in by_arm.values() for e in of).most_common(),
        decontamination=read_json(folder / DECONTAMINATION),
        most=_MAX_MATCHES,
        index=index,
        blocks=blocks,
    )  # fmt: skip


def read_arms(folder: Path, manifest: Mapping[str, Any]) -> dict[str, list[Example]]:
    """The examples by arm, an arm that nothing was kept of too. Raises RunError."""
    found: dict[str, list[Example]] = {arm: [] for arm in sorted(manifest.get("funnel", {}))}
    for example in iterate_records(folder / EXAMPLES, EXAMPLE):
        found.setdefault(example.arm, []).append(example)
    return found


def draw_funnel(manifest: Mapping[str, Any], arm: str) -> list[Step]:
    """How many examples of an arm every stage left; those that the arm lacks are left out."""
    left, stages = manifest.get("funnel", {}).get(arm, {}), manifest.get("card", {}).get("stages", [])
    return [Step(stage, left[stage], "muted" if stage == "trajectories" else "accent")
            for stage in stages if stage in left and stage not in _SIDES]  # fmt: skip


def compare(name: str, metric: str, by_arm: Mapping[str, Sequence[Example]]) -> Forest:
    rows = [ForestRow(arm, estimate_metric(metric, of), series_style(number), f"{len(of):,} examples")
            for number, (arm, of) in enumerate(by_arm.items())]  # fmt: skip
    return Forest(name, rows)


def tabulate(statistics: Mapping[str, Mapping[str, float | None]],
             by_arm: Mapping[str, Sequence[Example]]) -> list[list[str]]:  # fmt: skip
    """One row per metric that some arm has a number for; means with their interval."""
    known = [m for m in METRICS if any(of.get(m) is not None for of in statistics.values())]
    intervals = {arm: measure_intervals(of) for arm, of in by_arm.items()}
    return [[metric, *(write_metric(statistics.get(arm, {}).get(metric), intervals[arm].get(metric))
                       for arm in by_arm)] for metric in known]  # fmt: skip


def draw_scores(arm: str, examples: Sequence[Example]) -> Columns:
    """Two humps: where the weak and where the strong solver's mean scores lie."""
    sides = (("weak solver", "no_signal", [fmean(e.weak_scores) for e in examples]),
             ("strong solver", "accepted", [fmean(e.strong_scores) for e in examples]))  # fmt: skip
    series = [Series(name, look, count_bins(means)) for name, look, means in sides]
    means = ", ".join(f"{name} {fmean(of):.2f} on average" for name, _, of in sides)
    frame = Frame(f"Mean scores of each example: {arm}", f"{len(examples):,} examples; {means}.",
                  "mean score, from", "examples")  # fmt: skip
    return Columns(frame, bin_labels(), series)


def bin_labels() -> list[str]:
    """Where each tenth of [0, 1] begins."""
    return [f"{n / _BINS:g}" for n in range(_BINS)]


def count_bins(scores: Sequence[float]) -> list[int]:
    """How many scores lie in each tenth of [0, 1]; 1 is in the last."""
    found = Counter(min(max(int(score * _BINS + 1e-9), 0), _BINS - 1) for score in scores)
    return [found[n] for n in range(_BINS)]


def pack_examples(examples: Sequence[Example]) -> tuple[str, list[str]]:
    """The list of all examples, and the blocks with what is read when one is opened."""
    blocks = Blocks()
    entries = [{
        "id": e.id,
        "document": e.document_id,
        "arm": e.arm,
        "split": e.split,
        "weak": fmean(e.weak_scores),
        "strong": fmean(e.strong_scores),
        "excerpt": shorten(e.candidate.question),
        **blocks.add(EXAMPLE.dump_json(e)),
    } for e in examples]  # fmt: skip
    blocks.close()
    return pack(json.dumps(entries).encode()), blocks.packed
