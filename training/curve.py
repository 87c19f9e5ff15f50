"""The reward curve as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

_SMOOTH = 5  # steps


def draw_curve(history: Sequence[Mapping[str, float]], path: Path) -> None:
    """Mean reward per logged step, with its moving average, as PNG."""
    steps = [entry["step"] for entry in history]
    rewards = [entry["reward"] for entry in history]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    axes.plot(steps, rewards, color="#9db4c0", marker=".", label="reward of the step")
    axes.plot(steps, smooth(rewards), color="#253237", linewidth=2, label=f"mean of {_SMOOTH} steps")
    axes.set(xlabel="step", ylabel="mean reward", ylim=(0, 1), title="GRPO reward on training examples")
    axes.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def smooth(values: Sequence[float]) -> list[float]:
    """Mean of each value and those just before it."""
    windows = [values[max(0, i - _SMOOTH + 1) : i + 1] for i in range(len(values))]
    return [sum(w) / len(w) for w in windows]
