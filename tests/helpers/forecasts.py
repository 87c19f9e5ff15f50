"""Writes the forecasts of docs/reproduce.md: what each table of the paper takes, and each of its steps.

`python -m tests.helpers.forecasts` renews them.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autodata.eval.tables.write import find_recipes
from autodata.reproduce.costs import forecast
from autodata.reproduce.graph import Step, build
from autodata.reproduce.request import read_request
from autodata.reproduce.slurm.joint import join
from autodata.reproduce.slurm.room import Room
from autodata.stats.writing import DASH, write_duration, write_table

PAGE = Path(__file__).parent.parent.parent / "docs" / "reproduce.md"
MODELS = "recipes/models/paper.yaml"
COLUMNS = ("wall-clock", "GPU-hours", "tokens, million")
_FORECASTS = re.compile(r"(?<=<!-- forecasts -->\n).*?(?=<!-- end -->)", re.DOTALL)


def sum_table(steps: Sequence[Step], costs: Mapping[str, Any]) -> list[str]:
    """Sum the forecasts of a table's steps; those that can run at the same time do."""
    ends: dict[str, float] = {}
    for step in steps:
        ends[step.name] = max((ends[name] for name in step.after), default=0.0) + (costs[step.name].seconds or 0.0)
    known = [costs[step.name] for step in steps if costs[step.name].seconds]
    if not known:
        return [DASH] * len(COLUMNS)
    return write_costs(max(ends.values()), sum(c.gpu_hours for c in known), sum(c.tokens for c in known))


def write_costs(seconds: float, gpu_hours: float, tokens: float) -> list[str]:
    return [write_duration(seconds), f"{gpu_hours:,.0f}", f"{tokens / 1e6:,.0f}"]


def list_steps(costs: Mapping[str, Any]) -> list[list[str]]:
    """List the steps that have a forecast; equal ones share a row."""
    rows = defaultdict(list)
    for name, cost in costs.items():
        command, _, run = name.partition(" ")
        if cost.seconds:
            rows[command, cost].append(f"`{run}`")
    return [
        [f"{command} {', '.join(runs)}", str(cost.gpus), *write_costs(cost.seconds, cost.gpu_hours, cost.tokens)]
        for (command, cost), runs in rows.items()
    ]


def write_forecasts() -> str:
    """Write both tables."""
    paths = find_recipes(Path("recipes/tables"))
    graphs = {path.stem: build(read_request([str(path), MODELS], "paper")) for path in paths}
    costs = forecast(list({step.name: step for steps in graphs.values() for step in steps}.values()))
    equal, shared = defaultdict(list), {}
    for name, steps in graphs.items():
        joined, joint_costs = join(steps, set(), costs, Room())
        equal[tuple(sum_table(joined, joint_costs))].append(f"`{name}`")
        shared |= {step.name: joint_costs[step.name] for step in joined}
    tables = [[", ".join(names), *cells] for cells, names in equal.items()]
    header = ["table", *COLUMNS]
    steps = write_table([["step", "GPUs", *COLUMNS], *list_steps(shared)])
    return f"{write_table([header, *tables])}\n\n{steps}\n"


def main() -> None:
    forecasts = write_forecasts()
    PAGE.write_text(_FORECASTS.sub(lambda _: forecasts, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
