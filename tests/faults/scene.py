"""A generation run under faults: its server, proxy and run folder, and the checks of the run once it is complete."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autodata.serving.journal import read_replies
from autodata.types import Role
from tests.faults.driver import Driver, Order, Process
from tests.faults.proxy import Proxy, hash_body, running
from tests.helpers.fake_server import FakeServer, Script, Scripted, completion, fake_server, play_skills
from tests.helpers.fake_world import SERVES, World, candidate
from tests.test_generate import examples_of, write_documents

ROLES = (Role.CHALLENGER, Role.QUALITY_VERIFIER, Role.ORCHESTRATOR, Role.WEAK_SOLVER, Role.STRONG_SOLVER, Role.JUDGE)
PATIENCE = 40  # how often a command is run again
TIME_OUT_S = 1.5  # for faults that hold a call for longer than this
PATIENT_S = 60.0  # for all other faults: a busy machine may reply late
HOLD = ("time_out", "trickle")
PLAN = ("leak", "too_easy", "no_better", "small_gap", "accepted", "malformed", "accepted")


class SettledWorld(World):
    """A world in which a proposal depends on the request alone."""

    def outcome(self, text: str) -> str:
        return PLAN[int(re.findall(r"Candidate (\d+):", text)[-1]) % len(PLAN)]

    def _propose(self, body: dict) -> Scripted:
        shown = [int(n) for n in re.findall(r"Candidate (\d+):", str(body["messages"]))]
        number = max(shown) + 1 if shown else body["seed"] % 100
        is_malformed = PLAN[number % len(PLAN)] == "malformed"
        return completion("no json here" if is_malformed else json.dumps(candidate(number)))


def sign(script: Script) -> Script:
    """Put the hash of the request into each reply, as its model's name."""

    def signed(body: dict, count: int) -> Scripted:
        reply = script(body, count)
        assert isinstance(reply.body, dict)
        return Scripted(reply.body | {"model": hash_body(json.dumps(body).encode())})

    return signed


@dataclass(frozen=True)
class Play:
    """A kind of run: its recipe, its documents and the script of its server."""

    script: Script
    endpoints: tuple[str, ...]
    arguments: tuple[str, ...]
    write: Callable[[Path], Path]


def _write_papers(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(4):
        (folder / f"paper{i}.txt").write_text(f"Paper {i}. " + "Flash caches wear out. " * 30)
    return folder


_SKILLS = (
    "recipes/demo/generate.yaml",
    "domain.max_rounds=3",
    "domain.presets.just_right.weak_mean_at_most=0.125",  # so that many rounds fail
    "models.endpoints.small.server=null",
)
_CS = (
    "recipes/cs/generate.yaml",
    "domain.max_rounds=3",
    *(f"models.{role}.endpoint={SERVES.get(role, 'fake')}" for role in ROLES),
)
PLAYS = {
    "skills": Play(play_skills, ("small",), _SKILLS, partial(write_documents, count=4)),
    "agent": Play(SettledWorld(PLAN), ("fake", "weak", "strong"), _CS, _write_papers),
}


@dataclass(frozen=True)
class Outcome:
    """The result of a run."""

    trajectories: list[bytes]
    examples: list[bytes]
    requests: Counter[str]


@dataclass
class Scene:
    """One run folder, its server and the proxy in front of it."""

    folder: Path
    play: str
    driver: Driver
    server: FakeServer
    proxy: Proxy
    lost: Counter[str] = field(default_factory=Counter)  # request → number of kills before its reply was stored
    shard: str = ""  # the shard to generate, as 1/3; empty for the whole run

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def arguments(self) -> list[str]:
        play = PLAYS[self.play]
        time_out_s = TIME_OUT_S if any(name in self.proxy.chances for name in HOLD) else PATIENT_S
        served = [
            f"models.endpoints.{name}.{key}"
            for name in play.endpoints
            for key in (
                f"model={name if name in ('weak', 'strong') else 'fake'}",
                f"base_url={self.proxy.url}",
                "retries=30",
                f"timeout_s={time_out_s}",
                "max_in_flight=16",
            )
        ]
        return [
            *play.arguments,
            *served,
            f"run={self.run}",
            f"documents.path={self.folder / 'docs'}",
            "max_error_rate=1.0",
            "max_unmeasured=1.0",
        ]

    def start(self, command: str = "generate", **weather: int | None) -> Process:
        part = [f"documents.shard={self.shard}"] if self.shard and command == "generate" else []
        return self.driver.start(Order([*self.arguments, *part], str(self.folder / "log"), command, **weather))

    def kill(self, process: Process, after: int, pause_s: float) -> None:
        """Kill the process `pause_s` after the server has seen `after` more requests, unless it has ended before."""
        target = len(self.server.requests) + after
        while len(self.server.requests) < target and not process.is_over:
            time.sleep(0.001)
        time.sleep(pause_s)
        process.kill()
        self.note_lost()

    def kill_half_way(self, after: int) -> None:
        """Kill a run that cannot have finished: the server answers nothing after `after` more requests."""
        before = self.killed
        for _ in range(PATIENCE):
            self._kill_held(after)
            if self.killed > before:
                return
        raise AssertionError(f"never killed half way:\n{(self.folder / 'log').read_text()[-3000:]}")

    def _kill_held(self, after: int) -> None:
        """Try to kill a run half way; this is too early if its first call is spoilt or an old request is late."""
        is_held, is_dead = threading.Event(), threading.Event()
        script, last = self.server.script, len(self.server.requests) + after

        def hold(body: dict, count: int) -> Scripted:
            if count > last and body.get("max_tokens") != 1:
                is_held.set()
                is_dead.wait()
            return script(body, count)

        self.server.script = hold
        process = self.start()
        while not is_held.is_set() and not process.is_over:
            time.sleep(0.001)
        process.kill()
        self.server.script = script
        is_dead.set()
        self.note_lost()

    @property
    def killed(self) -> int:
        """The number of sessions that were killed: the manifest has no end for them."""
        return sum("ended" not in session for session in self.sessions())

    def note_lost(self) -> None:
        """Wait for the last requests, then count those without a stored reply: each may be asked once more."""
        while self.proxy.connected or time.sleep(0.02) or self.proxy.connected:
            time.sleep(0.005)
        stored = set(self.stored())
        self.lost.update(request for request in self.requests() if request not in stored)

    def finish(self, **weather: int | None) -> int:
        """Repeat the command until it succeeds and return how often it was started."""
        for times in range(1, PATIENCE + 1):
            process = self.start(**weather)
            if process.wait() == 0:
                return times
        raise AssertionError(f"not complete after {PATIENCE} times:\n{process.output[-3000:]}")

    def check(self, straight: Outcome, is_cut: bool = False) -> None:
        """Compare a complete run with the undisturbed one; a cut journal lacks replies of finished documents."""
        outcome, sessions = self.outcome(), self.sessions()
        assert outcome.examples == straight.examples
        assert outcome.trajectories == straight.trajectories
        stored = Counter(self.stored())
        assert stored == straight.requests or (is_cut and stored < straight.requests), "every reply once, no other"
        counts = sum((Counter(s["counts"]) for s in sessions if "ended" in s), Counter())
        spoilt = self.proxy.seen - self.proxy.served
        late = sum(
            max(0, times - 1 - spoilt[request] - self.lost[request]) for request, times in outcome.requests.items()
        )
        assert late <= counts["retried_timeout"] + self.killed, "a call was repeated that was answered"
        if all("ended" in s and "problem" not in s for s in sessions):
            self._check_counts(straight, counts)

    def _check_counts(self, straight: Outcome, counts: Counter[str]) -> None:
        """Check that the manifest, the journal and the proxy count the same calls."""
        retried = sum(times for name, times in counts.items() if name.startswith("retried_"))
        seen = sum(times for request, times in self.proxy.seen.items() if request in straight.requests)
        assert counts["calls"] == len(straight.requests)
        late = counts["retried_connection"] + counts["retried_timeout"]  # may not have reached the proxy
        assert retried - late <= seen - counts["calls"] <= retried

    def outcome(self) -> Outcome:
        lines = (self.run / "trajectories.jsonl").read_bytes().splitlines()
        return Outcome(lines, examples_of(self.run), self.requests())

    def sessions(self) -> list[dict]:
        """Read the sessions of the run and of its shards; those of the current shard come last."""
        manifests = [self.run / "manifest.json", *sorted(self.run.glob("shards/*/manifest.json"))]
        contents = [json.loads(path.read_text()) for path in manifests if path.exists()]
        return [session for manifest in contents for session in manifest.get("sessions", [])]

    def requests(self) -> Counter[str]:
        """Count how often the server saw each request; probes are left out."""
        with self.server.lock:
            return Counter(hash_body(json.dumps(b).encode()) for b in self.server.requests if b.get("max_tokens") != 1)

    def stored(self) -> list[str]:
        """List the hashes of requests with a stored reply, in the journal or in those of shards not yet merged."""
        whole = self.run / "journal.sqlite"
        journals = [whole] if whole.exists() else self.run.glob("shards/*/journal.sqlite")
        return [reply.model for journal in journals for reply, _ in read_replies(journal)]


@contextmanager
def scene(folder: Path, play: str, driver: Driver, seed: int = 0, **chances: float) -> Iterator[Scene]:
    folder.mkdir(exist_ok=True)
    PLAYS[play].write(folder / "docs")
    with fake_server(sign(PLAYS[play].script)) as server, running(Proxy(server.server_port, seed, chances)) as proxy:
        yield Scene(folder, play, driver, server, proxy)
