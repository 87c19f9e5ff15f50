"""Plans the runs that consist of calls: simulates them as queues, and writes what the calls take in tables."""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy
from rich.table import Table

from autodata.plan import speed
from autodata.plan.simulation import SimulatedOutcome, Station, choose_split, count_held, share_gpu_seconds, simulate
from autodata.plan.speed import ReplicaSpeed, SpeedError
from autodata.plan.workload import Story
from autodata.recipes.models import Endpoint
from autodata.serving.costs import count_gpus, find_place
from autodata.stats.writing import write_duration, write_percent

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

    def run(self, gpus: int | None) -> tuple[Mapping[str, Station], list[SimulatedOutcome]]:
        """Simulate every batch; `gpus` GPUs are first split over the endpoints. Raises TooFewGpus."""
        stations = self.stations
        if gpus is not None:
            work = self._simulate(self.batches[0], stations).work
            stations = choose_split(stations, work, gpus, lambda s: self._simulate(self.batches[0], s).seconds)
        return stations, [self._simulate(batch, stations) for batch in self.batches]

    def _simulate(self, stories: Sequence[Story], stations: Mapping[str, Station]) -> SimulatedOutcome:
        return simulate(stories, self.served, stations, self.in_flight)


@dataclass(frozen=True)
class QueuePlan:
    """The simulated runs of one recipe. `total` stories are planned, and `simulated` of them were simulated."""

    origin: str  # source of the calls
    total: int
    simulated: int
    served: Mapping[str, str]
    stations: Mapping[str, Station]
    outcomes: Sequence[SimulatedOutcome]  # one per seed

    @property
    def seconds(self) -> list[float]:
        return [self.extend(o) for o in self.outcomes]

    @property
    def gpus(self) -> int:
        return sum(count_held(self.stations).values())

    def extend(self, outcome: SimulatedOutcome) -> float:
        """Extrapolate a simulated run to the wall-clock time of all stories."""
        ends, count = sorted(outcome.finished), len(outcome.finished)
        pace = (ends[3 * count // 4] - ends[count // 4]) / max(1, 3 * count // 4 - count // 4)
        return outcome.seconds + (self.total - self.simulated) * pace

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
        low, high = numpy.percentile(self.seconds, [5, 95])
        endpoint, role = self.bottleneck
        seconds = fmean(self.seconds)
        hint = "" if self.utilisation(endpoint) > 0.5 else f"; mostly idle: {advice}"
        return {
            "calls": f"{self.sum(o.calls.total() for o in self.outcomes):,.0f}",
            "tokens": f"{self.tokens:,.0f}",
            "wall-clock": f"{write_duration(seconds)} [{write_duration(low)}, {write_duration(high)}]",
            "GPUs": str(self.gpus),
            "GPU-hours held": f"{self.gpus * seconds / 3600:,.2f}",
            "bottleneck": f"{role} at {endpoint}, {write_percent(self.utilisation(endpoint))} used{hint}",
        }

    def show(self, name: str) -> list[Table]:
        return [self._show_roles(name), show_endpoints(name, self.stations, self.utilisation)]

    def _show_roles(self, name: str) -> Table:
        head = ("role", "endpoint", "calls", "prompt tokens", "completion tokens", "GPU-hours")
        table = Table(*head, title=f"{name}: roles")
        extended = [replace(o, seconds=self.extend(o)) for o in self.outcomes]
        shares = [share_gpu_seconds(o, self.served, self.stations) for o in extended]
        for role, endpoint in self.served.items():
            columns = zip(*((o.calls[role], o.prompt[role], o.completion[role]) for o in self.outcomes), strict=True)
            hours = fmean(share.get(role, 0.0) for share in shares) / 3600
            table.add_row(role, endpoint, *(f"{self.sum(values):,.0f}" for values in columns), f"{hours:,.2f}")
        return table


def show_endpoints(name: str, stations: Mapping[str, Station], utilisation: Callable[[str], float]) -> Table:
    """Build the table of the endpoints with their speeds."""
    head = ("endpoint", "replicas", "GPUs each", "used", "tokens/s: 1 request, maximum", "source of the speed")
    table = Table(*head, title=f"{name}: endpoints")
    for endpoint, station in stations.items():
        counts, used = (str(station.replicas), str(station.gpus)), write_percent(utilisation(endpoint))
        tokens_per_s = f"{1 / station.speed.step(1):,.3g}, {1 / station.token_s:,.4g}"
        table.add_row(endpoint, *counts, used, tokens_per_s, station.speed.origin)
    return table


def build_stations(endpoints: Mapping[str, Endpoint], options: argparse.Namespace) -> dict[str, Station]:
    """Make the station of each endpoint, with its speed. Raises SpeedError."""
    speeds = speed.choose(endpoints, read_speeds(options.speed), options.like)
    return {name: make_station(name, endpoint, speeds[name]) for name, endpoint in endpoints.items()}


def make_station(name: str, endpoint: Endpoint, replica: ReplicaSpeed) -> Station:
    server = endpoint.server
    replicas, gpus = (server.replicas, count_gpus(server)) if server else (1, 0)
    return Station(replica, replicas, endpoint.max_in_flight or IN_FLIGHT, gpus, find_place(name, endpoint))


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
