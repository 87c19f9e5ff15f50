"""The inner loop of one document: the legal moves, and the orchestrator that makes them.

The harness owns the rules: which move is legal now, how many rounds there are, what a verdict is.
An orchestrator only chooses among legal moves, so it can neither skip a check nor bend a threshold.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

from autodata.acceptance import decide_weak, scores
from autodata.domains.base import Domain
from autodata.parsing import ParseError
from autodata.types import (
    Attempt,
    Candidate,
    Document,
    Failure,
    Quality,
    Role,
    Round,
    Trajectory,
    Verdict,
)


class Move(StrEnum):
    """What an orchestrator can do next."""

    PROPOSE = "propose"
    VERIFY = "verify"
    TRY_WEAK = "try_weak"
    TRY_STRONG = "try_strong"
    CONCLUDE = "conclude"


class IllegalMove(RuntimeError):
    """A move that is not legal now; the message lists those that are."""


class JudgeFailed(RuntimeError):
    """An attempt could not be judged, so the round has no verdict: retried when the run resumes."""


async def orchestrate(harness: "Harness") -> Trajectory:
    """The fixed orchestrator: test what is proposed, stop at the first acceptance."""
    while not harness.accepted and await harness.propose():
        for move in (harness.verify, harness.try_weak, harness.try_strong):
            if not await move():
                break
        harness.conclude()
    return harness.trajectory()


class Harness:
    """One document between orchestrator and agents.

    `earlier_failures` counts how often judging this document failed before: a judge whose replies
    were unreadable is asked afresh on resume, beyond the replies that the journal replays.
    """

    def __init__(self, domain: Domain, document: Document, arm: str, earlier_failures: int = 0):
        self.domain = domain
        self.document = document
        self.arm = arm
        self.rounds: list[Round] = []
        self._asks = (domain.config.judge_retries + 1) * (earlier_failures + 1)
        self._legal = {Move.PROPOSE}
        self._clear()

    @property
    def legal_moves(self) -> frozenset[Move]:
        return frozenset(self._legal)

    @property
    def accepted(self) -> bool:
        return bool(self.rounds) and self.rounds[-1].verdict.accepted is True

    @property
    def has_open_round(self) -> bool:
        return Move.PROPOSE not in self._legal

    async def propose(self) -> bool:
        """Ask for a new candidate. False when the rounds are used up or nothing is left."""
        self._check(Move.PROPOSE)
        if len(self.rounds) >= self.domain.config.max_rounds:
            return False
        reply = await self.domain.propose(self.document, self.rounds)
        if reply is None:
            return False
        try:
            self._candidate = self.domain.read_candidate(self.document, reply, self.rounds)
            self._legal = {Move.VERIFY}
        except ParseError as error:
            self._rejection = Verdict(False, Failure.MALFORMED, str(error))
            self._legal = {Move.CONCLUDE}
        return True

    async def verify(self) -> bool:
        """Check the candidate's quality. False when it failed (or there is no candidate)."""
        if self._rejection:
            return False
        self._check(Move.VERIFY)
        candidate = self._require_candidate()
        self._quality = await self.domain.check_quality(self.document, candidate)
        if self._quality.passed and self._quality.candidate_hash == candidate.hash:
            self._legal = {Move.TRY_WEAK}
            return True
        self._rejection = Verdict(False, Failure.LOW_QUALITY, self._quality.reason)
        self._legal = {Move.CONCLUDE}
        return False

    async def try_weak(self) -> bool:
        """Let the weak solver try. False when that alone decides against the candidate."""
        self._check(Move.TRY_WEAK)
        self._weak = await self._attempt(Role.WEAK_SOLVER)
        weak = scores(self._require_candidate(), self._weak)
        passed = any(not decide_weak(weak, gate) for gate in self.domain.config.presets.values())
        # The strong solver costs most: it is asked only where some preset still could accept.
        self._legal = {Move.TRY_STRONG, Move.CONCLUDE} if passed else {Move.CONCLUDE}
        return passed

    async def try_strong(self) -> bool:
        """Let the strong solver try."""
        self._check(Move.TRY_STRONG)
        self._strong = await self._attempt(Role.STRONG_SOLVER)
        self._legal = {Move.CONCLUDE}
        return True

    async def try_both(self) -> None:
        """Let both solvers try whatever the weak one's result: the baseline arm's only test."""
        self._check(Move.TRY_WEAK)
        tries = [self._attempt(role) for role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER)]
        self._weak, self._strong = await asyncio.gather(*tries)
        self._legal = {Move.CONCLUDE}

    def conclude(self) -> Verdict:
        """Close the round with the verdict of every preset, recomputed from booleans."""
        self._check(Move.CONCLUDE)
        config = self.domain.config
        presets = {name: self._decide(name) for name in config.presets} if self._weak else {}
        verdict = self._rejection or presets[config.preset]
        self.rounds.append(
            Round(
                number=len(self.rounds) + 1,
                candidate=self._candidate,
                quality=self._quality,
                weak=self._weak,
                strong=self._strong,
                verdict=verdict,
                presets=presets,
                duplicate_answers=count_duplicates(self._weak) + count_duplicates(self._strong),
            )
        )
        self._clear()
        self._legal = {Move.PROPOSE}
        return verdict

    def trajectory(self) -> Trajectory:
        document, preset = self.document, self.domain.config.preset
        return Trajectory(document.id, document.source, self.arm, preset, tuple(self.rounds))

    def _clear(self) -> None:
        self._candidate: Candidate | None = None
        self._quality: Quality | None = None
        self._weak: tuple[Attempt, ...] = ()
        self._strong: tuple[Attempt, ...] = ()
        self._rejection: Verdict | None = None

    def _check(self, move: Move) -> None:
        if move not in self._legal:
            raise IllegalMove(f"{move} is not legal now; legal: {', '.join(sorted(self._legal))}")

    def _require_candidate(self) -> Candidate:
        if self._candidate is None:
            raise IllegalMove("there is no candidate in this round")
        return self._candidate

    async def _attempt(self, role: Role) -> tuple[Attempt, ...]:
        number = len(self.rounds) + 1
        candidate = self._require_candidate()
        attempts = await self.domain.attempt(self.document, candidate, role, number, self._asks)
        unjudged = [a for a in attempts if a.judgement.met is None]
        if unjudged:
            raise JudgeFailed(f"round {number}, {role}: {unjudged[0].judgement.reason}")
        return attempts

    def _decide(self, preset: str) -> Verdict:
        gate = self.domain.config.presets[preset]
        return self.domain.decide(self._require_candidate(), self._weak, self._strong, gate)


def count_duplicates(attempts: Sequence[Attempt]) -> int:
    """How many answers repeat an earlier one word for word: many of them hint at shared seeds."""
    answers = Counter(a.answer for a in attempts if len(a.answer.split()) > 0)
    return sum(count - 1 for count in answers.values())
