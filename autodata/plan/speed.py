"""Models the speed of one replica with continuous batching: a step makes one token for each request in flight.

A step of n requests takes `step_s + n * sequence_s`, so tokens per second rise with n and saturate. While the engine
reads a prompt it does nothing else. If prompts are cached, a prompt that was read before takes no time.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy

from autodata.plan.workload import PRIORS
from autodata.serving.journal import read_replies
from autodata.types import WrongCall

CHOSEN = "chosen, unmeasured"  # source of a speed that is in priors.yaml
_MIN_CALLS = 50  # needed for a fit


class SpeedError(WrongCall):
    """A server's speed is not known; the message names the option that gives it."""


@dataclass(frozen=True)
class ReplicaSpeed:
    """The speed of one replica, in seconds."""

    prompt_s: float  # per prompt token
    step_s: float
    sequence_s: float  # added to a step by each request in it
    request_s: float = 0.0  # engine time per request
    origin: str = "stated"
    caches: bool = False  # prompts read before take no time; False for a fit, whose prompt_s is a mean over both

    def step(self, running: int) -> float:
        """Return the seconds of a step in which so many requests each write a token."""
        return self.step_s + running * self.sequence_s

    def read(self, prompt: float, is_shared: bool) -> float:
        """Return the seconds that a prompt of so many tokens takes before its first step."""
        return self.request_s + (0.0 if self.caches and is_shared else prompt * self.prompt_s)


def state(prefill: float, decode: float, concurrency: float, origin: str) -> ReplicaSpeed:
    """Convert prompt tokens/s, tokens/s of a single request and the saturating concurrency. Raises SpeedError."""
    if not all(0 < number < math.inf for number in (prefill, decode, concurrency)) or concurrency < 1:
        form = "--speed ENDPOINT=prefill,decode,concurrency"
        raise SpeedError(f"{form}: use positive numbers, and a concurrency of at least 1")
    sequence_s = 1 / (decode * concurrency)
    return ReplicaSpeed(1 / prefill, 1 / decode - sequence_s, sequence_s, origin=origin)


def assume(model: str) -> ReplicaSpeed | None:
    """Look up a model's speed in priors.yaml, which is not measured. None if it is not there."""
    numbers = PRIORS["speeds"].get(model)
    return state(*numbers, origin=CHOSEN) if numbers else None


def explain_unknown(name: str) -> str:
    """Say which option gives the speed of an endpoint."""
    return f"the speed of {name} is not known; give it with --speed {name}=prefill,decode,concurrency"


def fit(work: numpy.ndarray, seconds: numpy.ndarray, origin: str) -> ReplicaSpeed:
    """Fit a speed to calls, by non-negative least squares of absolute errors; relative ones favour too high speeds.

    A row of `work` is what the engine did during a call that took so many seconds: prompt tokens read of any request,
    steps, steps × requests in flight, and requests started.
    """
    from scipy.optimize import nnls  # slow to import, needed here only

    coefficients, _ = nnls(work, seconds)
    return ReplicaSpeed(*map(float, coefficients), origin=origin)


def fit_run(folder: Path, model: str) -> ReplicaSpeed | None:
    """Fit a model's speed to the latencies in a run's journals. None if they have too few calls."""
    journals = sorted(folder.glob("journal*.sqlite"))  # a training has one for each process
    stored = [(r, at) for path in journals for r, at in read_replies(path)]
    replies = [(r, at) for r, at in stored if r.model == model and r.latency_s > 0]
    if len(replies) < _MIN_CALLS:
        return None
    rows = [(at, r.latency_s, r.prompt_tokens, r.completion_tokens) for r, at in replies]
    end, latency, prompt, steps = numpy.array(rows, dtype=float).T
    amounts = (numpy.ones(len(latency)), prompt, latency)
    started, read, running = (_spread(end, latency, amount) for amount in amounts)
    work = numpy.column_stack([read, steps, steps * running / latency, started])
    return fit(work, latency, f"fitted to {len(replies):,} calls of {folder}")


def _spread(end: numpy.ndarray, latency: numpy.ndarray, amount: numpy.ndarray) -> numpy.ndarray:
    """Spread each call's `amount` evenly over its time; return the sum that falls into the time of each call."""
    times, rates = numpy.concatenate([end - latency, end]), numpy.concatenate([amount / latency, -amount / latency])
    order = numpy.argsort(times, kind="stable")
    times, rates = times[order], numpy.cumsum(rates[order])
    total = numpy.concatenate([[0.0], numpy.cumsum(rates[:-1] * numpy.diff(times))])
    return numpy.interp(end, times, total) - numpy.interp(end - latency, times, total)


def require_used(stated: Iterable[str], names: Iterable[str]) -> None:
    """Raise SpeedError if a speed is stated for an endpoint that is not used."""
    if unknown := sorted(set(stated) - set(names)):
        raise SpeedError(f"--speed {unknown[0]}=…: the recipe uses no such endpoint; it uses {', '.join(names)}")
