"""Plays the rounds of one document: `play_round` reads from top to bottom like the paper's figure.

Whoever orchestrates, Python or a language model, calls `play_round` or `stop` and nothing else. No argument names a
solver prompt, a threshold, a judge or a file, and a verdict is computed from the judge's answers to each criterion.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from autodata.loop.acceptance import count_cut_off, decide_weak, scores
from autodata.loop.agents import gather_all
from autodata.loop.attempts import SolverStage
from autodata.loop.directing.calls import MAX_TEXT_CHARS
from autodata.loop.domain import Assessment, Domain, Unsuitable
from autodata.loop.parsing import ParseError
from autodata.recipes.generation import BASELINES
from autodata.serving.measured import NotMeasured
from autodata.types import Attempt, Candidate, Document, End, Failure, Quality, Role, Round, Trajectory, Verdict

FINAL_CHECK = "final check: "  # how the reason of such a rejection begins
Attempts = tuple[Attempt, ...]


class Harness:
    """Stands between orchestrator and agents for one document. `failures` counts its earlier failures by kind.

    In a baseline arm both solvers try every sound candidate, and the challenger hears of no earlier round.
    """

    def __init__(self, domain: Domain, document: Document, arm: str, failures: Mapping[str, int] | None = None):
        self.domain = domain.for_document(failures or {})
        self.document = document
        self.arm = arm
        self.is_baseline = arm in BASELINES
        self.rounds: list[Round] = []
        self.end: End | None = None
        self.note = ""
        self.refused: list[str] = []
        self.orchestrator = "fixed"
        # Proposals that were asked for and not tested yet; no instruction can reach them.
        self.waiting: list[Candidate | ParseError] = []
        self._gate = domain.config.presets[domain.config.preset]  # the thresholds of the preset in force

    @property
    def spent(self) -> int:
        """The tokens read and written for this document so far."""
        return sum(self.domain.agents.spent.values())

    async def prepare(self) -> None:
        """Let the domain prepare the document, once. An unsuitable document is skipped with the reason."""
        try:
            self.document = await self.domain.prepare(self.document)
        except Unsuitable as reason:
            self.stop(End.SKIPPED, str(reason))

    async def play_round(self, instruction: str = "", diagnosis: str = "") -> None:
        """Play one round in the order of the paper's Figure 2; the first step that rejects the candidate ends it.

        Raises JudgeFailed, Inconclusive and EndpointError (NotMeasured among them): then there was no round.
        """
        number, domain = len(self.rounds) + 1, self.domain
        advice = {"instruction": instruction[:MAX_TEXT_CHARS], "diagnosis": diagnosis[:MAX_TEXT_CHARS]}

        candidate = await self._propose(number, advice["instruction"])
        if candidate is None:
            return
        if isinstance(candidate, ParseError):
            verdict = Verdict(False, Failure.MALFORMED, str(candidate))
            return self._close(Round(number, None, None, (), (), verdict, **advice))

        quality = await domain.check_quality(self.document, candidate)
        refusal = None if self.is_baseline else domain.find_refusal(candidate)
        if fault := find_fault(quality, candidate) or refusal:
            verdict = Verdict(False, Failure.LOW_QUALITY, fault)
            return self._close(Round(number, candidate, quality, (), (), verdict, **advice))

        weak, strong = await self._attempt(number, candidate)

        assessment = await domain.assess(candidate, weak, strong, self._shown_rounds)

        final = await self._check_again(candidate, assessment.verdicts[domain.config.preset], strong)
        verdicts = fail_final(assessment, final, candidate)
        evidence = {
            "presets": verdicts,
            "duplicate_answers": count_duplicates(weak) + count_duplicates(strong),
            "final": final,
            "review": assessment.review,
        }
        verdict = verdicts[domain.config.preset]
        self._close(Round(number, candidate, quality, weak, strong, verdict, **evidence, **advice))

    def stop(self, end: End, note: str = "") -> None:
        """Play no further round."""
        self.end, self.note = end, note[:MAX_TEXT_CHARS]

    def trajectory(self) -> Trajectory:
        agents, outcomes = self.domain.agents, self.domain.agents.outcomes
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
            tokens=dict(sorted(agents.spent.items())),
            outcomes={role: dict(sorted(counts.items())) for role, counts in sorted(outcomes.items())},
            cached_tokens=dict(sorted(agents.cached.items())),
            reasoning_tokens=dict(sorted(agents.reasoned.items())),
        )

    # ── the steps of a round ─────────────────────────────────────────────────────────────────

    async def _propose(self, number: int, instruction: str) -> Candidate | ParseError | None:
        """Return the next proposal, or why it is none. Without any, end the document and return None."""
        try:
            if number == 1 and self.arm == "cot" and (baseline := self.domain.find_baseline(self.document)):
                return baseline
            if not self.waiting:
                self.waiting = await self.domain.propose(self.document, self._shown_rounds, number, instruction)
        except Unsuitable as reason:
            self.stop(End.SKIPPED, str(reason))
            return None
        if not self.waiting:
            self.stop(End.NOTHING_LEFT)
            return None
        return self.waiting.pop(0)

    async def _attempt(self, number: int, candidate: Candidate) -> tuple[Attempts, Attempts]:
        """Let both solvers try the candidate. After the weak one, the strong one is asked only if it can matter.

        CoT Self-Instruct ignores the verdict, so all of its proposals are measured in full.
        """
        strong: Attempts = ()
        if self.arm == "cot" or not self.domain.config.weak_first:
            roles = (Role.WEAK_SOLVER, Role.STRONG_SOLVER)
            stages = [SolverStage(self.domain, self.document, candidate, role, number) for role in roles]
            weak, strong = await gather_all([stage.play() for stage in stages])
        else:
            weak = await self._try(Role.WEAK_SOLVER, number, candidate)
            self._require_measured(candidate, weak, strong)
            if self._may_still_pass(candidate, weak):
                strong = await self._try(Role.STRONG_SOLVER, number, candidate, weak)
        self._require_measured(candidate, weak, strong)
        return weak, strong

    async def _try(self, role: Role, number: int, candidate: Candidate, weak: Attempts = ()) -> Attempts:
        """Make all attempts of a solver; with `early_stop` one by one, until the preset in force is decided."""

        def is_settled(attempts: Sequence[Attempt]) -> bool:
            both = (weak, attempts) if role is Role.STRONG_SOLVER else (attempts, ())
            return self.domain.decide(candidate, *both, self._gate).accepted is not None

        stops_early = is_settled if self.domain.config.early_stop else None
        return await SolverStage(self.domain, self.document, candidate, role, number).play(stops_early)

    def _may_still_pass(self, candidate: Candidate, weak: Attempts) -> bool:
        """Return True if some preset could still accept; only then is the strong solver run, because it costs most."""
        config, measured = self.domain.config, [a for a in weak if a.is_measured]
        if len(measured) < config.weak_attempts:
            return False
        gates = [self._gate] if config.early_stop else config.presets.values()
        cut_off = count_cut_off(measured)
        return any(not decide_weak(scores(candidate, measured), gate, cut_off) for gate in gates)

    def _require_measured(self, candidate: Candidate, weak: Attempts, strong: Attempts) -> None:
        """Raise NotMeasured where an attempt without a score could change the verdict, or stands in an accepted round.

        A baseline keeps whatever was proposed, so each of its attempts must be measured.
        """
        missing = [a for a in (*weak, *strong) if not a.is_measured]
        verdict = self.domain.decide(candidate, weak, strong, self._gate)
        if missing and (self.is_baseline or verdict.accepted is not False):
            first, role = missing[0], Role.WEAK_SOLVER if missing[0] in weak else Role.STRONG_SOLVER
            share = f"{len(missing)} of {len(weak) + len(strong)} attempts"
            problem = f"round {len(self.rounds) + 1}: {share} have no score; the first: {first.judgement.reason}"
            raise NotMeasured(problem, role, first.outcome)

    async def _check_again(self, candidate: Candidate, verdict: Verdict, strong: Attempts) -> Quality | None:
        """Check the quality once more of what may become an example (paper Sec. 3.1)."""
        if self.domain.config.final_check and (verdict.accepted or (self.is_baseline and strong)):
            return await self.domain.check_quality(self.document, candidate, attempt=1)
        return None

    def _close(self, round: Round) -> None:
        self.rounds.append(round)
        if round.verdict.accepted and not self.is_baseline:
            self.stop(End.ACCEPTED)
        elif len(self.rounds) >= self.domain.config.max_rounds:
            self.stop(End.ROUNDS_USED)

    @property
    def _shown_rounds(self) -> Sequence[Round]:
        """The earlier rounds that challengers and reviewers are told about."""
        return () if self.is_baseline else self.rounds


def find_fault(quality: Quality, candidate: Candidate) -> str | None:
    """Return why a quality check rejects the candidate, else None. A check of another candidate is none."""
    if quality.candidate_hash != candidate.hash:
        return "the check was of another candidate"
    return None if quality.passed else quality.reason or "the check failed without a reason"


def fail_final(assessment: Assessment, final: Quality | None, candidate: Candidate) -> dict[str, Verdict]:
    """Return the verdicts of all presets; a failed final check turns each acceptance into a rejection."""
    fault = final and find_fault(final, candidate)
    if not fault:
        return assessment.verdicts
    rejected = Verdict(False, Failure.LOW_QUALITY, f"{FINAL_CHECK}{fault}")
    return {name: rejected if verdict.accepted else verdict for name, verdict in assessment.verdicts.items()}


def count_duplicates(attempts: Sequence[Attempt]) -> int:
    """Count the answers that repeat an earlier one word for word: many of them hint at shared seeds."""
    answers = Counter(a.answer for a in attempts if len(a.answer.split()) > 0)
    return sum(count - 1 for count in answers.values())
