"""Draws the three figures of a study as PNG files. A figure without data is not drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from autodata.eval.study.estimates import Skill, Study
from autodata.eval.study.rows import UNTRAINED, CurvePoint
from autodata.stats.intervals import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("#00798c", "#d1495b", "#edae49", "#66a182", "#2e4057", "#8d5a97")
_MARKERS = "osD^vP"
Labels = Mapping[str, str]  # arm → its name in the figures


def draw_curves(study: Study, points: Sequence[CurvePoint], labels: Labels, path: Path) -> None:
    """Draw the mean accuracy over the seeds against steps, by arm; the band spans the lowest and highest seed."""
    lines = {arm: lines for arm in study.measured if (lines := _list_steps(points, arm, study.seeds))}
    if not lines:
        return
    figure = _make_figure(7, 4.5)
    axes = figure.subplots()
    for arm, by_step in lines.items():
        steps, values = list(by_step), list(by_step.values())
        colour = _COLOURS[study.arms.index(arm) % len(_COLOURS)]
        axes.plot(steps, [fmean(v) for v in values], color=colour, marker=".", label=labels[arm])
        axes.fill_between(steps, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15, lw=0)
    axes.set(xlabel="training steps", ylabel="accuracy on watched held-out questions", ylim=(0, None))
    axes.set_title(f"Mean over {len(study.seeds)} seeds; band: lowest to highest seed", fontsize="medium")
    axes.legend(loc="best", fontsize="small")
    _save(figure, path)


def _list_steps(points: Sequence[CurvePoint], arm: str, seeds: Sequence[int]) -> dict[int, list[float]]:
    """List the accuracies of all seeds at every step that all of them have, in the order of the steps."""
    by_step: dict[int, list[float]] = defaultdict(list)
    for point in points:
        if point.arm == arm and point.seed in seeds:
            by_step[point.step].append(point.accuracy)
    return {step: values for step, values in sorted(by_step.items()) if len(values) == len(seeds)}


def draw_skills(skills: Sequence[Skill], arms: Sequence[str], labels: Labels, path: Path) -> None:
    """Draw a heat map of the accuracy by skill and arm; the untrained model is the first column."""
    columns = [arm for arm in (UNTRAINED, *arms) if any(arm in skill.accuracy for skill in skills)]
    if not columns:
        return
    nothing = float("nan")
    table = [[skill.accuracy.get(arm, nothing) for arm in columns] for skill in skills]
    figure = _make_figure(2.5 + 1.1 * len(columns), 1.3 + 0.3 * len(skills))
    axes = figure.subplots()
    axes.imshow(table, cmap="YlGnBu", vmin=0, vmax=1, aspect="auto")
    for row, values in enumerate(table):
        for column, value in enumerate(values):
            text = "–" if value != value else f"{value:.2f}"  # NaN is the only number unequal to itself
            colour = "white" if value > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize="small", color=colour)
    axes.set_xticks(range(len(columns)), [labels[arm] for arm in columns])
    axes.set_yticks(range(len(skills)), [f"{skill.name} ({skill.questions})" for skill in skills], fontsize="small")
    axes.set_title("Accuracy by skill (number of questions)", fontsize="medium")
    _save(figure, path)


def draw_tokens(accuracies: Mapping[str, Estimate], tokens: Mapping[str, float], labels: Labels, path: Path) -> None:
    """Draw accuracy with its interval against the tokens spent on the data; the untrained model is a line."""
    drawn = [arm for arm in accuracies if tokens.get(arm) is not None]
    if not drawn:
        return
    figure = _make_figure(6, 4.5)
    axes = figure.subplots()
    for number, arm in enumerate(drawn):
        estimate, style = accuracies[arm], number % len(_COLOURS)
        thousands = tokens[arm] / 1000
        # Arms at equal cost lie above each other, so each has a marker of its own.
        axes.plot(thousands, estimate.value, _MARKERS[style], color=_COLOURS[style], label=labels[arm])
        if estimate.low is not None:
            axes.vlines(thousands, estimate.low, estimate.high, color=_COLOURS[style], alpha=0.6)
    if UNTRAINED in accuracies:
        axes.axhline(accuracies[UNTRAINED].value, color="#9db4c0", linestyle="--", label=labels[UNTRAINED])
    axes.set(xlabel="thousand tokens spent on the data, mean over seeds", ylabel="held-out accuracy")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.legend(loc="best", fontsize="small")
    _save(figure, path)


def _make_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height))


def _save(figure: Figure, path: Path) -> None:
    """Save without the version of the library, so that equal numbers give equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120, metadata={"Software": None})
