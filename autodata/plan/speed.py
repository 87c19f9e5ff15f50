"""How fast one replica is: continuous batching, where a step makes one token for each request under way.

A step of n requests takes `step_s + n * sequence_s`, so tokens per second rise with n and saturate. Reading a prompt
takes the engine for itself; where prompts are cached, one that was read before takes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from autodata.plan.workload import PRIORS
from autodata.recipes.models import Endpoint
from autodata.serving.journal import read_replies
from autodata.types import UserError

_ENOUGH = 50  # calls for a fit


class SpeedError(UserError):
    """A server's speed is not known; the message names what to state."""


@dataclass(frozen=True)
class ReplicaSpeed:
    """Seconds of one replica."""

    prompt_s: float  # per token that is read
    step_s: float
    sequence_s: float  # more for each request in a step
    request_s: float = 0.0  # of the engine, per request
    origin: str = "stated"
    caches: bool = False  # prompts that were read before; a fit to a run needs no such flag: prompt_s is then a mean

    def step(self, running: int) -> float:
        return self.step_s + running * self.sequence_s

    def read(self, prompt: float, is_shared: bool) -> float:
        return self.request_s + (0.0 if self.caches and is_shared else prompt * self.prompt_s)


@dataclass(frozen=True)
class TimedCalls:
    """A call, or a burst of equal ones: how long it took and what went on meanwhile."""

    seconds: float
    requests: float  # begun on the engine meanwhile
    prompt: float  # tokens read meanwhile, by anybody
    steps: float
    sequences: float  # steps × requests under way


def state(prefill: float, decode: float, concurrency: float, origin: str) -> ReplicaSpeed:
    """From prompt tokens/s, tokens/s of one request alone, and how many requests saturate it. Raises SpeedError."""
    if min(prefill, decode) <= 0 or concurrency < 1:
        raise SpeedError("--speed ENDPOINT=prefill,decode,concurrency: positive numbers, concurrency at least 1")
    each = 1 / (decode * concurrency)
    return ReplicaSpeed(1 / prefill, 1 / decode - each, each, origin=origin)


def assume(name: str, endpoint: Endpoint) -> ReplicaSpeed:
    """The unmeasured table's. Raises SpeedError."""
    if endpoint.model not in PRIORS["speeds"]:
        raise SpeedError(
            f"models.endpoints.{name} ({endpoint.model}): its speed is not known; state it with "
            f"--speed {name}=prefill,decode,concurrency"
        )
    return state(*PRIORS["speeds"][endpoint.model], origin="chosen, unmeasured")


def fit(samples: Sequence[TimedCalls], origin: str) -> ReplicaSpeed:
    """Non-negative least squares; of absolute errors, for relative ones favour what is too fast."""
    from scipy.optimize import nnls  # slow to import, needed here only

    rows = numpy.array([[s.prompt, s.steps, s.sequences, s.requests] for s in samples])
    seconds = numpy.array([s.seconds for s in samples])
    found, _ = nnls(rows, seconds)
    return ReplicaSpeed(*map(float, found), origin=origin)


def fit_run(folder: Path, model: str) -> ReplicaSpeed | None:
    """From the latencies in a run's journal; None where it tells too little."""
    path = folder / "journal.sqlite"
    if not path.exists():
        return None
    replies = [(r, at) for r, at in read_replies(path) if r.model == model and r.latency_s > 0]
    if len(replies) < _ENOUGH:
        return None
    end = numpy.array([at for _, at in replies], dtype=float)
    took = numpy.array([r.latency_s for r, _ in replies])
    prompt = numpy.array([r.prompt_tokens for r, _ in replies], dtype=float)
    steps = numpy.array([r.completion_tokens for r, _ in replies], dtype=float)
    begun, read, running = (_spread(end, took, amount) for amount in (numpy.ones(len(took)), prompt, took))
    samples = [TimedCalls(*row) for row in zip(took, begun, read, steps, steps * running / took, strict=True)]
    return fit(samples, f"fitted to {len(replies)} calls of {folder}")


def _spread(end: numpy.ndarray, took: numpy.ndarray, amount: numpy.ndarray) -> numpy.ndarray:
    """What of the `amount` of all calls, each evenly over its time, falls into the time of each call."""
    times, rates = numpy.concatenate([end - took, end]), numpy.concatenate([amount / took, -amount / took])
    order = numpy.argsort(times, kind="stable")
    times, rates = times[order], numpy.cumsum(rates[order])
    total = numpy.concatenate([[0.0], numpy.cumsum(rates[:-1] * numpy.diff(times))])
    return numpy.interp(end, times, total) - numpy.interp(end - took, times, total)


def choose(
    endpoints: Mapping[str, Endpoint], stated: Mapping[str, ReplicaSpeed], like: Path | None
) -> dict[str, ReplicaSpeed]:
    """Of each endpoint: what was stated, else fitted to the run, else assumed. Raises SpeedError."""
    unknown = sorted(set(stated) - set(endpoints))
    if unknown:
        raise SpeedError(f"--speed {unknown[0]}=…: no such endpoint; there are {', '.join(endpoints)}")

    def find(name: str, endpoint: Endpoint) -> ReplicaSpeed:
        if name in stated:
            return stated[name]
        return assume(name, endpoint)

    def one(name: str, endpoint: Endpoint) -> ReplicaSpeed:
        if like and name not in stated and (fitted := fit_run(like, endpoint.model)):
            return fitted
        caches = bool(endpoint.server and endpoint.server.flags.get("enable-prefix-caching"))
        return replace(find(name, endpoint), caches=caches)

    return {name: one(name, endpoint) for name, endpoint in endpoints.items()}
