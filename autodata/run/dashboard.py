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


def draw(snapshot: Snapshot) -> Group:
    lines = tell_outcomes({role: cost.outcomes for role, cost in snapshot.roles.items()})
    roles = [_draw_roles(snapshot)] if snapshot.roles else []
    return Group(_draw_bar(snapshot), *roles, *(Text(line, "yellow") for line in lines))


def _draw_bar(snapshot: Snapshot) -> Table:
    row = Table.grid(padding=(0, 1))
    cells: list[RenderableType] = [Text(f"{snapshot.kind} {snapshot.state}")]
    if snapshot.total:
        cells.append(ProgressBar(snapshot.total, min(snapshot.done, snapshot.total), width=30))
    total = f"/{snapshot.total}" if snapshot.total else ""
    row.add_row(*cells, Text(f"{snapshot.done}{total} {snapshot.unit}"), Text(", ".join(_list_facts(snapshot))))
    return row


def _list_facts(snapshot: Snapshot) -> list[str]:
    facts = [] if snapshot.accepted is None else [f"{snapshot.accepted} accepted"]
    facts += [f"{name} {write_number(value)[:80]}" for name, value in snapshot.facts.items()]
    facts += [f"{count} × {name}" for name, count in snapshot.failures.items()]
    facts.append(f"{write_duration(snapshot.elapsed_s)} so far")
    if snapshot.eta_s is not None and snapshot.state not in ENDS:
        facts.append(f"about {write_duration(snapshot.eta_s)} left")
    return facts


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
