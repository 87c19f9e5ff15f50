"""The report of a training: the reward from first to last, what was watched beside it, what was checked before."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata import config
from autodata.recipes.training import GrpoRecipe
from autodata.report import page
from autodata.report.charts import Frame, Line, Lines, series_style

CURVES = "curve.json"
COMMAND = "accelerate launch --config_file recipes/accelerate/cpu.yaml training/grpo.py"
_PROBE = "probe"
_SMOOTH = 5  # steps
_SHOWN = 8  # completions
_SHOWN_CHARS = 1_200  # of each, and of the end of its prompt
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """Something that the trainer logs at every step."""

    key: str
    name: str
    note: str = ""  # where it is not logged: how to have it
    is_share: bool = False


METRICS = (
    Metric("reward", "reward", is_share=True),
    Metric("completions/clipped_ratio", "completions cut off", is_share=True),
    Metric("frac_reward_zero_std", "groups with equal rewards", is_share=True),
    Metric("completions/mean_length", "tokens of a completion"),
    Metric("entropy", "entropy"),
    Metric("grad_norm", "norm of the gradient"),
    Metric("kl", "KL to the first model", "trainer.beta above 0 logs it"),
    Metric("train/unscored", "completions without a score", is_share=True),
)


@dataclass(frozen=True)
class Curves:
    """What the trainer logged: one entry per step, and per watched set one per look."""

    train: Sequence[Entry]
    watched: Mapping[str, Sequence[Entry]]
    probe: Entry | None  # the answers of the untrained model


@dataclass(frozen=True)
class Check:
    """Something that would have stopped the training before its first step."""

    name: str
    limit: object
    measured: float | None = None


def render(folder: Path, manifest: Mapping[str, Any]) -> str:
    """The page of a training, finished or not. Raises RecipeError."""
    recipe = config.load(GrpoRecipe, [str(folder / "recipe.yaml")])
    curves = read_curves(folder)
    return page.render(
        "training.j2",
        f"{folder.resolve().name}: GRPO on {recipe.domain.name}, {' and '.join(recipe.arms)} data",
        recipe=recipe,
        manifest=manifest,
        command=f"{COMMAND} {folder}/recipe.yaml",
        steps=curves.train[-1]["step"] if curves.train else None,
        quarters=compare_quarters(curves.train),
        charts_of={m.key: draw_metric(m, curves.train) for m in METRICS if find(curves.train, m.key)},
        missing=[m for m in METRICS if not find(curves.train, m.key)],
        watched=draw_watched(curves, "score", "mean score"),
        looks=tabulate_looks(curves),
        cut_off=draw_watched(curves, "cut_off", "share cut off"),
        judges=draw_judges(curves),
        checks=list_checks(recipe, curves.probe),
        completions=read_completions(folder),
        seconds=sum(e.get("step_time", 0.0) for e in curves.train) or None,
    )  # fmt: skip


def read_curves(folder: Path) -> Curves:
    """As far as they were written: at every look at the watched sets, and at every checkpoint."""
    path = folder / CURVES
    if not path.exists():
        return Curves([], {}, None)
    found = json.loads(path.read_text(encoding="utf-8"))
    watched = {name: of for name, of in found["watched"].items() if name != _PROBE}
    return Curves(found["train"], watched, found.get("probe"))


def find(entries: Sequence[Entry], key: str) -> list[tuple[int, float]]:
    """Steps and values, where there is a value."""
    return [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]


def compare_quarters(train: Sequence[Entry]) -> list[tuple[str, float, float]]:
    """The mean of every metric in the first and in the last quarter of the steps."""
    rows = []
    for metric in METRICS:
        values = [value for _, value in find(train, metric.key)]
        if values:
            quarter = max(len(values) // 4, 1)
            rows.append((metric.name, fmean(values[:quarter]), fmean(values[-quarter:])))
    return rows


def smooth(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Each value as the mean of itself and those just before it."""
    return [(step, round(fmean(y for _, y in points[max(0, i - _SMOOTH + 1) : i + 1]), 4))
            for i, (step, _) in enumerate(points)]  # fmt: skip


def draw_metric(metric: Metric, train: Sequence[Entry]) -> Lines:
    points = find(train, metric.key)
    (_, first), (_, last) = points[0], points[-1]
    frame = Frame(metric.name.capitalize() if metric.key != "kl" else metric.name,
                  f"{metric.name} over {len(points)} steps: {first:.3g} at the first, {last:.3g} at the last.",
                  "step", "share" if metric.is_share and metric.key != "reward" else metric.name)  # fmt: skip
    lines = [Line("each step", "muted", points), Line(f"mean of {_SMOOTH} steps", "accent", smooth(points))]
    return Lines(frame, lines, extra=(1,) if metric.is_share else ())


def draw_watched(curves: Curves, key: str, what: str) -> Lines | None:
    """One line per watched set; None where nothing was watched."""
    lines = [Line(name, series_style(at), points) for at, (name, of) in enumerate(sorted(curves.watched.items()))
             if (points := find(of, key))]  # fmt: skip
    if not lines:
        return None
    told = ", ".join(f"{line.name} from {line.points[0][1]:.2f} to {line.points[-1][1]:.2f}" for line in lines)
    return Lines(Frame(f"Watched sets: {what}", f"{what}: {told}.", "step", what), lines, extra=(1,))


def draw_judges(curves: Curves) -> Lines | None:
    """The judge that rewards and one that does not, on the same answers; None where there is no second."""
    lines = [Line(f"{name}, {judge.replace('_', ' ')}", series_style(2 * at + side), points)
             for at, (name, of) in enumerate(sorted(curves.watched.items()))
             for side, judge in enumerate(("first_judge", "second_judge")) if (points := find(of, judge))]  # fmt: skip
    desc = "Mean score by the judge that rewards and by one that never does."
    return Lines(Frame("Two judges", desc, "step", "mean score"), lines, extra=(1,)) if lines else None


def tabulate_looks(curves: Curves) -> list[list[object]]:
    """First, best and last look at each watched set."""
    rows: list[list[object]] = []
    for name, of in sorted(curves.watched.items()):
        points = find(of, "score")
        if points:
            best = max(points, key=lambda point: point[1])
            rows.append([name, *(f"{score:.3f} (step {step})" for step, score in (points[0], best, points[-1]))])
    return rows


def list_checks(recipe: GrpoRecipe, probe: Entry | None) -> list[Check]:
    limits, told = recipe.preflight, probe or {}
    return [
        Check("tokens of the longest prompt, at most", limits.prompt_tokens),
        Check("completions of the untrained model cut off, at most", limits.max_cut_off,
              told.get("eval_completions/clipped_ratio")),
        Check("groups of it with equal rewards, at most", limits.max_zero_spread,
              told.get("eval_frac_reward_zero_std")),
        Check("vLLM's and the trainer's log probabilities apart, at most", limits.max_logp_difference,
              told.get("eval_sampling/sampling_logp_difference/mean")),
    ]  # fmt: skip


def read_completions(folder: Path) -> list[dict[str, Any]]:
    """Some of the last step, best and worst first; empty where the trainer kept none (trainer.log_completions)."""
    import pyarrow.parquet  # slow to import, needed here only

    files = sorted((folder / "checkpoints" / "completions").glob("*.parquet"))
    rows = pyarrow.parquet.read_table(files[-1]).to_pylist() if files else []
    rows.sort(key=lambda row: row.get("advantage") or 0.0, reverse=True)
    chosen = rows if len(rows) <= _SHOWN else rows[: _SHOWN // 2] + rows[-_SHOWN // 2 :]
    return [{
        "step": row["step"],
        "prompt": str(row["prompt"])[-_SHOWN_CHARS:],
        "completion": str(row["completion"])[:_SHOWN_CHARS],
        "reward": row.get("score"),
        "advantage": row.get("advantage"),
    } for row in chosen]  # fmt: skip
