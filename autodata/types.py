"""Defines the records of the project, in the order in which they are made."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter


class UserError(Exception):
    """A problem that the user can fix; the message names what to change."""

    exit_code = 1  # the exit code of a command that ends with this error


class WrongCall(UserError):
    """A command was called wrongly; the message names the argument or the environment variable to change."""

    exit_code = 2


class Role(StrEnum):
    """The part that a model plays in a call."""

    CHALLENGER = "challenger"
    QUALITY_VERIFIER = "quality_verifier"
    ORCHESTRATOR = "orchestrator"
    WEAK_SOLVER = "weak_solver"
    STRONG_SOLVER = "strong_solver"
    JUDGE = "judge"
    ANALYSER = "analyser"  # meta-optimisation only
    EDITOR = "editor"  # meta-optimisation only


class Outcome(StrEnum):
    """Says how a model call ended. One closed list is used from the client to the tables.

    A call ends with an answer, with an answer that ran into its budget, or not measured. A call that was not measured
    has no score and is stored nowhere as an answer.
    """

    ANSWERED = "answered"
    CUT_OFF = "cut_off"  # the model used up max_tokens: without final content it scores 0 (paper Sec. 4), labelled
    # Everything below is not measured.
    CONTEXT_OVERFLOW = "context_overflow"  # the prompt, or prompt and max_tokens together, do not fit the server
    REFUSED = "refused"
    FILTERED = "filtered"  # the provider's content filter refused the prompt, or what a role wrote about it
    ABORTED = "aborted"  # the server stopped it, or gave a finish reason that is not known to end an answer
    ERROR = "error"  # no reply at all: HTTP errors, time-outs
    EMPTY = "empty"  # ended by itself, without content
    UNREADABLE = "unreadable"  # no reply of a judge or verifier held the verdict that was asked for

    @property
    def is_measured(self) -> bool:
        return self in (Outcome.ANSWERED, Outcome.CUT_OFF)

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")

    @classmethod
    def _missing_(cls, value: object) -> "Outcome | None":
        """Read the names in older records, made before "cut_off" and "not measured" were told apart."""
        return {
            "ok": cls.ANSWERED,
            "truncated": cls.CUT_OFF,
            "refusal": cls.REFUSED,
            "timeout": cls.ERROR,
            "infrastructure": cls.ERROR,
        }.get(str(value))


class Failure(StrEnum):
    """Says why a candidate was not accepted."""

    TOO_EASY = "too_easy"
    NO_SIGNAL = "no_signal"  # the weak solver is never right: GRPO has nothing to learn from (paper Sec. 3.2.2)
    TOO_HARD = "too_hard"
    SMALL_GAP = "small_gap"
    LOW_QUALITY = "low_quality"
    MALFORMED = "malformed"
    CUT_OFF = "cut_off"  # too few attempts ended by themselves, and a budget is no difficulty
    IMPROVE = "improve"  # legal: the loop-judge, or the code above it, wants another version (Sec. 3.2)


class End(StrEnum):
    """Says why work on a document stopped."""

    ACCEPTED = "accepted"
    ROUNDS_USED = "rounds_used"
    NOTHING_LEFT = "nothing_left"  # the domain has no further proposal to ask for
    GAVE_UP = "gave_up"
    SKIPPED = "skipped"  # never tried: unsuitable, or too long for the challenger
    FILTERED = "filtered"  # a provider's content filter refused a call about it
    ONE_SHOT = "one_shot"  # a baseline arm made its proposals; it does not act on verdicts


@dataclass(frozen=True)
class Document:
    """A source text from which candidates are made."""

    id: str
    text: str
    source: str  # file it came from, with the line for JSONL
    fields: dict[str, Any] = field(default_factory=dict)  # the rest of its record, and what a domain extracts from it


@dataclass(frozen=True)
class Message:
    """One turn of a chat. If the last turn is the `assistant`'s, the model continues its text."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Reply:
    """The reply of a model, with reasoning and content apart."""

    outcome: Outcome
    content: str
    reasoning: str
    finish_reason: str
    model: str  # the name that the server reports
    prompt_tokens: int
    completion_tokens: int
    latency_s: float
    tool: str = ""  # the function that was called, if functions were offered
    arguments: str = ""  # JSON, as the model wrote it
    is_usage_estimated: bool = False  # the server reported no usage
    cached_tokens: int = 0  # of the prompt; the provider read them earlier
    reasoning_tokens: int = 0  # of the completion
    nano_usd: int | None = None  # what the provider says that the reply cost; None if it says nothing


@dataclass(frozen=True)
class Criterion:
    """One weighted line of a rubric; a negative weight names an error that costs points."""

    text: str
    weight: int
    capability: str = ""  # the capability that it tests, if the domain names one (legal)


@dataclass(frozen=True)
class Candidate:
    """A proposed task: question, context, reference answer and rubric."""

    question: str
    reference_answer: str
    rubric: tuple[Criterion, ...]
    context: str = ""
    labels: dict[str, Any] = field(default_factory=dict)  # question type, skills: shown to no solver

    @property
    def hash(self) -> str:
        """The identity of what is verified and attempted: question, context, reference, rubric and labels."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Quality:
    """The result of the quality check of a candidate, bound to exactly that candidate."""

    passed: bool
    reason: str
    candidate_hash: str
    details: dict[str, Any] = field(default_factory=dict)  # the verdict of each check


@dataclass(frozen=True)
class Judgement:
    """Says which criteria an answer meets. `met` and `score` (in [0, 1]) are None if judging failed."""

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
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def is_measured(self) -> bool:
        """True if there is a judgement of an answer, of a cut-off answer, or of a refusal that the recipe counts."""
        is_answer = bool(self.answer.strip()) or self.outcome is not Outcome.ANSWERED  # an empty text answers nothing
        return self.judgement.met is not None and ((self.outcome.is_measured and is_answer) or self.is_counted_refusal)


@dataclass(frozen=True)
class Verdict:
    """Says if a candidate was accepted, or how it failed. `accepted` is None if the preset was not measured."""

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
    final: Quality | None = None  # the second check of a possible example (paper Sec. 3.1)
    review: dict[str, Any] = field(default_factory=dict)  # the reply of a domain's reviewer (legal: the loop-judge)
    instruction: str = ""  # the orchestrator's instruction to the challenger
    diagnosis: str = ""  # the reason for it, in the orchestrator's words


@dataclass(frozen=True)
class Trajectory:
    """All rounds of a document."""

    document_id: str
    document_source: str
    arm: str  # "agentic", "cot" or "best_of_n"
    preset: str
    rounds: tuple[Round, ...]
    end: End
    note: str = ""  # why the document was skipped or given up
    document_licence: str = ""  # as its source states it
    members: tuple[str, ...] = ()  # ids of the documents that were joined into this one
    preparation: dict[str, Any] = field(default_factory=dict)  # facts extracted before round 1 (legal)
    orchestrator: str = "fixed"
    refused: tuple[str, ...] = ()  # illegal calls of the orchestrating model, and why they were refused
    tokens: dict[str, int] = field(default_factory=dict)  # role → tokens read and written, replays included
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)  # role → how its calls ended, replays included
    # role → tokens of these that the provider had cached, and that were reasoning; a role without any is left out
    cached_tokens: dict[str, int] = field(default_factory=dict)
    reasoning_tokens: dict[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> Round | None:
        """The first accepted round. The loop ends with it; a baseline goes on."""
        return next((round for round in self.rounds if round.verdict.accepted), None)


@dataclass(frozen=True)
class Provenance:
    """Says where an example comes from."""

    run: str  # folder of the run that holds its trajectory
    recipe_hash: str
    prompts_hash: str
    models: dict[str, str]  # role → model
    licence: str  # licence of the document
    tokens: dict[str, int]  # per role, of the whole trajectory, which may have several examples
    weak_seeds: tuple[int, ...]
    strong_seeds: tuple[int, ...]


@dataclass(frozen=True)
class Evidence:
    """The data that a verdict rests on, enough to recompute it."""

    weak_met: tuple[tuple[bool, ...], ...]  # per attempt, per criterion
    strong_met: tuple[tuple[bool, ...], ...]
    weak_planned: int  # attempts; fewer were made if the verdict was settled early
    strong_planned: int
    preset: str  # the preset in force
    gates: dict[str, dict[str, float]]  # preset → the thresholds it sets
    presets: dict[str, Verdict]
    review: dict[str, Any]  # legal: the loop-judge and the code above it
    # How each attempt ended, beside its booleans; empty in rows made before this was recorded.
    weak_outcomes: tuple[Outcome, ...] = ()
    strong_outcomes: tuple[Outcome, ...] = ()

    @property
    def cut_off(self) -> tuple[float | None, float | None]:
        """The shares of weak and of strong attempts that ran into their budget; None if it was not recorded."""
        both = (self.weak_outcomes, self.strong_outcomes)
        weak, strong = (o.count(Outcome.CUT_OFF) / len(o) if o else None for o in both)
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
    rounds: int  # how many rounds the trajectory took
    accepted: bool
    weak_scores: tuple[float, ...]
    strong_scores: tuple[float, ...]
    evidence: Evidence
    provenance: Provenance


TRAJECTORY = TypeAdapter(Trajectory)
EXAMPLE = TypeAdapter(Example)
CANDIDATE = TypeAdapter(Candidate)
REPLY = TypeAdapter(Reply)
