"""The numbers of progress.json for Prometheus, over HTTP on this machine."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autodata.config import RecipeError
from autodata.snapshot import Snapshot

_BY_ROLE = {
    "calls": "calls that were answered",
    "replayed": "replies from the journal",
    "prompt_tokens": "tokens read",
    "completion_tokens": "tokens written",
    "call_seconds": "latencies of all calls",
    "asked_again": "replies that could not be read",
    "retried": "requests without an answer that were made again",
    "estimated": "replies without usage, whose tokens are estimated",
    "gpu_seconds": "GPU time with calls under way",
}


class RunCollector(Collector):
    """Reads a new snapshot for every scrape: nothing is counted twice."""

    def __init__(self, look: Callable[[], Snapshot]):
        self._look = look

    def collect(self) -> Iterator[Metric]:
        now = self._look()
        for field, help in _BY_ROLE.items():
            values = {role: getattr(cost, field) for role, cost in now.roles.items()}
            yield _count(f"autodata_{field}", help, "role", values)
        yield _count_outcomes(now)
        yield _count("autodata_failures", "what failed, by kind", "kind", now.failures)
        gauge = GaugeMetricFamily("autodata_calls_in_flight", "calls under way", labels=["endpoint"])
        for endpoint, running in now.in_flight.items():
            gauge.add_metric([endpoint], running)
        yield gauge
        counts = {"done": now.done, "total": now.total, "accepted": now.accepted}
        for name, count in counts.items():
            if count is not None:
                gauge = GaugeMetricFamily(f"autodata_units_{name}", "of what the run makes", labels=["unit"])
                gauge.add_metric([now.unit], count)
                yield gauge


@contextmanager
def serve(port: int, look: Callable[[], Snapshot]) -> Iterator[None]:
    """http://127.0.0.1:<port>/metrics. Raises RecipeError for a port that cannot be had."""
    registry = CollectorRegistry()
    registry.register(RunCollector(look))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise RecipeError(f"metrics_port={port}: {error}; choose another, or null for no metrics") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _count_outcomes(now: Snapshot) -> CounterMetricFamily:
    family = CounterMetricFamily("autodata_outcomes", "how calls ended", labels=["role", "outcome"])
    for role, cost in now.roles.items():
        for outcome, count in cost.outcomes.items():
            family.add_metric([role, outcome], count)
    return family


def _count(name: str, help: str, label: str, values: Mapping[str, float | None]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help, labels=[label])
    for value, count in values.items():
        if count is not None:
            family.add_metric([value], count)
    return family
