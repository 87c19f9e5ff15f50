"""How to split GPUs over endpoints: one replica more, again and again, for the one that holds up the others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from autodata.plan.simulation import Station

Split = dict[str, int]
_WORTH = 0.9  # a split is simulated when its bottleneck has at most so much of the work of the one before
_FASTER = 0.98  # and chosen over a smaller one when it takes at most so much of its time


class TooFewGpus(ValueError):
    """There is no room for one replica of each; the message says how many there must be."""


def grow(stations: Mapping[str, Station], work: Mapping[str, float], gpus: int) -> Iterator[Split]:
    """Splits from one replica of each up to `gpus`; those of fewer GPUs are the first of those of more.

    Each step serves the bottleneck, without which no larger split is faster, so the last has the least possible work
    at its bottleneck. Raises TooFewGpus.
    """
    split = {name: 1 for name in stations}
    used = sum(s.gpus for s in stations.values())
    if used > gpus:
        each = ", ".join(f"{name} {s.gpus}" for name, s in stations.items() if s.gpus)
        raise TooFewGpus(f"--gpus {gpus}: one replica of each endpoint takes {used} ({each}); give at least {used}")
    while True:
        yield dict(split)
        growing = [n for n in stations if stations[n].gpus and work.get(n)]
        if not growing:
            return
        slowest = max(growing, key=lambda n: work[n] / split[n])
        if used + stations[slowest].gpus > gpus:
            return
        split[slowest] += 1
        used += stations[slowest].gpus


def choose_split(
    stations: Mapping[str, Station], work: Mapping[str, float], gpus: int,
    time_of: Callable[[Mapping[str, Station]], float],
) -> dict[str, Station]:  # fmt: skip
    """The stations of the fastest split, as simulated."""
    best, best_time, before = dict(stations), float("inf"), float("inf")
    for split in grow(stations, work, gpus):
        heaviest = max((work.get(n, 0.0) / split[n] for n in split if stations[n].gpus), default=0.0)
        if heaviest > before * _WORTH:
            continue
        before, sized = heaviest, {n: replace(stations[n], replicas=split[n]) for n in stations}
        if (took := time_of(sized)) < _FASTER * best_time:
            best, best_time = sized, took
    return best
