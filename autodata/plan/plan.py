"""Estimates what a generation run will take: calls, tokens, GPU-hours, wall-clock time, and its bottleneck.

    python -m autodata.plan RECIPE [models.yaml …] [key=value …] [--like RUN] [--gpus N]
    python -m autodata.plan recipes/demo/generate.yaml --like runs/demo/agentic --what-if domain.max_rounds=8

The calls of a document are drawn from a finished run (--like) or from priors; docs/plan.md explains the tables.
"""

import argparse
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy
from rich.console import Console
from rich.table import Table

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.documents import read_corpus
from autodata.plan import speed
from autodata.plan.simulation import SimulatedOutcome, Station, choose_split, share_gpu_seconds, simulate
from autodata.plan.speed import ReplicaSpeed, SpeedError
from autodata.plan.workload import Workload, from_priors, from_run
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.costs import count_gpus
from autodata.serving.llm import role_config
from autodata.stats.writing import DASH, write_duration, write_percent
from autodata.types import Role

_IN_FLIGHT = 64  # default for max_in_flight, as in the client
# At most this many documents are simulated for each one in flight; others go at the pace of the middle half.
_SIMULATED_PER_SLOT = 4
_WIDTH = 120


@dataclass(frozen=True)
class Plan:
    """The simulated runs of one recipe."""

    workload: Workload
    documents: int
    simulated: int
    served: Mapping[Role, str]
    stations: Mapping[str, Station]
    outcomes: Sequence[SimulatedOutcome]  # one per seed

    @property
    def seconds(self) -> list[float]:
        return [self.extend(o) for o in self.outcomes]

    def extend(self, outcome: SimulatedOutcome) -> float:
        """Extrapolate a simulated run to the wall-clock time of all documents."""
        ends, count = sorted(outcome.finished), len(outcome.finished)
        pace = (ends[3 * count // 4] - ends[count // 4]) / max(1, 3 * count // 4 - count // 4)
        return outcome.seconds + (self.documents - self.simulated) * pace

    def total(self, values: Iterable[float]) -> float:
        """Return the mean of one value per seed, extrapolated to all documents."""
        return self.documents / self.simulated * fmean(values)

    def utilisation(self, name: str) -> float:
        return fmean(o.utilisation(name, self.stations[name]) for o in self.outcomes)

    @property
    def bottleneck(self) -> tuple[str, Role]:
        """The endpoint with the highest utilisation, and the role that uses it most."""
        name = max(self.stations, key=self.utilisation)
        roles = [r for r in self.served if self.served[r] == name]
        return name, max(roles, key=lambda r: sum(o.role_work[r] for o in self.outcomes))


def make_plan(recipe: GenerateRecipe, options: argparse.Namespace) -> Plan:
    """Simulate the runs of a recipe. Raises UserError."""
    if recipe.arm == "best_of_n":
        raise RecipeError("arm=best_of_n takes as many tokens as its agentic run: plan the agentic recipe instead")
    workload = from_run(recipe, options.like) if options.like else from_priors(recipe)
    count = options.documents or len(read_corpus(recipe.documents.path, recipe.documents.limit).documents)
    count = -(-count // recipe.documents.per_group)
    simulated = min(count, _SIMULATED_PER_SLOT * recipe.documents_in_flight)
    generators = [random.Random(recipe.seed + i) for i in range(options.repeats)]
    batches = [[workload.draw(rng) for _ in range(simulated)] for rng in generators]
    roles = sorted({c.role for batch in batches for story in batch for c in story.calls})
    served = {role: role_config(recipe.models, role).endpoint for role in roles}
    stations = _build(recipe, sorted(set(served.values())), options)

    def run(stories: list, split: Mapping[str, Station]) -> SimulatedOutcome:
        return simulate(stories, served, split, recipe.documents_in_flight)

    if options.gpus is not None:
        work = run(batches[0], stations).work
        stations = choose_split(stations, work, options.gpus, lambda split: run(batches[0], split).seconds)
    return Plan(workload, count, simulated, served, stations, [run(batch, stations) for batch in batches])


def _build(recipe: GenerateRecipe, names: Sequence[str], options: argparse.Namespace) -> dict[str, Station]:
    endpoints = {name: recipe.models.endpoints[name] for name in names}
    speeds = speed.choose(endpoints, _read_speeds(options.speed), options.like)
    stations = {}
    for name, endpoint in endpoints.items():
        replicas, gpus = (endpoint.server.replicas, count_gpus(endpoint.server)) if endpoint.server else (1, 0)
        stations[name] = Station(speeds[name], replicas, endpoint.max_in_flight or _IN_FLIGHT, gpus)
    return stations


def _read_speeds(arguments: Sequence[str]) -> dict[str, ReplicaSpeed]:
    speeds = {}
    for text in arguments:
        name, _, numbers = text.partition("=")
        try:
            prefill, decode, concurrency = map(float, numbers.split(","))
        except ValueError:
            raise SpeedError(f"--speed {text}: write ENDPOINT=prefill,decode,concurrency with three numbers") from None
        speeds[name] = speed.state(prefill, decode, concurrency, "stated")
    return speeds


def show(plans: Mapping[str, Plan], accepted: int | None) -> None:
    """Print the tables; in the first, each plan has a column."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    summary = Table("", *plans, title="plan")
    rows = [summarize(plan, accepted) for plan in plans.values()]
    for key in rows[0]:
        summary.add_row(key, *(row.get(key, DASH) for row in rows))
    console.print(summary)
    for name, plan in plans.items():
        console.print(_show_roles(name, plan), _show_endpoints(name, plan))


def summarize(plan: Plan, accepted: int | None) -> dict[str, str]:
    low, high = numpy.percentile(plan.seconds, [5, 95])
    gpus = sum(s.gpus * s.replicas for s in plan.stations.values())
    endpoint, role = plan.bottleneck
    tokens, hours = plan.total(o.tokens for o in plan.outcomes), fmean(plan.seconds) / 3600
    hint = "" if plan.utilisation(endpoint) > 0.5 else "; mostly idle: raise documents_in_flight"
    more = {f"{accepted:,} more accepted": forecast(plan, accepted, tokens, gpus)} if accepted else {}
    return {
        "documents": f"{plan.documents:,} ({plan.simulated:,} simulated); calls from {plan.workload.origin}",
        "rounds": f"{plan.total(o.rounds for o in plan.outcomes):,.0f}",
        "accepted": f"{plan.total(o.accepted for o in plan.outcomes):,.1f}",
        "calls": f"{plan.total(o.calls.total() for o in plan.outcomes):,.0f}",
        "tokens": f"{tokens:,.0f}",
        "wall-clock": f"{write_duration(3600 * hours)} [{write_duration(low)}, {write_duration(high)}]",
        "GPUs": str(gpus),
        "GPU-hours held": f"{gpus * hours:,.2f}",
        "bottleneck": f"{role} at {endpoint}, {write_percent(plan.utilisation(endpoint))} used{hint}",
        **more,
    }


def forecast(plan: Plan, accepted: int, tokens: float, gpus: int) -> str:
    """Estimate documents, tokens and GPU-hours for `accepted` more acceptances; a lower bound if none was accepted."""
    rate, prefix = plan.workload.acceptance, ""
    if not rate:
        rate = 1 - 0.05 ** (1 / len(plan.workload.stories))
        prefix = "no document was accepted yet, so only a lower bound (95 %): "
    needed = accepted / rate
    share = needed / plan.documents
    hours = share * fmean(plan.seconds) / 3600
    work = f"{prefix}{needed:,.0f} documents, {share * tokens:,.0f} tokens"
    return f"{work}, {hours:,.2f} h, {hours * gpus:,.2f} GPU-hours"


def _show_roles(name: str, plan: Plan) -> Table:
    head = ("role", "endpoint", "calls", "prompt tokens", "completion tokens", "GPU-hours")
    table = Table(*head, title=f"{name}: roles")
    shares = [share_gpu_seconds(replace(o, seconds=plan.extend(o)), plan.served, plan.stations) for o in plan.outcomes]
    for role, endpoint in plan.served.items():
        columns = zip(*((o.calls[role], o.prompt[role], o.completion[role]) for o in plan.outcomes), strict=True)
        hours = fmean(share.get(role, 0.0) for share in shares) / 3600
        table.add_row(role, endpoint, *(f"{plan.total(values):,.0f}" for values in columns), f"{hours:,.2f}")
    return table


def _show_endpoints(name: str, plan: Plan) -> Table:
    head = ("endpoint", "replicas", "GPUs each", "used", "tokens/s: 1 request, maximum", "source of the speed")
    table = Table(*head, title=f"{name}: endpoints")
    for endpoint, station in plan.stations.items():
        counts, used = (str(station.replicas), str(station.gpus)), write_percent(plan.utilisation(endpoint))
        tokens_per_s = f"{1 / station.speed.step(1):,.3g}, {1 / station.token_s:,.4g}"
        table.add_row(endpoint, *counts, used, tokens_per_s, station.speed.origin)
    return table


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_recipe()
    parser.add_argument("--like", type=Path, metavar="RUN", help="a finished run to draw documents and latencies from")
    count_help = "plan for N documents instead of those of the recipe"
    parser.add_argument("--documents", type=int, metavar="N", help=count_help)
    speed_help = "the speed of a server: ENDPOINT=PREFILL,DECODE,CONCURRENCY, the first two in tokens/s"
    parser.add_argument("--speed", action="append", default=[], metavar="SPEED", help=speed_help)
    parser.add_argument("--gpus", type=int, metavar="N", help="split N GPUs over the endpoints")
    parser.add_argument("--accepted", type=int, metavar="N", help="estimate the cost of N more accepted documents")
    change_help = "plan the recipe with these changes too; may be repeated"
    parser.add_argument("--what-if", action="append", nargs="+", default=[], metavar="KEY=VALUE", help=change_help)
    repeats_help = "simulate N runs, which give the interval (default: 5)"
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help=repeats_help)
    options = parser.parse_intermixed_args(arguments)
    for key in ("documents", "accepted", "repeats"):
        if (value := getattr(options, key)) is not None and value < 1:
            parser.error(f"--{key} {value}: must be at least 1")
    return options


@command.report_errors()
def main() -> None:
    options = parse()
    plans = {"recipe": make_plan(load(GenerateRecipe, options.recipe), options)}
    for changes in options.what_if:
        plans[" ".join(changes)] = make_plan(load(GenerateRecipe, [*options.recipe, *changes]), options)
    show(plans, options.accepted)
