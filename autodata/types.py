"""The records of the project, in the order they are made."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter


class UserError(Exception):
    """A problem that the user can mend; the message names what to change."""

    exit_code = 1  # the exit code of a command that ends with this error


class Role(StrEnum):
    """Who a model call is for."""

    CHALLENGER = "challenger"
    QUALITY_VERIFIER = "quality_verifier"
    ORCHESTRATOR = "orchestrator"
    WEAK_SOLVER = "weak_solver"
    STRONG_SOLVER = "strong_solver"
    JUDGE = "judge"
    ANALYSER = "analyser"  # of meta-optimisation, as the next one
    EDITOR = "editor"


class Outcome(StrEnum):
    """How a model call ended. One closed list from the client to the tables.

    An answer, an answer that ran into its budget, or not measured: then it has no score and is stored nowhere as an
    answer.
    """

    ANSWERED = "answered"
    CUT_OFF = "cut_off"  # the model used up max_tokens: without final content it scores 0 (paper Sec. 4), labelled
    # Everything below is not measured.
    CONTEXT_OVERFLOW = "context_overflow"  # prompt, or prompt and max_tokens, do not fit the server
    REFUSED = "refused"
    ABORTED = "aborted"  # the server stopped it, or gave a finish reason that is not known to end an answer
    ERROR = "error"  # no reply at all: HTTP errors, time-outs
    EMPTY = "empty"  # ended by itself, without content
    UNREADABLE = "unreadable"  # a judge or verifier whose replies never held the verdict that was asked for

    @property
    def is_measured(self) -> bool:
        return self in (Outcome.ANSWERED, Outcome.CUT_OFF)

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")

    @classmethod
    def _missing_(cls, value: object) -> "Outcome | None":
        """The names of records made before "cut_off" and "not measured" were told apart."""
        return {"ok": cls.ANSWERED, "truncated": cls.CUT_OFF, "refusal": cls.REFUSED, "timeout": cls.ERROR,
                "infrastructure": cls.ERROR}.get(str(value))  # fmt: skip


class Failure(StrEnum):
    """Why a candidate was not accepted."""

    TOO_EASY = "too_easy"
    NO_SIGNAL = "no_signal"  # weak never right: nothing for GRPO to learn from (paper Sec. 3.2.2)
    TOO_HARD = "too_hard"
    SMALL_GAP = "small_gap"
    LOW_QUALITY = "low_quality"
    MALFORMED = "malformed"
    CUT_OFF = "cut_off"  # too few attempts ended by themselves: a budget is no difficulty
    IMPROVE = "improve"  # legal: the loop-judge, or the code above it, wants another version (Sec. 3.2)


class End(StrEnum):
    """Why work on a document stopped."""

    ACCEPTED = "accepted"
    ROUNDS_USED = "rounds_used"
    NOTHING_LEFT = "nothing_left"  # the domain has no further proposal to ask for
    GAVE_UP = "gave_up"
    SKIPPED = "skipped"  # never tried: unsuitable, or too long for the challenger
    ONE_SHOT = "one_shot"  # a baseline arm, which does not act on verdicts


@dataclass(frozen=True)
class Document:
    """A source text."""

    id: str
    text: str
    source: str  # file it came from, with the line for JSONL
    fields: dict[str, Any] = field(default_factory=dict)  # the rest of its record, and what a domain extracts


@dataclass(frozen=True)
class Message:
    """One turn. A last turn of `assistant` is a beginning that the model continues."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Reply:
    """What a model answered, reasoning and content apart."""

    outcome: Outcome
    content: str
    reasoning: str
    finish_reason: str
    model: str  # as the server named itself
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    tool: str = ""  # the function that was called, where functions were offered
    arguments: str = ""  # JSON, as the model wrote it
    is_usage_estimated: bool = False  # the server reported no usage


@dataclass(frozen=True)
class Criterion:
    """One weighted line of a rubric; a negative weight names an error that costs points."""

    text: str
    weight: int
    capability: str = ""  # what it tests, where a domain says so (legal)


@dataclass(frozen=True)
class Candidate:
    """A proposed task."""

    question: str
    reference_answer: str
    rubric: tuple[Criterion, ...]
    context: str = ""
    labels: dict[str, Any] = field(default_factory=dict)  # question type, skills: shown to no solver

    @property
    def hash(self) -> str:
        """Identity of what is verified and attempted: question, context, reference, rubric, labels."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Quality:
    """What the quality check said of a candidate, bound to exactly that candidate."""

    passed: bool
    reason: str
    candidate_hash: str
    details: dict[str, Any] = field(default_factory=dict)  # the verdict of each check


@dataclass(frozen=True)
class Judgement:
    """Which criteria are met. `met` and `score` (in [0, 1]) are None when judging failed."""

    met: tuple[bool, ...] | None
    score: float | None
    reason: str = ""


@dataclass(frozen=True)
class Attempt:
    """One solver answer with its judgement; an attempt that was not measured has no score."""

    index: int
    seed: int
    outcome: Outcome
    answer: str
    reasoning: str
    prompt_tokens: int
    completion_tokens: int
    judgement: Judgement
    is_counted_refusal: bool = False  # a refusal that the recipe counts as a wrong answer

    @property
    def is_measured(self) -> bool:
        """True if there is a judgement, of an answer, of one cut off, or of a refusal that the recipe counts."""
        is_answer = bool(self.answer.strip()) or self.outcome is not Outcome.ANSWERED  # an empty text answers nothing
        return self.judgement.met is not None and (
            (self.outcome.is_measured and is_answer) or self.is_counted_refusal)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """Accepted, or how it failed. `accepted` is None where the preset was not measured."""

    accepted: bool | None
    failure: Failure | None = None
    reason: str = ""


@dataclass(frozen=True)
class Round:
    """One proposal and its tests."""

    number: int  # from 1
    candidate: Candidate | None
    quality: Quality | None
    weak: tuple[Attempt, ...]
    strong: tuple[Attempt, ...]
    verdict: Verdict  # under the preset in force
    presets: dict[str, Verdict] = field(default_factory=dict)  # under every preset
    duplicate_answers: int = 0  # attempts that repeat an earlier answer of their solver
    final: Quality | None = None  # the second check of what may become an example (paper Sec. 3.1)
    review: dict[str, Any] = field(default_factory=dict)  # what a domain's reviewer said (legal: the loop-judge)
    instruction: str = ""  # the orchestrator's, to the challenger
    diagnosis: str = ""  # why, in the orchestrator's words


@dataclass(frozen=True)
class Trajectory:
    """All rounds of a document."""

    document_id: str
    document_source: str
    arm: str  # "agentic", "cot" or "best_of_n"
    preset: str
    rounds: tuple[Round, ...]
    end: End
    note: str = ""  # why it was skipped or given up
    document_licence: str = ""  # as its source states it
    members: tuple[str, ...] = ()  # ids of the documents that were joined into this one
    preparation: dict[str, Any] = field(default_factory=dict)  # what was extracted before round 1 (legal)
    orchestrator: str = "fixed"
    refused: tuple[str, ...] = ()  # calls of the orchestrating model that were not legal, and why
    tokens: dict[str, int] = field(default_factory=dict)  # per role, read and written, replays included
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)  # role → how its calls ended, replays included

    @property
    def accepted(self) -> Round | None:
        """The round that was accepted; it is always the last."""
        last = self.rounds[-1] if self.rounds else None
        return last if last and last.verdict.accepted else None


@dataclass(frozen=True)
class Provenance:
    """Where an example comes from."""

    run: str  # folder of the run that holds its trajectory
    recipe_hash: str
    prompts_hash: str
    models: dict[str, str]  # role → model
    licence: str  # of the document
    tokens: dict[str, int]  # per role, for the whole trajectory
    weak_seeds: tuple[int, ...]
    strong_seeds: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on: enough to recompute it."""

    weak_met: tuple[tuple[bool, ...], ...]  # per attempt, per criterion
    strong_met: tuple[tuple[bool, ...], ...]
    weak_planned: int  # attempts; fewer were made where the verdict was settled early
    strong_planned: int
    preset: str  # the one in force
    gates: dict[str, dict[str, float]]  # preset → the thresholds it sets
    presets: dict[str, Verdict]
    review: dict[str, Any]  # legal: the loop-judge and the code above it
    # How each attempt ended, beside its booleans; empty in rows made before this was recorded.
    weak_outcomes: tuple[Outcome, ...] = ()
    strong_outcomes: tuple[Outcome, ...] = ()

    @property
    def cut_off(self) -> tuple[float | None, float | None]:
        """Share of weak and of strong attempts that ran into their budget; None where it was not recorded."""
        weak, strong = (sum(o is Outcome.CUT_OFF for o in of) / len(of) if of else None
                        for of in (self.weak_outcomes, self.strong_outcomes))  # fmt: skip
        return weak, strong


@dataclass(frozen=True)
class Example:
    """A row of the dataset, with everything needed to check where it came from."""

    id: str
    document_id: str
    document_source: str
    arm: str
    split: Literal["train", "test"]
    candidate: Candidate
    candidate_hash: str
    round: int
    rounds: int  # how many the trajectory took
    accepted: bool
    weak_scores: tuple[float, ...]
    strong_scores: tuple[float, ...]
    evidence: Evidence
    provenance: Provenance


TRAJECTORY = TypeAdapter(Trajectory)
EXAMPLE = TypeAdapter(Example)
CANDIDATE = TypeAdapter(Candidate)
REPLY = TypeAdapter(Reply)
