"""The loop as a queue: documents go through their stages, servers batch what is under way."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import simpy

from autodata.plan.speed import ReplicaSpeed
from autodata.plan.workload import Call, Story
from autodata.types import Role, UserError

Steps = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Station:
    """An endpoint as it is simulated."""

    speed: ReplicaSpeed
    replicas: int
    max_in_flight: int
    gpus: int = 0  # of one replica

    @property
    def token_s(self) -> float:
        """Seconds of an engine per token that is written, with as many requests in a step as there may be."""
        return self.speed.step(self.max_in_flight) / self.max_in_flight

    def work(self, call: Call) -> float:
        """Seconds of an engine that a call takes at best: what no further batching saves."""
        return self.speed.read(call.prompt, call.is_shared) + call.completion * self.token_s


@dataclass
class SimulatedOutcome:
    """What a simulated run used."""

    seconds: float = 0.0
    calls: Counter[Role] = field(default_factory=Counter)
    prompt: Counter[Role] = field(default_factory=Counter)
    completion: Counter[Role] = field(default_factory=Counter)
    call_seconds: Counter[Role] = field(default_factory=Counter)
    work: Counter[str] = field(default_factory=Counter)  # of the engines, by endpoint
    role_work: Counter[Role] = field(default_factory=Counter)
    finished: list[float] = field(default_factory=list)  # when each document ended
    accepted: int = 0
    rounds: int = 0

    @property
    def tokens(self) -> float:
        return sum(self.prompt.values()) + sum(self.completion.values())

    def utilisation(self, name: str, station: Station) -> float:
        """Engine time that the calls need at best, as a share of what there is."""
        return self.work[name] / (self.seconds * station.replicas) if self.seconds else 0.0


class SimulatedReplica:
    """One engine. `_steps` counts the decoding steps so far; a call ends at a step that is known when it begins."""

    def __init__(self, env: simpy.Environment, speed: ReplicaSpeed):
        self.load = 0
        self._env, self._speed = env, speed
        self._waiting: list[tuple[Call, simpy.Event]] = []
        self._running: list[tuple[float, int, simpy.Event]] = []
        self._steps, self._count = 0.0, 0
        self._arrival = env.event()
        env.process(self._serve())

    def submit(self, call: Call) -> simpy.Event:
        done = self._env.event()
        self.load += 1
        self._waiting.append((call, done))
        if not self._arrival.triggered:
            self._arrival.succeed()
        return done

    def _serve(self) -> Steps:
        """Read what has come, else decode until something comes or ends."""
        while True:
            self._arrival = self._env.event()
            if self._waiting:
                yield from self._read(*self._waiting.pop(0))
            elif self._running:
                yield from self._decode()
            else:
                yield self._arrival

    def _read(self, call: Call, done: simpy.Event) -> Steps:
        yield self._env.timeout(self._speed.read(call.prompt, call.is_shared))
        self._count += 1
        heapq.heappush(self._running, (self._steps + call.completion, self._count, done))

    def _decode(self) -> Steps:
        start, each = self._env.now, self._speed.step(len(self._running))
        end = self._env.timeout(max(0.0, self._running[0][0] - self._steps) * each)
        yield end | self._arrival
        # The clock cannot tell: what is left may be too little to move it.
        self._steps = self._running[0][0] if end.processed else self._steps + (self._env.now - start) / each
        while self._running and self._running[0][0] <= self._steps:
            self.load -= 1
            heapq.heappop(self._running)[2].succeed()


class _Loop:
    def __init__(self, served: Mapping[Role, str], stations: Mapping[str, Station]):
        self.env, self.outcome = simpy.Environment(), SimulatedOutcome()
        self.served, self.stations = served, stations
        self.replicas = {
            n: [SimulatedReplica(self.env, s.speed) for _ in range(s.replicas)] for n, s in stations.items()
        }
        self.limits = {n: simpy.Resource(self.env, s.max_in_flight) for n, s in stations.items()}

    def play(self, story: Story, slots: simpy.Resource) -> Steps:
        with slots.request() as slot:
            yield slot
            for stage in story.stages:
                yield self.env.all_of([self.env.process(self._go_along(chain)) for chain in stage])
        self.outcome.finished.append(self.env.now)

    def _go_along(self, chain: Sequence[Call]) -> Steps:
        for call in chain:
            name = self.served[call.role]
            with self.limits[name].request() as slot:
                yield slot
                start = self.env.now
                yield min(self.replicas[name], key=lambda replica: replica.load).submit(call)
            self._count(call, name, self.env.now - start)

    def _count(self, call: Call, name: str, seconds: float) -> None:
        outcome, work = self.outcome, self.stations[name].work(call)
        outcome.calls[call.role] += 1
        outcome.prompt[call.role] += call.prompt
        outcome.completion[call.role] += call.completion
        outcome.call_seconds[call.role] += seconds
        outcome.work[name] += work
        outcome.role_work[call.role] += work


def simulate(
    stories: Sequence[Story], served: Mapping[Role, str], stations: Mapping[str, Station], in_flight: int
) -> SimulatedOutcome:
    """All documents to their end, `in_flight` of them at once."""
    loop = _Loop(served, stations)
    slots = simpy.Resource(loop.env, in_flight)
    for story in stories:
        loop.env.process(loop.play(story, slots))
    loop.env.run()
    loop.outcome.seconds = max(loop.outcome.finished, default=0.0)
    loop.outcome.accepted = sum(s.accepted for s in stories)
    loop.outcome.rounds = sum(s.rounds for s in stories)
    return loop.outcome


def share_gpu_seconds(
    outcome: SimulatedOutcome, served: Mapping[Role, str], stations: Mapping[str, Station]
) -> dict[Role, float]:
    """What the endpoints hold for the whole run, in proportion to the call-seconds of their roles."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for role, spent in outcome.call_seconds.items():
        seconds[served[role]] += spent
    held = {n: s.gpus * s.replicas * outcome.seconds for n, s in stations.items()}
    return {role: held[served[role]] * spent / seconds[served[role]] if spent else 0.0
            for role, spent in outcome.call_seconds.items()}  # fmt: skip


ReplicaCounts = dict[str, int]
_WORTH = 0.9  # a split is simulated when its bottleneck has at most so much of the work of the one before
_FASTER = 0.98  # and chosen over a smaller one when it takes at most so much of its time


class TooFewGpus(UserError):
    """There is no room for one replica of each; the message says how many there must be."""


def grow(stations: Mapping[str, Station], work: Mapping[str, float], gpus: int) -> Iterator[ReplicaCounts]:
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
