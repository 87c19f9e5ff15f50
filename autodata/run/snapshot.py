"""How a run stands at one moment: what progress.json holds, and a line of it for a log."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, with_config

from autodata.serving.costs import Cost
from autodata.stats.writing import write_duration, write_number
from autodata.types import Outcome, Role

FILE = "progress.json"


def _clean(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:200]


PrintableText = Annotated[str, AfterValidator(_clean)]  # shown in a terminal, and anybody may have written it


class RunState(StrEnum):
    """In the order of a run's life; the last three are its ends."""

    STARTING = "starting"  # servers, models, files
    RUNNING = "running"
    DRAINING = "draining"  # what is under way is finished, nothing is begun
    STOPPED = "stopped"  # not complete, on purpose
    FAILED = "failed"
    FINISHED = "finished"


ENDS = (RunState.STOPPED, RunState.FAILED, RunState.FINISHED)


@dataclass(frozen=True)
class RoleSpeed:
    """Of one role, over the last half minute."""

    in_flight: int = 0
    calls_per_s: float = 0.0
    tokens_per_s: float = 0.0


@with_config(ConfigDict(allow_inf_nan=False))  # no run writes them, and what shows a time or a rate divides
@dataclass(frozen=True)
class Snapshot:
    """Calls, tokens, `roles` and `elapsed_s` are of all sessions of the run; rates are of this one."""

    kind: PrintableText
    state: RunState
    started: PrintableText  # this session
    updated: PrintableText
    unit: PrintableText  # of done and total
    done: int
    total: int  # 0 where it is not known
    accepted: int | None
    rates: dict[PrintableText, float]  # done_per_s since the start; calls_per_s, tokens_per_s over half a minute
    eta_s: int | None
    elapsed_s: float
    calls: int
    tokens: int
    roles: dict[Role, Cost]  # the ledger
    speeds: dict[Role, RoleSpeed]
    in_flight: dict[PrintableText, int]  # calls under way, by endpoint
    failures: dict[PrintableText, int]
    facts: dict[PrintableText, PrintableText | int | float | None]  # what else this kind of run says
    pid: int
    host: PrintableText
    slurm_job_id: PrintableText | None = None


SNAPSHOT = TypeAdapter(Snapshot)


def read_snapshot(folder: Path) -> Snapshot | None:
    """None where there is none, or what is there is damaged."""
    try:
        return SNAPSHOT.validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def describe(now: Snapshot) -> str:
    """One line."""
    total = f"/{now.total}" if now.total else ""
    accepted = [] if now.accepted is None else [f"{now.accepted} accepted"]
    failures = [f"{count} × {name}" for name, count in now.failures.items()]
    facts = [f"{name} {write_number(value)[:80]}" for name, value in now.facts.items()]
    paid = [f"{now.calls} calls", f"{sum(cost.replayed for cost in now.roles.values())} replayed",
            f"{now.tokens} tokens", f"{now.rates.get('calls_per_s', 0):.3g} calls/s"] if now.roles else []  # fmt: skip
    unmeasured = sum(count for cost in now.roles.values() for name, count in cost.outcomes.items()
                     if name not in (Outcome.ANSWERED, Outcome.CUT_OFF))  # fmt: skip
    cut_off = sum(cost.outcomes.get(Outcome.CUT_OFF, 0) for cost in now.roles.values())
    paid += [f"{cut_off} cut off"] * bool(cut_off) + [f"{unmeasured} not measured"] * bool(unmeasured)
    left = [] if now.eta_s is None or now.state in ENDS else [f"{write_duration(now.eta_s)} left"]
    parts = [f"{now.done}{total} {now.unit}", *accepted, *facts, *paid, *failures, *left]
    return f"{now.state}: {', '.join(parts)}"
