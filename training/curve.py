"""Writes the learning curves of a training, as numbers and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autodata.report.curves import CURVES, draw_training, read_curves, save_png

_EVAL = "eval_"


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
                point = watched.setdefault(name, {}).setdefault(entry["step"], {"step": entry["step"]})
                point[metric] = value
    probe = next((dict(entry) for entry in history if f"{_EVAL}probe/cut_off" in entry), None)
    return {
        "train": [train[step] for step in sorted(train)],
        "probe": probe,
        "watched": {name: [points[step] for step in sorted(points)] for name, points in watched.items()},
    }
