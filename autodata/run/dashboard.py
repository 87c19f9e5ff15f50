"""Draws the current state of a run for a terminal: a progress bar, and a table with one row per role."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autodata.run.snapshot import ENDS, Snapshot
from autodata.serving.measured import tell_outcomes
from autodata.stats.writing import DASH, write_duration, write_number, write_percent
from autodata.types import Role

_COLUMNS = ("role", "in flight", "calls/s", "tokens/s", "calls", "replayed", "tokens", "asked again", "GPU-hours")


def draw(now: Snapshot) -> Group:
    outcomes = [Text(line, "yellow") for line in tell_outcomes({r: cost.outcomes for r, cost in now.roles.items()})]
    return Group(_draw_bar(now), *([_draw_roles(now)] if now.roles else []), *outcomes)


def _draw_bar(now: Snapshot) -> Table:
    row = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(f"{now.kind} {now.state}")]
    if now.total:
        cells.append(ProgressBar(now.total, min(now.done, now.total), width=30))
    total = f"/{now.total}" if now.total else ""
    row.add_row(*cells, Text(f"{now.done}{total} {now.unit}"), Text(", ".join(_list_facts(now))))
    return row


def _list_facts(now: Snapshot) -> list[str]:
    facts = [] if now.accepted is None else [f"{now.accepted} accepted"]
    facts += [f"{name} {write_number(value)[:80]}" for name, value in now.facts.items()]
    facts += [f"{count} × {name}" for name, count in now.failures.items()]
    facts.append(f"{write_duration(now.elapsed_s)} so far")
    return facts if now.eta_s is None or now.state in ENDS else [*facts, f"{write_duration(now.eta_s)} left"]


def _draw_roles(now: Snapshot) -> Table:
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for role in Role:
        if role in now.roles:
            table.add_row(*map(Text, _list_cells(now, role)))
    return table


def _list_cells(now: Snapshot, role: Role) -> list[str]:
    cost, speed = now.roles[role], now.speeds.get(role)
    read = cost.calls + cost.replayed
    again = write_percent(cost.asked_again / read if read else None, 1)
    gpu = DASH if cost.gpu_seconds is None else f"{cost.gpu_seconds / 3600:.2f}"
    live = [str(speed.in_flight), f"{speed.calls_per_s:.3g}", f"{speed.tokens_per_s:.3g}"] if speed else [DASH] * 3
    return [role, *live, str(cost.calls), str(cost.replayed), str(cost.tokens), again, gpu]
