"""The servers of a campaign as anybody sees them: their leases, and what the replicas say of their load."""

from collections import Counter
from dataclasses import dataclass

import httpx

from autodata.serving.leases import Lease, State, Watch
from autodata.serving.limits import Load

_PATIENCE_S = 2.0


@dataclass(frozen=True)
class Serving:
    """One endpoint."""

    endpoint: str
    replicas: dict[str, int]  # by state
    load: Load  # of the replicas that answered

    def describe(self) -> str:
        ready = self.replicas.get(State.READY, 0)
        others = [f"{count} {state}" for state, count in self.replicas.items() if state != State.READY]
        silent = [f"{ready - self.load.replicas} do not answer"] if ready > self.load.replicas else []
        load = f"{self.load.running} calls under way, {self.load.waiting} waiting"
        return f"servers of {self.endpoint}: {', '.join([f'{ready} ready', *others, *silent, load])}"


def look_at_servers(watch: Watch) -> list[Serving]:
    """Each endpoint that has a replica alive."""
    leases = watch.look()
    return [_look_at(name, [lease for lease in leases if lease.endpoint == name])
            for name in sorted({lease.endpoint for lease in leases})]  # fmt: skip


def _look_at(endpoint: str, leases: list[Lease]) -> Serving:
    states = Counter(str(lease.state) for lease in leases)
    pages = [_read_metrics(lease.url) for lease in leases if lease.state == State.READY]
    return Serving(endpoint, dict(states), Load.read(page for page in pages if page is not None))


def _read_metrics(url: str) -> str | None:
    try:
        return httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=_PATIENCE_S).raise_for_status().text
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
