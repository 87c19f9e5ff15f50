"""Watches a training while it runs: stops it if it has gone wrong, writes its curves and reports how it goes."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback, TrainerState

from autodata.recipes.training import PreflightConfig
from autodata.report.curves import CURVES, draw_training, read_curves, save_png
from autodata.run.progress import Progress
from autodata.training.preflight import check_difference
from autodata.training.rewards.counts import Books
from autodata.types import UserError

if TYPE_CHECKING:
    from torch.nn import Module

_EVAL = "eval_"
ENTRIES = "trainer_log.jsonl"  # every entry of the trainer's log, which it would print
_ADVICE = (
    "the last checkpoint was written before that; look at the curves, then train in another folder (run=…) with a "
    "lower trainer.learning_rate"
)


class Diverged(UserError):
    """The loss or the weights are no longer finite; earlier checkpoints are intact."""


class TrainingWatch(TrainerCallback):
    """Stops a training that has gone wrong before its checkpoint is written, and keeps the curves up to date.

    `probe` runs before the first step, but inside `train`: only there is the model as it will be trained.
    """

    def __init__(self, folder: Path, limits: PreflightConfig, probe: Callable[[], None]):
        self._folder, self._limits, self._probe = folder, limits, probe

    def on_train_begin(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        """Probe the untrained model. Raises PreflightError."""
        if state.global_step == 0 and self._limits.probe:
            self._probe()

    def on_step_end(self, args: object, state: TrainerState, control: object, *, model: Module, **_: object) -> None:
        """Check the new weights before they are saved: the step's loss is that of the old ones. Raises Diverged."""
        import torch

        if not all(torch.isfinite(p).all() for p in model.parameters() if p.requires_grad):
            raise Diverged(f"step {state.global_step}: weights are no longer finite; {_ADVICE}")

    def on_log(self, args: object, state: TrainerState, control: object, logs: Mapping[str, Any], **_: object) -> None:
        """Keep the entry, then check loss, gradient norm and the weights in vLLM. Raises Diverged, PreflightError."""
        if state.is_world_process_zero:
            append_entry(logs, state.global_step, self._folder)
        for key in ("loss", "grad_norm"):
            value = logs.get(key)
            if isinstance(value, float) and not math.isfinite(value):
                raise Diverged(f"step {state.global_step}: {key} is {value}; {_ADVICE}")
        check_difference(logs, self._limits, prefix="")  # vLLM gets new weights in every step

    def on_evaluate(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        if state.is_world_process_zero:
            write_curves(state.log_history, self._folder)

    on_save = on_evaluate


class ProgressWriter(TrainerCallback):
    """Writes steps, the last reward and all judgements so far to the run's progress."""

    def __init__(self, progress: Progress, books: Books):
        self._progress, self._books = progress, books

    def on_train_begin(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        self._progress.done, self._progress.total = state.global_step, state.max_steps
        self._progress.begin()

    def on_step_end(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        self._progress.done = state.global_step

    def on_log(self, args: object, state: TrainerState, control: object, logs: Mapping[str, Any], **_: object) -> None:
        self._progress.facts |= {key: float(logs[key]) for key in ("reward", "loss") if key in logs}
        counts = self._books.gather()
        self._progress.facts["judgements"] = counts.judgements
        self._progress.failures = Counter({"failed judgements": counts.failed} if counts.failed else {})


def append_entry(logs: Mapping[str, Any], step: int, folder: Path) -> None:
    """Append an entry of the trainer's log as a line: curve.json is written only with each checkpoint."""
    with (folder / ENTRIES).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **logs}, default=str) + "\n")


def write_curves(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write curve.json, and curve.png as soon as there is something to draw."""
    (folder / CURVES).write_text(json.dumps(arrange_log(history), indent=1) + "\n", encoding="utf-8")
    if charts := draw_training(read_curves(folder)):
        save_png(charts, folder / "curve.png")


def arrange_log(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Sort the log into {"train": [entry, …], "watched": {set: [{"step", "score", "cut_off", …}, …]}, "probe": …}.

    The probe is the entry of the untrained model's answers before the first step; None if there was no probe. A step
    that was logged again after a resume counts once, as it was done last.
    """
    train = {entry["step"]: dict(entry) for entry in history if "reward" in entry}
    watched: dict[str, dict[int, dict[str, Any]]] = {}
    for entry in history:
        for key, value in entry.items():
            name, _, metric = key.removeprefix(_EVAL).partition("/")
            if key.startswith(_EVAL) and metric and f"{_EVAL}{name}/cut_off" in entry:
                watched.setdefault(name, {}).setdefault(entry["step"], {"step": entry["step"]})[metric] = value
    return {
        "train": [train[step] for step in sorted(train)],
        "probe": next((dict(entry) for entry in history if f"{_EVAL}probe/cut_off" in entry), None),
        "watched": {name: [points[step] for step in sorted(points)] for name, points in watched.items()},
    }
