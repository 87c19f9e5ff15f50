"""Counts what each role costs: calls, tokens and seconds, and its share of the GPU-seconds.

The GPUs of an endpoint are in use while at least one call is in flight there. Its GPU-seconds are this time multiplied
by its GPUs: tensor × data × pipeline parallel of a replica × replicas (only Slurm jobs have several). The roles that
the endpoint serves share them in proportion to their call-seconds. Endpoints with `server.shares_gpus` count as one
endpoint here. GPU-seconds are unknown (None) if the project did not start the server, or if the server has no GPUs.
Money is counted in whole nano-dollars. What a provider says that a reply cost is preferred to the endpoint's price;
without either, the dollars of a role are unknown (None).
A replayed reply costs nothing. The sessions of a run add up; after a kill -9 the last second of a session may be
missing.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import TypeAdapter

from autodata.recipes.models import Budget, Endpoint, Models, Price, Server
from autodata.serving.usage import NANO, charge
from autodata.stats.writing import write_usd
from autodata.types import Outcome, Reply, Role

_PARALLEL = ("tensor-parallel-size", "data-parallel-size", "pipeline-parallel-size")
_SHARED = "shared GPUs"
TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")  # fields of a Reply and of a Cost


@dataclass(frozen=True)
class Cost:
    """What one role of a run costs."""

    calls: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    call_seconds: float = 0.0  # sum of the calls' latencies
    asked_again: int = 0  # replies that could not be read, so the model was asked again
    retried: int = 0  # requests that got no answer and were sent again
    gpu_seconds: float | None = 0.0
    estimated: int = 0  # replies without usage; their tokens are our own estimate
    outcomes: dict[str, int] = field(default_factory=dict)  # how the calls ended, including those without an answer
    cached_tokens: int = 0  # a part of prompt_tokens
    reasoning_tokens: int = 0  # a part of completion_tokens
    nano_usd: int | None = None  # None: not known, as in the ledgers of runs made before it was recorded

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_paid(self) -> bool:
        """True if something was asked that may have a price."""
        return bool(self.calls or self.tokens)

    @property
    def is_unpriced(self) -> bool:
        """True if something was asked, and nobody knows what it cost."""
        return self.is_paid and self.nano_usd is None

    def __add__(self, other: "Cost") -> "Cost":
        mine, theirs = vars(self), vars(other)
        sums = {k: None if None in (mine[k], theirs[k]) else mine[k] + theirs[k] for k in mine if k != "outcomes"}
        outcomes = dict(Counter(self.outcomes) + Counter(other.outcomes))
        return Cost(**sums | {"nano_usd": add_usd([self, other])}, outcomes=outcomes)


def add_usd(costs: Iterable[Cost]) -> int | None:
    """Add up nano-dollars; None if a part is not known. Where nothing was asked there is nothing to know."""
    parts = [cost.nano_usd for cost in costs if cost.is_paid or cost.nano_usd is not None]
    known = [part for part in parts if part is not None]
    return sum(known) if parts and len(known) == len(parts) else None


Ledger = dict[Role, Cost]
LEDGER = TypeAdapter(Ledger)


def tell_usd(ledger: Ledger) -> dict[str, str]:
    """Write what each role cost, and all of them together; a dash if it is not known."""
    costs = {str(role): cost.nano_usd for role, cost in ledger.items()}
    return {name: write_usd(nano) for name, nano in (costs | {"all roles": add_usd(ledger.values())}).items()}


class BusyTime:
    """Measures how long at least one call was in flight."""

    def __init__(self) -> None:
        self.running = 0
        self._seconds = self._since = 0.0

    @property
    def seconds(self) -> float:
        return self._seconds + (time.monotonic() - self._since if self.running else 0.0)

    def __enter__(self) -> None:
        if not self.running:
            self._since = time.monotonic()
        self.running += 1

    def __exit__(self, *_: object) -> None:
        self.running -= 1
        if not self.running:
            self._seconds += time.monotonic() - self._since


@dataclass
class Account:
    """The counts that a client keeps for one role."""

    counts: Counter[str] = field(default_factory=Counter)
    call_seconds: float = 0.0
    running: int = 0
    charged: Counter[str] = field(default_factory=Counter)  # what the provider charged: replies and nano-dollars
    uncharged: Counter[str] = field(default_factory=Counter)  # replies and their tokens that it named no cost of

    def add(self, reply: Reply) -> None:
        """Count what a reply cost, whether or not it is an answer."""
        tokens = {kind: vars(reply)[kind] for kind in TOKENS}
        self.counts.update(tokens)
        self.counts["estimated"] += reply.is_usage_estimated
        self.call_seconds += reply.latency_s
        if reply.nano_usd is None:
            self.uncharged.update(tokens, replies=1)
        else:
            self.charged.update(replies=1, nano_usd=reply.nano_usd)

    def price(self, price: Price | None) -> int | None:
        """Return the nano-dollars of all replies; None if the provider named no cost of some and there is no price."""
        charged, uncharged = self.charged["nano_usd"], self.uncharged
        if price:
            prompt, completion, cached, _ = (uncharged[kind] for kind in TOKENS)
            return charged + charge(price, prompt, completion, cached)
        return charged if self.charged["replies"] and not uncharged["replies"] else None

    def end(self, outcome: Outcome) -> None:
        """Count the end of a call, after all its retries."""
        self.counts["calls"] += outcome is not Outcome.ERROR  # without any reply nothing was paid for
        self.counts[outcome] += 1

    @property
    def outcomes(self) -> dict[str, int]:
        return {outcome.value: self.counts[outcome] for outcome in Outcome if self.counts[outcome]}


def make_ledger(
    accounts: Mapping[Role, Account], models: Models, busy: Mapping[str, BusyTime], gpu_share: float = 1.0
) -> Ledger:
    """Compute the ledger of one session. `busy` holds the busy time of each place (see find_place)."""
    endpoints = {role: getattr(models, role).endpoint for role in accounts}
    places = {role: find_place(name, models.endpoints[name]) for role, name in endpoints.items()}
    seconds: Counter[str] = Counter()
    for role, account in accounts.items():
        seconds[places[role]] += account.call_seconds
    used: dict[str, float | None] = {}  # GPU-seconds by place
    for role, place in places.items():
        gpus = count_endpoint_gpus(models.endpoints[endpoints[role]])
        used[place] = None if gpus is None else gpu_share * gpus * (busy[place].seconds if place in busy else 0.0)
    ledger = {role: _settle(accounts[role], used[place], seconds[place]) for role, place in places.items()}
    prices = {role: models.endpoints[name].charged for role, name in endpoints.items()}
    return {role: replace(cost, nano_usd=accounts[role].price(prices[role])) for role, cost in ledger.items()}


def add(ledgers: Iterable[Ledger]) -> Ledger:
    """Add up ledgers, role by role."""
    total: Ledger = {}
    for ledger in ledgers:
        total |= {role: total.get(role, Cost()) + cost for role, cost in ledger.items()}
    return total


SUMMED = ("calls", "tokens", "gpu_hours", "usd")  # the limits of a budget that several processes use up together
Use = Mapping[str, float]


def measure_use(ledger: Ledger) -> dict[str, float]:
    """Return how much of each limit a ledger has used, apart from the hours."""
    return {
        "calls": sum(cost.calls for cost in ledger.values()),
        "tokens": sum(cost.tokens for cost in ledger.values()),
        "gpu_hours": sum(cost.gpu_seconds or 0.0 for cost in ledger.values()) / 3600,
        "usd": sum(cost.nano_usd or 0 for cost in ledger.values()) / NANO,
    }


def find_spent_budget(
    budget: Budget, ledger: Ledger, hours: float, add_others: Callable[[Use], Use] = dict
) -> str | None:
    """Say which key of the budget to raise if a limit is reached, else None. `add_others`: see SharedUse."""
    used = {**add_others(measure_use(ledger)), "hours": hours}
    if budget.usd is not None and (role := next((role for role, cost in ledger.items() if cost.is_unpriced), None)):
        unknown = f"budget.usd={budget.usd}: what {role} costs is not known"
        return f"{unknown}; set `price` of the endpoint of models.{role}, or leave out this budget"
    for key, limit in vars(budget).items():
        if limit is not None and used[key] >= limit:
            return f"budget.{key}={limit} is reached ({used[key]:.6g} used): raise it"
    return None


def price_earlier(ledger: Ledger, models: Models) -> Ledger:
    """Price what was paid for before the recipe had a price. Ledgers without cached tokens give an upper bound."""
    priced = dict(ledger)
    for role, cost in ledger.items():
        config = getattr(models, role)
        price = models.endpoints[config.endpoint].charged if config else None
        if price and cost.is_unpriced:
            usd = charge(price, cost.prompt_tokens, cost.completion_tokens, cost.cached_tokens)
            priced[role] = replace(cost, nano_usd=usd)
    return priced


def count_gpus(server: Server) -> int:
    """Count the GPUs of one replica; 0 for a server on the CPU."""
    return 0 if server.on_cpu else math.prod(int(server.flags.get(flag, 1)) for flag in _PARALLEL)


def count_endpoint_gpus(endpoint: Endpoint) -> int | None:
    """Count the GPUs of all replicas of an endpoint; None if the number is unknown."""
    if endpoint.server is None:
        return None
    return count_gpus(endpoint.server) * (endpoint.server.replicas if endpoint.leases else 1) or None


def find_place(name: str, endpoint: Endpoint) -> str:
    """Return a name for the GPUs that an endpoint uses. All servers with `shares_gpus` have the same place."""
    return _SHARED if endpoint.server and endpoint.server.shares_gpus else name


def _settle(account: Account, used: float | None, seconds: float) -> Cost:
    """Compute the cost of one role. `used` holds the GPU-seconds of its place, `seconds` all call-seconds there."""
    counts, share = account.counts, account.call_seconds / seconds if seconds else 0.0
    names = ("calls", "replayed", *TOKENS, "asked_again", "estimated")
    if not (counts["calls"] or account.outcomes):
        used = 0.0
    return Cost(
        **{name: counts[name] for name in names},
        call_seconds=round(account.call_seconds, 3),
        retried=sum(count for name, count in list(counts.items()) if name.startswith("retried_")),
        gpu_seconds=None if used is None else round(used * share, 3),
        outcomes=account.outcomes,
    )
