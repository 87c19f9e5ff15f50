"""The rules of one document: which moves are legal now, and what each of them does.

Whoever orchestrates, Python or a language model, acts through `Harness.make` and nothing else: no move
names a solver prompt, a threshold, a judge or a file, and a verdict follows from booleans alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from autodata.loop.acceptance import count_cut_off, decide_weak, scores
from autodata.loop.agents import gather_all
from autodata.loop.domain import Domain, Unsuitable
from autodata.loop.parsing import ParseError
from autodata.recipes.generation import BASELINES
from autodata.serving.measured import NotMeasured
from autodata.types import (
    Attempt,
    Candidate,
    Document,
    End,
    Failure,
    Quality,
    Role,
    Round,
    Trajectory,
    Verdict,
)

MAX_INSTRUCTION_CHARS = 2_000


class Move(StrEnum):
    """What can be done next, in the order in which a round goes."""

    PROPOSE = "propose"
    VERIFY = "verify"
    TRY_WEAK = "try_weak"
    TRY_STRONG = "try_strong"
    TRY_BOTH = "try_both"
    ACCEPT = "accept"
    GIVE_UP = "give_up"


class IllegalMove(RuntimeError):
    """A move that is not legal now; the message lists those that are."""


class Harness:
    """One document between orchestrator and agents; `earlier` counts its past failures by kind.

    A round opens with a candidate and closes by itself as soon as something rejects it. In a baseline
    arm both solvers try every sound candidate, and the challenger hears of no earlier round.
    """

    def __init__(self, domain: Domain, document: Document, arm: str, earlier: Mapping[str, int] | None = None):
        self.domain = domain.for_document(earlier or {})
        self.document = document
        self.arm = arm
        self.rounds: list[Round] = []
        self.end: End | None = None
        self.note = ""
        self.refused: list[str] = []
        self.orchestrator = "fixed"
        self.candidate: Candidate | None = None
        self._waiting: list[Candidate | ParseError] = []
        self._clear()

    # ── what an orchestrator sees ────────────────────────────────────────────────────────────

    @property
    def legal_moves(self) -> tuple[Move, ...]:
        """The moves that can be made now; none when the document is finished."""
        if self.end:
            return ()
        if self.candidate is None:
            may_give_up = len(self.rounds) >= self.domain.config.give_up_after
            return (Move.PROPOSE, Move.GIVE_UP) if may_give_up else (Move.PROPOSE,)
        if self.quality is None:
            return (Move.VERIFY,)
        if self.weak and self.strong:
            return (Move.ACCEPT,)
        if self.weak:
            return (Move.TRY_STRONG,)
        return (Move.TRY_WEAK,) if self._is_weak_first else (Move.TRY_BOTH,)

    @property
    def accepted(self) -> bool:
        return bool(self.rounds) and self.rounds[-1].verdict.accepted is True

    @property
    def spent(self) -> int:
        """Tokens read and written for this document so far."""
        return sum(self.domain.agents.spent.values())

    async def make(self, move: Move, instruction: str = "", diagnosis: str = "") -> None:
        """Make a legal move. Raises IllegalMove and leaves everything as it was otherwise."""
        if move not in self.legal_moves:
            legal = ", ".join(self.legal_moves) or "none, the document is finished"
            raise IllegalMove(f"{move} is not legal now; legal: {legal}")
        if move is Move.PROPOSE:
            await self._propose(instruction[:MAX_INSTRUCTION_CHARS], diagnosis[:MAX_INSTRUCTION_CHARS])
        elif move is Move.GIVE_UP:
            self.stop(End.GAVE_UP, diagnosis[:MAX_INSTRUCTION_CHARS])
        else:
            await self._test(move, self._require_candidate())

    def stop(self, end: End, note: str = "") -> None:
        """No further round."""
        self.end, self.note = end, note

    def trajectory(self) -> Trajectory:
        return Trajectory(
            document_id=self.document.id,
            document_source=self.document.source,
            arm=self.arm,
            preset=self.domain.config.preset,
            rounds=tuple(self.rounds),
            end=self.end or End.GAVE_UP,
            note=self.note,
            document_licence=str(self.document.fields.get("licence", "")),
            members=tuple(self.document.fields.get("members", ())),
            preparation=dict(self.document.fields.get("preparation", {})),
            orchestrator=self.orchestrator,
            refused=tuple(self.refused),
            tokens=dict(sorted(self.domain.agents.spent.items())),
            outcomes={role: dict(sorted(of.items())) for role, of in sorted(self.domain.agents.outcomes.items())},
        )

    # ── the moves ────────────────────────────────────────────────────────────────────────────

    async def prepare(self) -> None:
        """What a domain does once per document. An unsuitable one is skipped with its reason."""
        try:
            self.document = await self.domain.prepare(self.document)
        except Unsuitable as reason:
            self.stop(End.SKIPPED, str(reason))

    async def _propose(self, instruction: str, diagnosis: str) -> None:
        self._instruction, self._diagnosis = instruction, diagnosis
        if not self._waiting:
            try:
                self._waiting = await self._ask_challengers(instruction)
            except Unsuitable as reason:
                self.stop(End.SKIPPED, str(reason))
                return
        if not self._waiting:
            self.stop(End.NOTHING_LEFT)
            return
        proposal = self._waiting.pop(0)
        if isinstance(proposal, Candidate):
            self.candidate = proposal
        else:
            await self._close(Verdict(False, Failure.MALFORMED, str(proposal)))

    async def _ask_challengers(self, instruction: str) -> list[Candidate | ParseError]:
        given = self.domain.find_baseline(self.document) if self.arm == "cot" else None
        if given:
            return [given]
        number = len(self.rounds) + 1
        return await self.domain.propose(self.document, self._remembered, number, instruction)

    async def _test(self, move: Move, candidate: Candidate) -> None:
        if move is Move.VERIFY:
            await self._verify(candidate)
        elif move is Move.TRY_WEAK:
            self.weak = await self._attempt(Role.WEAK_SOLVER)
            self._require_measured(candidate)
            if not self._may_still_pass(candidate):
                await self._assess(candidate)
        elif move is Move.TRY_STRONG:
            self.strong = await self._attempt(Role.STRONG_SOLVER)
            self._require_measured(candidate)
            await self._assess(candidate)
        elif move is Move.TRY_BOTH:
            tries = [self._attempt(role) for role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER)]
            self.weak, self.strong = await gather_all(tries)
            self._require_measured(candidate)
            await self._assess(candidate)
        else:
            await self._close(self._verdicts[self.domain.config.preset])

    async def _verify(self, candidate: Candidate) -> None:
        self.quality = await self.domain.check_quality(self.document, candidate)
        is_bound = self.quality.candidate_hash == candidate.hash
        if not (self.quality.passed and is_bound):
            reason = self.quality.reason if is_bound else "the check was of another candidate"
            await self._close(Verdict(False, Failure.LOW_QUALITY, reason))

    async def _assess(self, candidate: Candidate) -> None:
        assessment = await self.domain.assess(candidate, self.weak, self.strong, self._remembered)
        self._verdicts, self._review = assessment.verdicts, assessment.review
        verdict = self._verdicts[self.domain.config.preset]
        if self._is_baseline or not verdict.accepted:
            await self._close(verdict)

    async def _close(self, verdict: Verdict) -> None:
        final = await self._check_again(verdict)
        if verdict.accepted and final and not final.passed:
            verdict = Verdict(False, Failure.LOW_QUALITY, f"final check: {final.reason}")
            self._verdicts = {name: verdict if preset.accepted else preset for name, preset in self._verdicts.items()}
        self.rounds.append(
            Round(
                number=len(self.rounds) + 1,
                candidate=self.candidate,
                quality=self.quality,
                weak=self.weak,
                strong=self.strong,
                verdict=verdict,
                presets=self._verdicts,
                duplicate_answers=count_duplicates(self.weak) + count_duplicates(self.strong),
                final=final,
                review=self._review,
                instruction=self._instruction,
                diagnosis=self._diagnosis,
            )
        )
        self._clear()
        if verdict.accepted and not self._is_baseline:
            self.stop(End.ACCEPTED)
        elif len(self.rounds) >= self.domain.config.max_rounds:
            self.stop(End.ROUNDS_USED)

    async def _check_again(self, verdict: Verdict) -> Quality | None:
        """The quality check once more, of what may become an example (paper Sec. 3.1)."""
        is_wanted = verdict.accepted or (self._is_baseline and self.strong)
        if self.candidate is None or not is_wanted or not self.domain.config.final_check:
            return None
        return await self.domain.check_quality(self.document, self.candidate, attempt=1)

    # ── what they rest on ────────────────────────────────────────────────────────────────────

    @property
    def _is_baseline(self) -> bool:
        return self.arm in BASELINES

    @property
    def _is_weak_first(self) -> bool:
        return self.domain.config.weak_first and not self._is_baseline

    @property
    def _stops_early(self) -> bool:
        return self.domain.config.early_stop and self._is_weak_first

    @property
    def _remembered(self) -> Sequence[Round]:
        return () if self._is_baseline else self.rounds

    def _clear(self) -> None:
        self.candidate = None
        self.quality: Quality | None = None
        self.weak: tuple[Attempt, ...] = ()
        self.strong: tuple[Attempt, ...] = ()
        self._verdicts: dict[str, Verdict] = {}
        self._review: dict[str, object] = {}
        self._instruction = self._diagnosis = ""

    def _require_candidate(self) -> Candidate:
        if self.candidate is None:
            raise IllegalMove("there is no candidate in this round")
        return self.candidate

    async def _attempt(self, role: Role) -> tuple[Attempt, ...]:
        is_settled = self._is_settled if self._stops_early else None
        number = len(self.rounds) + 1
        return await self.domain.attempt(self.document, self._require_candidate(), role, number, is_settled)

    def _is_settled(self, attempts: Sequence[Attempt]) -> bool:
        """Whether the preset in force has its verdict, the attempts of this stage being `attempts`."""
        config = self.domain.config
        weak, strong = (self.weak, attempts) if self.weak else (attempts, ())
        gate = config.presets[config.preset]
        return self.domain.decide(self._require_candidate(), weak, strong, gate).accepted is not None

    def _require_measured(self, candidate: Candidate) -> None:
        """Raise NotMeasured where an attempt without a score could change the verdict, or stands in an accepted round.

        A baseline keeps whatever was proposed, so that every one of its attempts must be measured.
        """
        missing = [a for a in (*self.weak, *self.strong) if not a.is_measured]
        config = self.domain.config
        verdict = self.domain.decide(candidate, self.weak, self.strong, config.presets[config.preset])
        if missing and (self._is_baseline or verdict.accepted is not False):
            first, role = missing[0], Role.WEAK_SOLVER if missing[0] in self.weak else Role.STRONG_SOLVER
            raise NotMeasured(f"round {len(self.rounds) + 1}: {len(missing)} of {len(self.weak) + len(self.strong)} "
                              f"attempts have no score; the first: {first.judgement.reason}", role, first.outcome
                              )  # fmt: skip

    def _may_still_pass(self, candidate: Candidate) -> bool:
        """True if some preset could still accept; only then is the strong solver run, because it costs most."""
        config, made = self.domain.config, [a for a in self.weak if a.is_measured]
        if len(made) < config.weak_attempts:
            return False
        gates = [config.presets[config.preset]] if self._stops_early else config.presets.values()
        weak, cut_off = scores(candidate, made), count_cut_off(made)
        return any(not decide_weak(weak, gate, cut_off) for gate in gates)


def count_duplicates(attempts: Sequence[Attempt]) -> int:
    """How many answers repeat an earlier one word for word: many of them hint at shared seeds."""
    answers = Counter(a.answer for a in attempts if len(a.answer.split()) > 0)
    return sum(count - 1 for count in answers.values())
