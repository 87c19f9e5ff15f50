"""Reports how far a run is: a table in a terminal, lines in a log, and progress.json for programs."""

import os
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from autodata.config import RecipeError
from autodata.recipes.models import Budget, Models
from autodata.run.folder import Run, read_manifest, tell_time
from autodata.run.records import RunError
from autodata.run.snapshot import FILE, SNAPSHOT, RoleSpeed, RunState, Snapshot, describe, draw, read_snapshot
from autodata.serving.costs import (
    LEDGER,
    Cost,
    Ledger,
    Use,
    add,
    add_usd,
    count_endpoint_gpus,
    find_spent_budget,
    price_earlier,
)
from autodata.serving.llm import Client, Draining, list_used
from autodata.types import Role

NO_LIMITS = Budget()
_EVERY_S = 1.0  # how often progress.json is written
_LINE_EVERY_S = 15.0  # how often a line is printed if there is no terminal
_WINDOW = 30  # number of measurements over which rates are averaged


class Progress:
    """Shows and stores the progress of a run once a second.

    The code that does the work updates `done`, `total`, `accepted`, `failures` and `facts`. The ledgers of `clients`
    are added to those of the run's earlier sessions and stored in the manifest. A run of several processes
    sets `read_ledger` instead, a function that returns the ledger of all of them.
    """

    def __init__(self, run: Run, unit: str, total: int = 0):
        self.unit, self.total, self.done = unit, total, 0
        self.accepted: int | None = None
        self.failures: Counter[str] = Counter()
        self.facts: dict[str, str | int | float | None] = {}
        self.clients: list[Client] = []
        self.read_ledger: Callable[[], Ledger] | None = None
        self.parts: Sequence[Snapshot] = ()  # of the processes that do the work, if this one only follows them
        self._run, self._state = run, RunState.STARTING
        self._earlier, self._earlier_s = read_earlier(run.folder)
        self._start = self._begun = self._last_line = time.monotonic()
        self._started = tell_time("milliseconds")
        self._done_before = 0  # how many were done before this session: they do not count for the rate
        self._measurements: deque[tuple[float, Ledger]] = deque(maxlen=_WINDOW)
        self._end = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._opened = ExitStack()
        run.measure_costs = self._measure_costs

    def begin(self) -> None:
        """Start measuring the rate: servers and files are ready, the work begins."""
        self._done_before, self._begun, self._state = self.done, time.monotonic(), RunState.RUNNING

    def advance(self, accepted: bool | None = None) -> None:
        """Count one more document (or other unit) as done."""
        self.done += 1
        if accepted is not None:
            self.accepted = (self.accepted or 0) + accepted

    def watch(self, client: Client, budget: Budget = NO_LIMITS, add_others: Callable[[Use], Use] = dict) -> None:
        """Add the calls of a client to the ledger; with a budget, the client drains when a limit is reached.

        `add_others` adds what other processes have used of the budget.
        """
        self.clients.append(client)
        self._earlier = price_earlier(self._earlier, client.models)
        if budget != NO_LIMITS:
            client.find_spent_budget = lambda: find_spent_budget(budget, self.ledger(), self.hours, add_others)

    @property
    def hours(self) -> float:
        """The hours that all sessions took."""
        return (self._earlier_s + time.monotonic() - self._start) / 3600

    def ledger(self) -> Ledger:
        """Return what each role has cost in all sessions and processes."""
        if self.read_ledger:
            return self.read_ledger()
        if self.parts:
            return add(part.roles for part in self.parts)
        return add([self._earlier, *(client.ledger() for client in list(self.clients))])

    def snapshot(self) -> Snapshot:
        now, ledger = time.monotonic(), self.ledger()
        then, before = self._measurements[0] if self._measurements else (self._start, self._earlier)
        seconds = max(now - then, 1e-6)
        speeds = {role: self._measure(role, cost, before.get(role, Cost()), seconds) for role, cost in ledger.items()}
        rate = (self.done - self._done_before) / max(now - self._begun, 1e-6)
        rates = {"done_per_s": round(rate, 3)}
        for name in ("calls_per_s", "tokens_per_s"):
            rates[name] = round(sum(getattr(speed, name) for speed in speeds.values()), 3)
        stops = [client.draining for client in list(self.clients)]
        stops += [part.state is RunState.DRAINING for part in self.parts]
        is_draining = self._state is RunState.RUNNING and any(stops)
        return Snapshot(
            kind=str(self._run.inputs["kind"]),
            state=RunState.DRAINING if is_draining else self._state,
            started=self._started,
            updated=tell_time("milliseconds"),
            unit=self.unit,
            done=self.done,
            total=self.total,
            accepted=self.accepted,
            rates=rates,
            eta_s=round(max(self.total - self.done, 0) / rate) if rate and self.total else None,
            elapsed_s=round(self.hours * 3600, 1),
            calls=sum(cost.calls for cost in ledger.values()),
            tokens=sum(cost.tokens for cost in ledger.values()),
            nano_usd=add_usd(ledger.values()),
            roles=ledger,
            speeds=speeds,
            in_flight=self._count_in_flight(),
            failures=dict(self.failures),
            facts=dict(self.facts),
            pid=os.getpid(),
            host=socket.gethostname(),
            slurm_job_id=os.environ.get("SLURM_JOB_ID"),
        )

    def __enter__(self) -> "Progress":
        """Write the first progress.json and start to report. Raises RunError."""
        self._write()
        if sys.stderr.isatty():
            console = Console(stderr=True)
            screen = Live(get_renderable=lambda: draw(self.snapshot()), console=console, refresh_per_second=2)
            self._opened.enter_context(screen)
        self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end.set()
        self._ticker.join()
        if kind is None:
            self._state = RunState.FINISHED if self._run.is_finished else RunState.STOPPED
        else:
            self._state = RunState.STOPPED if issubclass(kind, Draining | KeyboardInterrupt) else RunState.FAILED
        # If an error ended the run, that error is reported, not a second one.
        with self._opened, suppress(RunError) if kind else nullcontext():
            self._write()
            self._run.note()
            self._print_line()

    def _measure_costs(self) -> dict[str, object]:
        return {
            "ledger": LEDGER.dump_python(self.ledger(), mode="json"),
            "elapsed_s": round(self.hours * 3600, 1),
        }

    def _tick(self) -> None:
        while not self._end.wait(_EVERY_S):
            self._measurements.append((time.monotonic(), self.ledger()))
            with suppress(RunError):  # on a full disk the work itself fails and reports it
                self._write()
            if time.monotonic() - self._last_line > _LINE_EVERY_S:
                self._last_line = time.monotonic()
                self._print_line()

    def _print_line(self) -> None:
        if not sys.stderr.isatty():
            print(describe(self.snapshot()), flush=True)

    def _write(self) -> None:
        self._run.write(FILE, SNAPSHOT.dump_json(self.snapshot(), indent=1).decode() + "\n")

    def _measure(self, role: Role, cost: Cost, before: Cost, seconds: float) -> RoleSpeed:
        running = sum(client.accounts[role].running for client in list(self.clients) if role in client.accounts)
        running += sum(part.speeds[role].in_flight for part in self.parts if role in part.speeds)
        calls, tokens = (cost.calls - before.calls) / seconds, (cost.tokens - before.tokens) / seconds
        return RoleSpeed(running, round(calls, 3), round(tokens, 1))

    def _count_in_flight(self) -> dict[str, int]:
        in_flight: Counter[str] = Counter()
        for client in list(self.clients):
            in_flight.update({name: busy.running for name, busy in list(client.busy_at.items())})
        for part in self.parts:
            in_flight.update(part.in_flight)
        return dict(in_flight)


def check_budget(budget: Budget, models: Models) -> None:
    """Raise RecipeError for a limit that no run could ever reach."""
    if budget.gpu_hours is not None and not any(map(count_endpoint_gpus, models.endpoints.values())):
        why = "no endpoint has a server with GPUs, so there are no GPU-hours to count"
        raise RecipeError(f"budget.gpu_hours: {why}; set budget.hours, budget.calls or budget.tokens instead")
    # Whether a provider says what a reply cost is known after the first reply; no server of our own does.
    unpriced = [name for name, endpoint in list_used(models).items() if endpoint.server and endpoint.price is None]
    if budget.usd is not None and unpriced:
        why = f"a server that the command starts names no cost, and models.endpoints.{unpriced[0]}.price is not set"
        raise RecipeError(f"budget.usd: {why}; set its input and output, to 0 if its tokens cost nothing")


def read_earlier(folder: Path) -> tuple[Ledger, float]:
    """Read the cost and the seconds of a run's earlier sessions; a killed session left them only in progress.json."""
    if last := read_snapshot(folder):
        return last.roles, last.elapsed_s
    manifest = read_manifest(folder) or {}
    try:
        return LEDGER.validate_python(manifest.get("ledger") or {}), float(manifest.get("elapsed_s") or 0.0)
    except (ValidationError, TypeError, ValueError):
        return {}, 0.0
