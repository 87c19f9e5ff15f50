"""Defines the state of a run at one moment, as progress.json stores it; writes it as one line, or draws it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from autodata.serving.costs import Cost
from autodata.serving.measured import tell_outcomes
from autodata.stats.writing import DASH, write_count, write_duration, write_number, write_percent, write_usd
from autodata.types import Outcome, Role

FILE = "progress.json"
_NUMBERS = ("in flight", "calls/s", "tokens/s", "calls", "replayed", "tokens", "asked again", "GPU-hours", "cost")
# Anybody may have written the file, and a terminal shows it: control characters are removed.
PrintableText = Annotated[str, AfterValidator(lambda text: "".join(c for c in text if c.isprintable())[:200])]


class RunState(StrEnum):
    """The states of a run, in order; the last three are its possible ends."""

    STARTING = "starting"  # servers, models, files
    RUNNING = "running"
    DRAINING = "draining"  # calls in flight are finished, no new ones are started
    STOPPED = "stopped"  # not complete, on purpose
    FAILED = "failed"
    FINISHED = "finished"


ENDS = (RunState.STOPPED, RunState.FAILED, RunState.FINISHED)


@dataclass(frozen=True)
class RoleSpeed:
    """How fast one role works, over the last half minute."""

    in_flight: int = 0
    calls_per_s: float = 0.0
    tokens_per_s: float = 0.0


@with_config(ConfigDict(allow_inf_nan=False))  # no run writes them, and readers divide by these numbers
@dataclass(frozen=True)
class Snapshot:
    """The state of a run. `calls`, `tokens`, `roles` and `elapsed_s` sum all its sessions; rates are of this one."""

    kind: PrintableText
    state: RunState
    started: PrintableText  # when this session started
    updated: PrintableText
    unit: PrintableText  # the thing that `done` and `total` count
    done: int
    total: int  # 0 if not known
    accepted: int | None
    rates: dict[PrintableText, float]  # done_per_s since the start; calls_per_s, tokens_per_s over half a minute
    eta_s: int | None
    elapsed_s: float
    calls: int
    tokens: int
    roles: dict[Role, Cost]  # the cost of each role
    speeds: dict[Role, RoleSpeed]
    in_flight: dict[PrintableText, int]  # calls in flight, by endpoint
    failures: dict[PrintableText, int]
    facts: dict[PrintableText, PrintableText | int | float | None]  # further values that this kind of run reports
    pid: int
    host: PrintableText
    slurm_job_id: PrintableText | None = None
    nano_usd: int | None = None  # sums all sessions; None: what some role costs is not known


SNAPSHOT = TypeAdapter(Snapshot)


def read_snapshot(folder: Path) -> Snapshot | None:
    """Read progress.json; None if it is missing or damaged."""
    try:
        return SNAPSHOT.validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def describe(snapshot: Snapshot) -> str:
    """Write the snapshot as one line for a log."""
    replayed, speed = sum(cost.replayed for cost in snapshot.roles.values()), snapshot.rates.get("calls_per_s", 0)
    calls, tokens = write_count(snapshot.calls, "call"), write_count(snapshot.tokens, "token")
    costs = [calls, f"{replayed:,} replayed", tokens, f"{speed:.3g} calls/s"] if snapshot.roles else []
    outcomes: Counter[str] = sum((Counter(cost.outcomes) for cost in snapshot.roles.values()), Counter())
    cut_off = outcomes[Outcome.CUT_OFF]
    unmeasured = outcomes.total() - outcomes[Outcome.ANSWERED] - cut_off
    costs += [f"{cut_off:,} cut off"] * bool(cut_off) + [f"{unmeasured:,} not measured"] * bool(unmeasured)
    costs += [f"cost {write_usd(snapshot.nano_usd)}"] * bool(snapshot.roles)
    return f"{snapshot.state}: {', '.join([_tell_done(snapshot), *_list_facts(snapshot, costs)])}"


def _tell_done(snapshot: Snapshot) -> str:
    """Write how much is done: `3/8 documents`."""
    return f"{snapshot.done}{f'/{snapshot.total}' if snapshot.total else ''} {snapshot.unit}"


def _list_facts(snapshot: Snapshot, costs: Sequence[str] = (), elapsed: Sequence[str] = ()) -> list[str]:
    """List what a run reports: accepted documents, facts, `costs`, failures, `elapsed` and the time left."""
    facts = [] if snapshot.accepted is None else [f"{snapshot.accepted} accepted"]
    facts += [f"{name} {write_number(value)[:80]}" for name, value in snapshot.facts.items()]
    facts += [*costs, *(f"{count} × {name}" for name, count in snapshot.failures.items()), *elapsed]
    if snapshot.eta_s is not None and snapshot.state not in ENDS:
        facts.append(f"about {write_duration(snapshot.eta_s)} left")
    return facts


def draw(snapshot: Snapshot) -> Group:
    """Draw the snapshot for a terminal: a progress bar, and a table with one row per role."""
    lines = tell_outcomes({role: cost.outcomes for role, cost in snapshot.roles.items()})
    roles = [_draw_roles(snapshot)] if snapshot.roles else []
    return Group(_draw_bar(snapshot), *roles, *(Text(line, "yellow") for line in lines))


def _draw_bar(snapshot: Snapshot) -> Table:
    row, done, total = Table.grid(padding=(0, 1)), snapshot.done, snapshot.total
    bar = [ProgressBar(total, min(done, total), width=30)] if total else []
    facts = ", ".join(_list_facts(snapshot, elapsed=[f"{write_duration(snapshot.elapsed_s)} so far"]))
    row.add_row(Text(f"{snapshot.kind} {snapshot.state}"), *bar, Text(_tell_done(snapshot)), Text(facts))
    return row


def _draw_roles(snapshot: Snapshot) -> Table:
    table = Table("role", *(Column(name, justify="right") for name in _NUMBERS), box=None, pad_edge=False)
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
    return [
        role,
        *live,
        f"{cost.calls:,}",
        f"{cost.replayed:,}",
        f"{cost.tokens:,}",
        again,
        gpu,
        write_usd(cost.nano_usd),
    ]
