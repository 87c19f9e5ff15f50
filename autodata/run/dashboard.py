"""Draws the current state of a run for a terminal: a progress bar, and a table with one row per role."""

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from autodata.run.snapshot import Snapshot, list_facts, tell_done
from autodata.serving.measured import tell_outcomes
from autodata.stats.writing import DASH, write_duration, write_percent
from autodata.types import Role

_COLUMNS = ("role", "in flight", "calls/s", "tokens/s", "calls", "replayed", "tokens", "asked again", "GPU-hours")


def draw(snapshot: Snapshot) -> Group:
    lines = tell_outcomes({role: cost.outcomes for role, cost in snapshot.roles.items()})
    roles = [_draw_roles(snapshot)] if snapshot.roles else []
    return Group(_draw_bar(snapshot), *roles, *(Text(line, "yellow") for line in lines))


def _draw_bar(snapshot: Snapshot) -> Table:
    row = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(f"{snapshot.kind} {snapshot.state}")]
    if snapshot.total:
        cells.append(ProgressBar(snapshot.total, min(snapshot.done, snapshot.total), width=30))
    facts = list_facts(snapshot, elapsed=[f"{write_duration(snapshot.elapsed_s)} so far"])
    row.add_row(*cells, Text(tell_done(snapshot)), Text(", ".join(facts)))
    return row


def _draw_roles(snapshot: Snapshot) -> Table:
    table = Table(*_COLUMNS, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for role in Role:
        if role in snapshot.roles:
            table.add_row(*map(Text, _list_cells(snapshot, role)))
    return table


def _list_cells(snapshot: Snapshot, role: Role) -> list[str]:
    cost, speed = snapshot.roles[role], snapshot.speeds.get(role)
    read = cost.calls + cost.replayed
    again = write_percent(cost.asked_again / read if read else None, 1)
    gpu = DASH if cost.gpu_seconds is None else f"{cost.gpu_seconds / 3600:.2f}"
    live = [str(speed.in_flight), f"{speed.calls_per_s:.3g}", f"{speed.tokens_per_s:.3g}"] if speed else [DASH] * 3
    return [role, *live, f"{cost.calls:,}", f"{cost.replayed:,}", f"{cost.tokens:,}", again, gpu]
