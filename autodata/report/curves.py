"""Describes the curves of trainings and searches. Reports draw them as SVG; `save_png` writes them as a picture."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from autodata.report.charts import Frame, Line, Lines, series_style
from autodata.run.records import read_json
from autodata.stats.writing import write_count, write_decimal

CURVES = "curve.json"
_SMOOTHED = 5  # steps
LogEntry = Mapping[str, Any]
Points = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Metric:
    """A quantity that the trainer logs at every step."""

    key: str
    name: str
    note: str = ""  # says when the trainer logs it, if it does not always
    is_share: bool = False


REWARD = Metric("reward", "reward", is_share=True)
CUT_OFF = Metric("completions/clipped_ratio", "completions cut off", is_share=True)


@dataclass(frozen=True)
class Curves:
    """The log of a training: one entry per step, and for each watched set one entry per evaluation on it."""

    train: Sequence[LogEntry] = ()
    watched: Mapping[str, Sequence[LogEntry]] = field(default_factory=dict)
    probe: LogEntry | None = None  # metrics of the untrained model's answers

    def watch(self, key: str) -> dict[str, Points]:
        """Return the points of a metric for every watched set that has it."""
        by_set = {name: find_points(entries, key) for name, entries in sorted(self.watched.items())}
        return {name: points for name, points in by_set.items() if points}


def read_curves(folder: Path) -> Curves:
    """Read the curves; a training writes them at every evaluation on the watched sets and at every checkpoint."""
    stored = read_json(folder / CURVES) or {"train": [], "watched": {}}
    watched = {name: entries for name, entries in stored["watched"].items() if name != "probe"}
    return Curves(stored["train"], watched, stored.get("probe"))


def find_points(entries: Iterable[LogEntry], key: str) -> Points:
    """List step and value of every entry that has a value."""
    return [(entry["step"], entry[key]) for entry in entries if entry.get(key) is not None]


def compare_quarters(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the first quarter of the values and that of the last quarter."""
    quarter = max(len(values) // 4, 1)
    return fmean(values[:quarter]), fmean(values[-quarter:])


def smooth(points: Points) -> Points:
    """Replace each value by the mean of itself and the few values before it."""
    return [
        (step, round(fmean(y for _, y in points[max(0, i - _SMOOTHED + 1) : i + 1]), 4))
        for i, (step, _) in enumerate(points)
    ]


def find_milestones(points: Points) -> list[tuple[int, float]]:
    """Choose the first, the best and the last point."""
    return [points[0], max(points, key=lambda point: point[1]), points[-1]]


def write_milestone(point: tuple[int, float]) -> str:
    """Write a score with its step."""
    step, score = point
    return f"{write_decimal(score)} (step {step})"


def draw_metric(metric: Metric, train: Sequence[LogEntry]) -> Lines | None:
    """Draw a metric over the steps, with its moving average. None if the trainer did not log it."""
    points = find_points(train, metric.key)
    if not points:
        return None
    (_, first), (_, last) = points[0], points[-1]
    frame = Frame(
        metric.name.capitalize() if metric.key != "kl" else metric.name,
        f"{metric.name} over {write_count(len(points), 'step')}: {first:.3g} at the first, {last:.3g} at the last.",
        "step",
        "share" if metric.is_share and metric is not REWARD else metric.name,
    )
    lines = [Line("each step", "muted", points), Line(f"mean of {_SMOOTHED} steps", "accent", smooth(points))]
    return Lines(frame, lines, extra=(1,) if metric.is_share else ())


def draw_watched(curves: Curves, key: str, quantity: str) -> Lines | None:
    """Draw one line per watched set. None if nothing was watched."""
    watched = curves.watch(key).items()
    lines = [Line(name, series_style(number), points) for number, (name, points) in enumerate(watched)]
    if not lines:
        return None
    changes = ", ".join(f"{line.name} from {line.points[0][1]:.2f} to {line.points[-1][1]:.2f}" for line in lines)
    return Lines(Frame(f"Watched sets: {quantity}", f"{quantity}: {changes}.", "step", quantity), lines, extra=(1,))


def draw_judges(curves: Curves) -> Lines | None:
    """Draw the mean scores by the judge that gives rewards and by a second judge. None if there is no second judge."""
    judges = [(judge.replace("_", " "), curves.watch(judge)) for judge in ("first_judge", "second_judge")]
    lines = [
        Line(f"{name}, {judge}", series_style(2 * number + side), by_set[name])
        for number, name in enumerate(sorted(curves.watched))
        for side, (judge, by_set) in enumerate(judges)
        if name in by_set
    ]
    desc = "Mean score by the judge that gives the rewards, and by a second judge that does not."
    return Lines(Frame("Two judges", desc, "step", "mean score"), lines, extra=(1,)) if lines else None


def draw_training(curves: Curves) -> list[Lines]:
    """Draw the curves that a training's picture has, leaving out those without data."""
    metrics = [draw_metric(metric, curves.train) for metric in (REWARD, CUT_OFF)]
    watched = [draw_watched(curves, "score", "mean score"), draw_watched(curves, "cut_off", "share cut off")]
    return [chart for chart in (*metrics, *watched, draw_judges(curves)) if chart]


def list_pass_rates(lines: Iterable[Mapping[str, Any]]) -> Points:
    """List the pass rate of the best prompt set after each iteration of a search, if one was measured by then."""
    return [(number, rate) for number, line in enumerate(lines) if (rate := line["best_pass_rate"]) is not None]


def draw_rates(points: Points) -> Lines | None:
    """Draw the pass rate of the best member so far, as the paper's Figure 6 does. None before anything is measured."""
    if not points:
        return None
    desc = (
        f"Validation pass rate of the best prompt set after each iteration: {points[0][1]:.2f} at the start, "
        f"{points[-1][1]:.2f} after {write_count(points[-1][0], 'iteration')}."
    )
    frame = Frame("Best prompt set so far (paper: Figure 6, Table 7)", desc, "iterations finished", "pass rate")
    return Lines(frame, [Line("best so far", "accent", points)], extra=(1,))


_COLOURS = {"muted": "#9db4c0", "accent": "#253237", "series-0": "#00798c", "series-1": "#d1495b",
            "series-2": "#edae49", "series-3": "#66a182", "series-4": "#2e4057", "series-5": "#8d5a97"}  # fmt: skip


def save_png(charts: Sequence[Lines], path: Path) -> None:
    """Draw the charts side by side into a PNG file, for programs that cannot show SVG."""
    from matplotlib.figure import Figure  # slow to import, and not needed by a report

    figure = Figure(figsize=(5 * len(charts), 4))
    for chart, axes in zip(charts, figure.subplots(1, len(charts), squeeze=False)[0], strict=True):
        for line in chart.lines:
            axes.plot(*zip(*line.points, strict=True), color=_COLOURS[line.style], marker=".", label=line.name)
        frame, low, high = chart.frame, chart.y.low, chart.y.high
        margin = (high - low) / 50
        axes.set(xlabel=frame.x_label, ylabel=frame.y_label, title=frame.title, ylim=(low - margin, high + margin))
        axes.legend(loc="best", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
