"""How training went, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SMOOTH = 5  # steps
_COLOURS = ("#00798c", "#d1495b", "#edae49", "#66a182", "#2e4057")
_MARGIN = 0.02
_EVAL = "eval_"
Curves = dict[str, Any]


def read_curves(history: Sequence[Mapping[str, Any]]) -> Curves:
    """The trainer's log as {"train": [entry, …], "watched": {set: [{"step", "score", "cut_off", …}, …]}, "probe": …}.

    The probe is the entry of what the untrained model answered before the first step, None without one. A step that
    was logged again after a resume counts once, as it was done last.
    """
    train = {entry["step"]: dict(entry) for entry in history if "reward" in entry}
    watched: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in history:
        for key, value in entry.items():
            name, _, metric = key.removeprefix(_EVAL).partition("/")
            if key.startswith(_EVAL) and metric and f"{_EVAL}{name}/cut_off" in entry:
                point = watched.setdefault(name, {}).setdefault(entry["step"], {"step": entry["step"]})
                point[metric] = value
    probe = next((dict(entry) for entry in history if f"{_EVAL}probe/cut_off" in entry), None)
    return {"train": [train[step] for step in sorted(train)], "probe": probe,
            "watched": {name: [of[step] for step in sorted(of)] for name, of in watched.items()}}  # fmt: skip


def draw_curves(curves: Curves, path: Path) -> None:
    """Reward, watched sets, cut-off answers and the two judges as PNG; panels without data are left out."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [_draw_reward, _draw_cut_off]
    watched = {name: points for name, points in curves["watched"].items() if name != "probe"}
    if watched:
        panels.insert(1, _draw_watched)
    if any("second_judge" in point for points in watched.values() for point in points):
        panels.append(_draw_judges)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False)
    for draw, where in zip(panels, axes[0], strict=True):
        draw(where, {"train": curves["train"], "watched": watched})
        where.set(xlabel="step")
        where.legend(loc="best", fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def smooth(values: Sequence[float]) -> list[float]:
    """Mean of each value and those just before it."""
    windows = [values[max(0, i - _SMOOTH + 1) : i + 1] for i in range(len(values))]
    return [sum(w) / len(w) for w in windows]


def _draw_reward(axes: Axes, curves: Curves) -> None:
    known = [entry for entry in curves["train"] if entry["reward"] is not None]
    steps, rewards = [entry["step"] for entry in known], [entry["reward"] for entry in known]
    axes.plot(steps, rewards, color="#9db4c0", marker=".", label="reward of the step")
    axes.plot(steps, smooth(rewards), color="#253237", linewidth=2, label=f"mean of {_SMOOTH} steps")
    axes.set(ylim=(min([0.0, *rewards]) - _MARGIN, 1 + _MARGIN), title="reward on training examples")


def _draw_watched(axes: Axes, curves: Curves) -> None:
    _draw_metric(axes, curves, "score")
    axes.set(ylim=(-_MARGIN, 1 + _MARGIN), title="mean score on watched sets")


def _draw_cut_off(axes: Axes, curves: Curves) -> None:
    train = curves["train"]
    axes.plot([e["step"] for e in train], [e.get("completions/clipped_ratio", 0.0) for e in train], color="#9db4c0",
              label="training")  # fmt: skip
    _draw_metric(axes, curves, "cut_off")
    axes.set(ylim=(-_MARGIN, 1 + _MARGIN), title="share of completions cut off")


def _draw_judges(axes: Axes, curves: Curves) -> None:
    for metric, style in (("first_judge", "-"), ("second_judge", "--")):
        _draw_metric(axes, curves, metric, style, f", {metric.replace('_', ' ')}")
    axes.set(ylim=(-_MARGIN, 1 + _MARGIN), title="the judge that rewards, and one that does not")


def _draw_metric(axes: Axes, curves: Curves, metric: str, style: str = "-", more: str = "") -> None:
    for (name, points), colour in zip(sorted(curves["watched"].items()), _COLOURS * 9, strict=False):
        known = [(p["step"], p[metric]) for p in points if p.get(metric) is not None]
        axes.plot([s for s, _ in known], [v for _, v in known], style, color=colour, marker="o", label=name + more)
