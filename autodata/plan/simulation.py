"""Simulates the loop as queues: documents go through their stages, and servers batch the requests in flight."""

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import simpy

from autodata.plan.speed import ReplicaSpeed
from autodata.plan.workload import Call, Story
from autodata.recipes.models import Price
from autodata.types import WrongCall

Steps = Generator[simpy.Event, object, None]


@dataclass(frozen=True)
class Station:
    """An endpoint in the simulation. Without a speed its calls are counted, and all time is left open."""

    speed: ReplicaSpeed | None
    replicas: int
    max_in_flight: int
    gpus: int = 0  # per replica
    place: str = ""  # stations with the same place use the same GPUs; "" or the station's own name: GPUs of its own
    price: Price | None = None

    @property
    def token_s(self) -> float:
        """Engine seconds per completion token, when each step has as many requests as may be in flight."""
        return self.speed.step(self.max_in_flight) / self.max_in_flight

    def work(self, call: Call) -> float:
        """Return the engine seconds that a call takes at best, with the most batching possible."""
        return self.speed.read(call.prompt, call.is_shared) + call.completion * self.token_s


@dataclass
class SimulatedOutcome:
    """The resources that a simulated run used, and what it produced."""

    seconds: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    prompt: Counter[str] = field(default_factory=Counter)
    completion: Counter[str] = field(default_factory=Counter)
    call_seconds: Counter[str] = field(default_factory=Counter)
    work: Counter[str] = field(default_factory=Counter)  # engine seconds at best, by endpoint
    role_work: Counter[str] = field(default_factory=Counter)
    finished: list[float] = field(default_factory=list)  # when each document ended
    accepted: int = 0
    rounds: int = 0

    def count(self, call: Call, name: str, seconds: float, work: float) -> None:
        """Add a call to the endpoint `name` that took `seconds`, with waiting, and so much `work` of its engine."""
        self.calls[call.role] += 1
        self.prompt[call.role] += call.prompt
        self.completion[call.role] += call.completion
        self.call_seconds[call.role] += seconds
        self.work[name] += work
        self.role_work[call.role] += work

    @property
    def tokens(self) -> float:
        return sum(self.prompt.values()) + sum(self.completion.values())

    def utilisation(self, name: str, station: Station) -> float:
        """Return the engine time that the calls need at best, as a share of the time available."""
        return self.work[name] / (self.seconds * station.replicas) if self.seconds else 0.0


def count_held(stations: Mapping[str, Station]) -> dict[str, int]:
    """Count the GPUs of each place: a name of shared GPUs, or the name of the endpoint that has them alone."""
    held: dict[str, int] = {}
    for name, station in stations.items():
        place = station.place or name
        held[place] = max(held.get(place, 0), station.gpus * station.replicas)
    return held


class SimulatedReplica:
    """One engine. `_steps` counts the decoding steps so far; the step at which a call ends is known when it starts."""

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
        """Read the prompts that have arrived; without any, decode until a request arrives or ends."""
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
        start, step_s = self._env.now, self._speed.step(len(self._running))
        end = self._env.timeout(max(0.0, self._running[0][0] - self._steps) * step_s)
        yield end | self._arrival
        # If the timeout ended, the steps are set, not computed: a very short rest may not move the clock at all.
        self._steps = self._running[0][0] if end.processed else self._steps + (self._env.now - start) / step_s
        while self._running and self._running[0][0] <= self._steps:
            self.load -= 1
            heapq.heappop(self._running)[2].succeed()


class _Loop:
    def __init__(self, served: Mapping[str, str], stations: Mapping[str, Station], inner: int):
        self.env, self.outcome = simpy.Environment(), SimulatedOutcome()
        self.served, self.stations = served, stations
        self.replicas = {
            n: [SimulatedReplica(self.env, s.speed) for _ in range(s.replicas)] for n, s in stations.items()
        }
        self.limits = {n: simpy.Resource(self.env, s.max_in_flight) for n, s in stations.items()}
        self._inner = simpy.Resource(self.env, inner)

    def play(self, story: Story, slots: simpy.Resource) -> Steps:
        with slots.request() as slot:
            yield slot
            for stage in story.stages:
                yield self.env.all_of([self.env.process(self._go_along(chain)) for chain in stage])
        if not story.has_parts:
            self.outcome.finished.append(self.env.now)

    def _go_along(self, chain: Sequence[Call | Story]) -> Steps:
        for part in chain:
            yield from self.play(part, self._inner) if isinstance(part, Story) else self._ask(part)

    def _ask(self, call: Call) -> Steps:
        name = self.served[call.role]
        with self.limits[name].request() as slot:
            yield slot
            start = self.env.now
            yield min(self.replicas[name], key=lambda replica: replica.load).submit(call)
        self.outcome.count(call, name, self.env.now - start, self.stations[name].work(call))


def simulate(
    stories: Sequence[Story],
    served: Mapping[str, str],
    stations: Mapping[str, Station],
    in_flight: int,
    inner: int = 1,
) -> SimulatedOutcome:
    """Simulate all stories to their end: `in_flight` of them at once, and `inner` of the stories that are parts."""
    if None in [station.speed for station in stations.values()]:
        return _count(stories, served)
    loop = _Loop(served, stations, inner)
    slots = simpy.Resource(loop.env, in_flight)
    for story in stories:
        loop.env.process(loop.play(story, slots))
    loop.env.run()
    loop.outcome.seconds = max(loop.outcome.finished, default=0.0)
    return _count_ends(loop.outcome, stories)


def _count(stories: Sequence[Story], served: Mapping[str, str]) -> SimulatedOutcome:
    """Count the calls of all documents without their time."""
    outcome = SimulatedOutcome()
    for call in (call for story in stories for call in story.calls):
        outcome.count(call, served[call.role], 0.0, 0.0)
    return _count_ends(outcome, stories)


def _count_ends(outcome: SimulatedOutcome, stories: Sequence[Story]) -> SimulatedOutcome:
    outcome.accepted = sum(story.accepted for story in stories)
    outcome.rounds = sum(story.rounds for story in stories)
    return outcome


def share_gpu_seconds(
    outcome: SimulatedOutcome, served: Mapping[str, str], stations: Mapping[str, Station]
) -> dict[str, float]:
    """Share the GPU-seconds that a place holds for the whole run among its roles, in proportion to call-seconds."""
    spent, held = outcome.call_seconds, count_held(stations)
    places = {role: stations[served[role]].place or served[role] for role in spent}
    total = {place: sum(spent[role] for role in spent if places[role] == place) for place in held}
    share = {role: spent[role] / total[places[role]] if spent[role] else 0.0 for role in spent}
    return {role: held[places[role]] * outcome.seconds * share[role] for role in spent}


_WORK_SHARE = 0.9  # a split is simulated if its bottleneck has at most this share of the previous one's work
_TIME_SHARE = 0.98  # it is chosen over a smaller split if it takes at most this share of its time


class TooFewGpus(WrongCall):
    """There are too few GPUs for one replica of each endpoint; the message says how many are needed."""


def grow(stations: Mapping[str, Station], work: Mapping[str, float], gpus: int) -> Iterator[dict[str, int]]:
    """Yield splits that grow from one replica of each endpoint up to `gpus` GPUs; fewer GPUs yield a prefix of them.

    Each step adds a replica at the bottleneck, because no other addition makes a split faster. So the last split has
    the least possible work at its bottleneck. Raises TooFewGpus.
    """
    split = dict.fromkeys(stations, 1)
    held = count_held({name: replace(s, replicas=1) for name, s in stations.items()})
    used = sum(held.values())
    if used > gpus:
        each = ", ".join(f"{place} {count}" for place, count in held.items() if count)
        raise TooFewGpus(f"--gpus {gpus}: one replica of each endpoint takes {used} ({each}); give at least {used}")
    growing = [n for n in stations if stations[n].gpus and work.get(n) and stations[n].place in ("", n)]
    while used <= gpus:
        yield dict(split)
        if not growing:
            return
        slowest = max(growing, key=lambda n: work[n] / split[n])
        split[slowest] += 1
        used += stations[slowest].gpus


def choose_split(
    stations: Mapping[str, Station],
    work: Mapping[str, float],
    gpus: int,
    measure_time: Callable[[Mapping[str, Station]], float],
) -> dict[str, Station]:
    """Return the stations of the split that is fastest in the simulation."""
    best, best_time, before = dict(stations), float("inf"), float("inf")
    for split in grow(stations, work, gpus):
        heaviest = max((work.get(n, 0.0) / split[n] for n in split if stations[n].gpus), default=0.0)
        if heaviest > before * _WORK_SHARE:
            continue
        before, candidate = heaviest, {n: replace(stations[n], replicas=split[n]) for n in stations}
        if (seconds := measure_time(candidate)) < _TIME_SHARE * best_time:
            best, best_time = candidate, seconds
    return best
