"""Writes the report of a generation run: overview, the yield of other thresholds, a storyboard per document."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from autodata import config
from autodata.recipes.domain import expects_cut_off
from autodata.recipes.generation import GenerateRecipe
from autodata.report import page
from autodata.report.charts import Frame, Line, Lines
from autodata.report.overview import VERDICTS, Overview, list_attempt_bounds, words
from autodata.report.storyboard import Blocks, Story, add_document, describe_makers, tell_story
from autodata.report.yields import KNOBS, MeasuredRound, Yields, measure
from autodata.run.records import ERRORS, LINE, RunError, iterate_records
from autodata.run.snapshot import read_snapshot
from autodata.serving import journal
from autodata.stats.writing import write_count, write_usd
from autodata.types import TRAJECTORY, Role

_COSTS = ("calls", "replayed", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens",
          "call_seconds", "gpu_seconds")  # fmt: skip


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """Return the page of a run, finished or not. Raises RunError, RecipeError, JournalError."""
    recipe = config.load(GenerateRecipe, [str(folder / "recipe.yaml")])
    overview, blocks, measured, story = _read(folder, recipe)
    domain, makers = recipe.domain, describe_makers(manifest)
    gate = domain.presets[domain.preset]
    latest = read_snapshot(folder)
    costs_so_far = {role: asdict(cost) for role, cost in latest.roles.items()} if latest else {}
    ledger = manifest.get("ledger", costs_so_far)
    return page.render(
        "generation.j2",
        f"{folder.resolve().name}: {domain.name}, {recipe.arm} arm",
        ["parts.js", "storyboard.js"],
        recipe=recipe,
        manifest=manifest,
        planned=latest.total if latest else 0,
        errors=dict(Counter(str(e.get("kind")) for e in iterate_records(folder / ERRORS, LINE)).most_common()),
        overview=overview,
        costs=list_costs(overview, ledger),
        has_ledger=bool(ledger),
        is_made_up=makers["is_made_up"],
        scatters={
            name: (overview.scatter(name, preset), list_attempt_bounds(preset))
            for name, preset in sorted(domain.presets.items(), key=lambda p: p[0] != domain.preset)
        },
        timeline=_draw_timeline(folder, recipe, manifest),
        yields=Yields(measured, domain) if measured else None,
        has_gate=any(value is not None for name, value in vars(gate).items() if name != "finished_at_least"),
        knobs=KNOBS,
        verdicts=VERDICTS,
        is_cut_off_meant=expects_cut_off(domain),
        story=story,
        story_address=urlencode({"doc": story.document}) if story else "",
        makers=makers,
        index=blocks.finish(),
        blocks=blocks.packed,
    )


def list_costs(overview: Overview, ledger: Mapping[str, Mapping[str, float | None]]) -> list[list[object]]:
    """List for each role the tokens of its trajectories, the costs in the run's ledger, and costs per acceptance."""
    rows: list[list[object]] = []
    for role in (*Role, *sorted({*ledger} - {*Role})):
        tokens, costs = overview.tokens.get(role), ledger.get(role, {})
        if tokens is None and not costs:
            continue
        gpu_each = _share(costs.get("gpu_seconds"), overview.accepted)
        usd = [costs.get("nano_usd"), _share(costs.get("nano_usd"), overview.accepted)]
        rows.append([words(role), tokens, *(costs.get(name) for name in _COSTS), gpu_each, *map(write_usd, usd)])
    return rows


def _share(total: float | None, count: int) -> float | None:
    return total / count if total is not None and count else None


def _read(folder: Path, recipe: GenerateRecipe) -> tuple[Overview, Blocks, list[MeasuredRound], Story | None]:
    overview, blocks, measured, best = Overview(), Blocks(), [], None
    path = folder / "trajectories.jsonl"
    for number, trajectory in enumerate(iterate_records(path, TRAJECTORY), 1):
        try:
            measured += [scored for round in trajectory.rounds if (scored := measure(number, round))]
        except ValueError as error:  # what no rubric allows was written by another program, or by hand
            raise RunError(f"{path}:{number}: not a valid record ({error})") from error
        overview.add(trajectory)
        add_document(blocks, trajectory, f"{recipe.domain.name}, {trajectory.arm}")
        stories = [story for story in (best, tell_story(trajectory)) if story]
        best = max(stories, key=lambda story: story.rank, default=None)
    return overview, blocks, measured, best if recipe.arm == "agentic" else None


def _draw_timeline(folder: Path, recipe: GenerateRecipe, manifest: Mapping[str, Any]) -> Lines | None:
    """Draw the calls of this run. None without a journal of its own: a shared one has calls of other runs too."""
    path = folder / "journal.sqlite"
    if recipe.journal is not None or not path.exists():
        return None
    # A fork copies replies from another run; they are older than this run and left out.
    start = datetime.fromisoformat(manifest["started"]).timestamp() if manifest.get("started") else 0
    return draw([(at - reply.latency_s, float(at)) for reply, at in journal.read_replies(path) if at >= start])


_INTERVALS = 240  # maximum number on the timeline; none is shorter than a second


def draw(spans: Sequence[tuple[float, float]]) -> Lines | None:
    """Draw the mean number of calls in flight in each interval. None if there are no calls."""
    if not spans:
        return None
    starts, ends = np.array(spans).T
    first, last = float(starts.min()), float(ends.max())
    count = int(min(_INTERVALS, max(last - first, 1)))
    edges = np.linspace(first, max(last, first + 1), count + 1)
    seconds = [
        np.clip(np.minimum(ends, high) - np.maximum(starts, low), 0, None).sum() for low, high in pairwise(edges)
    ]
    busy = np.array(seconds) / np.diff(edges)
    minutes = ((edges[1:] - first) / 60).round(3).tolist()
    points = list(zip(minutes, busy.round(2).tolist(), strict=True))
    desc = (
        f"{write_count(len(spans), 'call')} in {(last - first) / 60:.1f} minutes. Mean number in flight: "
        f"{busy.mean():.1f} on average, {busy.max():.1f} at most."
    )
    frame = Frame("Calls in flight", desc, "minutes since the first call", "calls")
    return Lines(frame, [Line("calls in flight", "accent", points)])
