"""Plans the runs that consist of calls: simulates them as queues, and writes what the calls take in tables."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isclose
from pathlib import Path
from statistics import fmean

import numpy
from rich.table import Table

from autodata.config import load
from autodata.plan import speed
from autodata.plan.server_speeds import choose
from autodata.plan.simulation import SimulatedOutcome, Station, choose_split, count_held, share_gpu_seconds, simulate
from autodata.plan.speed import ReplicaSpeed, SpeedError
from autodata.plan.workload import Story
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Endpoint, Models
from autodata.run.folder import read_manifest
from autodata.serving.costs import LEDGER, Cost, Ledger, count_gpus, find_place
from autodata.serving.usage import charge
from autodata.stats.writing import DASH, make_table, write_duration, write_percent, write_usd
from autodata.types import Role

IN_FLIGHT = 64  # default for max_in_flight, as in the client
# At most this many stories are simulated for each one in flight; others go at the pace of the middle half.
SIMULATED_PER_SLOT = 4


@dataclass(frozen=True)
class Queues:
    """What is simulated: one batch of stories per seed, who serves them, and how many stories are in flight."""

    batches: Sequence[Sequence[Story]]
    served: Mapping[str, str]  # role or grader → endpoint
    stations: Mapping[str, Station]
    in_flight: int
    inner: int = 1  # how many stories that are parts of others are in flight

    def run(self, gpus: int | None) -> tuple[Mapping[str, Station], list[SimulatedOutcome]]:
        """Simulate every batch; `gpus` GPUs are first split over the endpoints. Raises TooFewGpus, SpeedError."""
        stations = self.stations
        if gpus is not None:
            for name in list_open(stations):
                raise SpeedError(f"--gpus {gpus}: {speed.explain_unknown(name)}")
            work = self._simulate(self.batches[0], stations).work
            stations = choose_split(stations, work, gpus, lambda s: self._simulate(self.batches[0], s).seconds)
        return stations, [self._simulate(batch, stations) for batch in self.batches]

    def _simulate(self, stories: Sequence[Story], stations: Mapping[str, Station]) -> SimulatedOutcome:
        return simulate(stories, self.served, stations, self.in_flight, self.inner)


@dataclass(frozen=True)
class QueuePlan:
    """The simulated runs of one recipe. `total` stories are planned, and `simulated` of them were simulated."""

    origin: str  # source of the calls
    total: int
    simulated: int
    served: Mapping[str, str]
    stations: Mapping[str, Station]
    outcomes: Sequence[SimulatedOutcome]  # one per seed
    paid: Ledger  # costs of the run that the calls are drawn from, if any

    @property
    def is_timed(self) -> bool:
        return not list_open(self.stations)

    def cost(self, role: str) -> float | None:
        """Return the nano-dollars of a role: as much for each token as in the run, else at its price; else None.

        A role that the run never asked has calls without tokens: what they cost is not known.
        """
        prompt, completion = (
            self.sum(getattr(o, kind)[role] for o in self.outcomes) for kind in ("prompt", "completion")
        )
        price, paid = self.stations[self.served[role]].price, self.paid.get(role, Cost())
        if not prompt + completion:
            return None
        if paid.nano_usd is not None:
            return paid.nano_usd * (prompt + completion) / max(1, paid.tokens)
        cached = prompt * paid.cached_tokens / max(1, paid.prompt_tokens)
        return charge(price, prompt, completion, cached) if price else None

    @property
    def seconds(self) -> list[float]:
        return [self.extend(o) for o in self.outcomes]

    @property
    def gpus(self) -> int:
        return sum(count_held(self.stations).values())

    def extend(self, outcome: SimulatedOutcome) -> float:
        """Extrapolate a simulated run to the wall-clock time of all stories, in seconds."""
        ends, count = sorted(outcome.finished), len(outcome.finished)
        pace = (ends[3 * count // 4] - ends[count // 4]) / max(1, 3 * count // 4 - count // 4)
        return outcome.seconds + (self.total - count) * pace

    def sum(self, values: Iterable[float]) -> float:
        """Return the mean of one value per seed, extrapolated to all stories."""
        return self.total / self.simulated * fmean(values)

    @property
    def tokens(self) -> float:
        return self.sum(o.tokens for o in self.outcomes)

    def utilisation(self, name: str) -> float:
        return fmean(o.utilisation(name, self.stations[name]) for o in self.outcomes)

    @property
    def bottleneck(self) -> tuple[str, str]:
        """The endpoint with the highest utilisation, and the role that uses it most."""
        name = max(self.stations, key=self.utilisation)
        roles = [r for r in self.served if self.served[r] == name]
        return name, max(roles, key=lambda r: sum(o.role_work[r] for o in self.outcomes))

    def summarize_calls(self, advice: str) -> dict[str, str]:
        """Return the rows that generation and evaluation have in common; `advice` helps if all servers idle."""
        counts = {
            "calls": f"{self.sum(o.calls.total() for o in self.outcomes):,.0f}",
            "tokens": f"{self.tokens:,.0f}",
            "cost": self._tell_cost(),
        }
        return counts | (self._tell_time(advice) if self.is_timed else self._leave_time_open())

    def _tell_cost(self) -> str:
        """Write what all calls cost, or those of the roles with a known price."""
        costs = {role: self.cost(role) for role in self.served}
        known, unknown = [c for c in costs.values() if c is not None], [r for r, c in costs.items() if c is None]
        if not known:
            return DASH
        return f"at least {write_usd(sum(known))}, without {', '.join(unknown)}" if unknown else write_usd(sum(known))

    def _leave_time_open(self) -> dict[str, str]:
        unknown = "; ".join(map(speed.explain_unknown, list_open(self.stations)))
        hours = DASH if self.gpus else "0.00"
        return {
            "wall-clock": f"{DASH}; {unknown}",
            "GPUs": str(self.gpus),
            "GPU-hours held": hours,
            "bottleneck": DASH,
        }

    def _tell_time(self, advice: str) -> dict[str, str]:
        low, high = numpy.percentile(self.seconds, [5, 95])
        endpoint, role = self.bottleneck
        seconds = fmean(self.seconds)
        hint = "" if self.utilisation(endpoint) > 0.5 else f"; mostly idle: {advice}"
        return {
            "wall-clock": f"{write_duration(seconds)} [{write_duration(low)}, {write_duration(high)}]",
            "GPUs": str(self.gpus),
            "GPU-hours held": f"{self.gpus * seconds / 3600:,.2f}",
            "bottleneck": f"{role} at {endpoint}, {write_percent(self.utilisation(endpoint))} used{hint}",
        }

    def show(self, name: str) -> list[Table]:
        used = self.utilisation if self.is_timed else None
        return [self._show_roles(name), show_endpoints(name, self.stations, used)]

    def _show_roles(self, name: str) -> Table:
        head = ("role", "endpoint", "calls", "prompt tokens", "completion tokens", "cost", "GPU-hours")
        table = make_table(*head, title=f"{name}: roles")
        extended = [replace(o, seconds=self.extend(o)) for o in self.outcomes] if self.is_timed else []
        shares = [share_gpu_seconds(o, self.served, self.stations) for o in extended]
        for role, endpoint in self.served.items():
            columns = zip(*((o.calls[role], o.prompt[role], o.completion[role]) for o in self.outcomes), strict=True)
            calls, *tokens = (self.sum(values) for values in columns)
            counts = [f"{calls:,.0f}", *(f"{count:,.0f}" if any(tokens) else DASH for count in tokens)]
            hours = f"{fmean(share.get(role, 0.0) for share in shares) / 3600:,.2f}" if shares else DASH
            table.add_row(role, endpoint, *counts, write_usd(self.cost(role)), hours)
        return table


def list_open(stations: Mapping[str, Station]) -> list[str]:
    """List the endpoints whose speed is not known."""
    return [name for name, station in stations.items() if station.speed is None]


def show_endpoints(name: str, stations: Mapping[str, Station], utilisation: Callable[[str], float] | None) -> Table:
    """Build the table of the endpoints with their speeds. `utilisation` is None if the time is left open."""
    head = ("endpoint", "replicas", "GPUs each", "used", "tokens/s: 1 request, maximum", "source of the speed")
    table = make_table(*head, title=f"{name}: endpoints")
    for endpoint, station in stations.items():
        counts, used = (str(station.replicas), str(station.gpus)), utilisation(endpoint) if utilisation else None
        table.add_row(endpoint, *counts, write_percent(used), *_tell_speed(station))
    return table


def _tell_speed(station: Station) -> tuple[str, str]:
    """Write the speed of an endpoint, and where it comes from."""
    if station.speed is None:
        return DASH, "not known"
    if not station.speed.step(1):  # calls of equal lengths cannot tell tokens from prompts
        return "not told apart from prompts", station.speed.origin
    return f"{1 / station.speed.step(1):,.3g}, {1 / station.token_s:,.4g}", station.speed.origin


def build_stations(endpoints: Mapping[str, Endpoint], options: argparse.Namespace) -> dict[str, Station]:
    """Make the station of each endpoint, with its speed if that is known. Raises SpeedError."""
    speeds = choose(endpoints, read_speeds(options.speed), options.like, options.runs)
    return {name: make_station(name, endpoint, speeds[name]) for name, endpoint in endpoints.items()}


def make_station(name: str, endpoint: Endpoint, replica: ReplicaSpeed | None) -> Station:
    server = endpoint.server
    replicas, gpus = (server.replicas, count_gpus(server)) if server else (1, 0)
    most, place = endpoint.max_in_flight or IN_FLIGHT, find_place(name, endpoint)
    return Station(replica, replicas, most, gpus, place, endpoint.charged)


def read_paid(like: Path | None, schema: type[GenerateRecipe | EvalRecipe], models: Models) -> Ledger:
    """Read what a run of --like paid; nothing if there is none, or no ledger.

    At an endpoint with a price, only dollars that the provider named say more than that price; others are left out.
    """
    ledger = LEDGER.validate_python((read_manifest(like) or {}).get("ledger") or {}) if like else {}
    if not (like and ledger):
        return ledger
    made_by = load(schema, [str(like / "recipe.yaml")]).models
    return {
        role: cost if _is_named(cost, role, made_by, models) else replace(cost, nano_usd=None)
        for role, cost in ledger.items()
    }


def _is_named(cost: Cost, role: Role, made_by: Models, models: Models) -> bool:
    """True if the provider named a cost of the same model, or the recipe has no price to be preferred to the run's."""
    then, now = (_find_endpoint(role, served) for served in (made_by, models))
    if not (now and now.charged) or not then or cost.nano_usd is None:
        return True
    if then.model != now.model:
        return False
    computed = then.charged and charge(then.charged, cost.prompt_tokens, cost.completion_tokens, cost.cached_tokens)
    return computed is None or not isclose(computed, cost.nano_usd, rel_tol=1e-6, abs_tol=10)


def _find_endpoint(role: Role, models: Models) -> Endpoint | None:
    config = getattr(models, role)
    return models.endpoints.get(config.endpoint) if config else None


def read_speeds(arguments: Sequence[str]) -> dict[str, ReplicaSpeed]:
    """Read the values of --speed, by endpoint. Raises SpeedError."""
    speeds = {}
    for text in arguments:
        name, _, numbers = text.partition("=")
        try:
            prefill, decode, concurrency = map(float, numbers.split(","))
        except ValueError:
            raise SpeedError(f"--speed {text}: write ENDPOINT=prefill,decode,concurrency with three numbers") from None
        speeds[name] = speed.state(prefill, decode, concurrency, "stated")
    return speeds
