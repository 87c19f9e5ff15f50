"""Defines the base class of all domains. A domain overrides its hooks; everything else is the same for all."""

import copy
import hashlib
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from autodata.config import RecipeError
from autodata.loop import acceptance, rubric
from autodata.loop.agents import Agents, attempt_seed, gather_all, split_rubric
from autodata.loop.directing.outline import Outline, make_outline
from autodata.loop.parsing import ParseError, unwrap
from autodata.loop.prompts import PromptSet
from autodata.recipes.domain import DomainConfig, Gate, Shape
from autodata.run.records import hash_path
from autodata.serving.measured import NotMeasured
from autodata.types import (
    Attempt,
    Candidate,
    Document,
    Judgement,
    Message,
    Outcome,
    Quality,
    Reply,
    Role,
    Round,
    Verdict,
)

if TYPE_CHECKING:
    from autodata.serving.llm import Client

CODE = "domain.py"  # in a user's folder, if it has rules of its own
DOMAINS = Path(__file__).parent.parent / "domains"  # a folder each, and the templates that all share


class Unsuitable(ValueError):
    """The document is not worth a question; the message says why, and the document is recorded as skipped."""


class JudgeFailed(RuntimeError):
    """An attempt could not be judged, so the round has no verdict. It is tried again when the run resumes."""


class Inconclusive(RuntimeError):
    """A solver's endpoint answers nothing at all, so its empty answers mean nothing. Tried again on resume."""

    def __init__(self, role: Role, number: int):
        problem = f"{role} answers nothing, not even a trivial question; its empty answers do not count"
        super().__init__(f"round {number}: {problem}")
        self.kind = f"{type(self).__name__} {role} {number}"  # a rerun asks afresh where it finds this kind


@dataclass(frozen=True)
class Challenge:
    """One request to a challenger: the slots of its prompt, and the schema that its reply must have."""

    slots: dict[str, object]
    schema: dict[str, object]


@dataclass(frozen=True)
class Assessment:
    """The verdict of every preset, and the review of the domain's reviewer if it has one."""

    verdicts: dict[str, Verdict]
    review: dict[str, object]


@dataclass(frozen=True)
class JudgeCall:
    """One call to a judge: its messages, and the number of criteria whose verdicts it returns.

    A number of 0 stands for one decision, `{"equivalent": true}`, on the only criterion.
    """

    messages: tuple[Message, ...]
    criteria: int


@dataclass(frozen=True)
class Judging:
    """Describes how a domain judges an answer, for environments that leave without the domain's code.

    `compare` is a file that needs nothing but Python, or None. Its `read_answer` cuts out of an answer what the judge
    is shown. Its `is_right` decides from the reference and that; where it returns None, the calls decide.
    """

    compare: Path | None
    calls: tuple[JudgeCall, ...]


class Domain(ABC):
    """Defines one kind of task. The first methods, abstract or overridable, are the hooks."""

    def __init__(self, config: DomainConfig, client: "Client | None", seed: int = 0):
        self.config = config
        self.seed = seed
        self.prompts = PromptSet(*prompt_folders(config))
        self.asks = config.judge_retries + 1
        self._client = client
        self._earlier_failures: Mapping[str, int] = {}
        self.agents = Agents(client, self.prompts)

    # ── hooks ────────────────────────────────────────────────────────────────────────────────

    async def prepare(self, document: Document) -> Document:
        """Prepare the document for the challenger, once, before round 1. Raises Unsuitable."""
        return replace(document, text=cut_text(document.text, self.config.document_chars))

    def outline(self, document: Document) -> Outline:
        """Return what an orchestrating model sees of the document."""
        return make_outline(document.text)

    @abstractmethod
    def challenge(self, document: Document, rounds: Sequence[Round], number: int) -> Sequence[Challenge]:
        """Return the challenges of round `number`; none if there is nothing left to propose.

        `rounds` are the earlier rounds that a challenger may know: all of them in the loop, none in a baseline.
        """

    @abstractmethod
    def read_candidate(
        self, document: Document, record: Mapping[str, object], rounds: Sequence[Round], number: int
    ) -> Candidate:
        """Read the candidate in a challenger's reply. Raises ParseError if it is none or an earlier round had it."""

    def find_baseline(self, document: Document) -> Candidate | None:
        """Return the candidate that the document itself has: the first proposal of the arm cot.

        None means: ask the challenger.
        """
        return None

    @abstractmethod
    async def check_quality(self, document: Document, candidate: Candidate, attempt: int = 0) -> Quality:
        """Check whether the candidate is worth attempting. `attempt` 1 is the final check. Raises JudgeFailed."""

    def find_refusal(self, candidate: Candidate) -> str | None:
        """Return why code would never accept this candidate, whatever it scores; None if it may be accepted.

        It is asked before anybody tries the candidate, but not in a baseline, which keeps whatever was proposed.
        """
        return None

    async def judge(self, candidate: Candidate, answer: str, seed: int) -> Judgement:
        """Judge which criteria an answer meets."""
        return await self.agents.judge(candidate, answer, seed, self.asks, self.config.criteria_per_call)

    def describe_judging(self, candidate: Candidate, answer: str) -> Judging:
        """Describe what `judge` does with an answer. A domain that overrides one of the two overrides both."""
        parts = split_rubric(candidate.rubric, self.config.criteria_per_call)
        calls = (JudgeCall(self.agents.render_judge(candidate, part, answer), len(part)) for part in parts)
        return Judging(None, tuple(calls))

    async def assess(
        self, candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt], rounds: Sequence[Round]
    ) -> Assessment:
        """Compute the verdict of every preset from the attempts' booleans."""
        return Assessment({n: self.decide(candidate, weak, strong, g) for n, g in self.config.presets.items()}, {})

    def privileged(self, document: Document, candidate: Candidate) -> str:
        """Return the text that a privileged strong solver sees; the same slot stays empty for the weak solver."""
        return document.text

    def schemas(self) -> dict[Role, list[dict[str, object]]]:
        """List the schemas of the domain's requests by role, so that the doctor can try them before they cost much."""
        return {}

    # ── the same for every domain ────────────────────────────────────────────────────────────

    @property
    def shape(self) -> Shape:
        """The rubric shape in force."""
        return self.config.rubric_shapes[self.config.rubric_shape]

    def for_document(self, failures: Mapping[str, int]) -> "Domain":
        """Copy this domain, with accounts of its own. `failures` counts the document's earlier failures by kind.

        A judge whose replies were unreadable is asked afresh, beyond what the journal replays; the empty answers of an
        endpoint that was down are asked for again.
        """
        domain = copy.copy(self)
        domain.agents = Agents(self._client, self.prompts)
        domain.asks = self.asks * (1 + failures.get(JudgeFailed.__name__, 0))
        domain._earlier_failures = failures
        return domain

    async def propose(
        self, document: Document, rounds: Sequence[Round], number: int, instruction: str
    ) -> list[Candidate | ParseError]:
        """Ask all challengers; a proposal is a candidate or why it is none. Raises NotMeasured, Unsuitable."""

        async def ask(index: int, challenge: Challenge) -> Reply:
            seed = attempt_seed(self.seed, document.id, number, Role.CHALLENGER, index)
            request = {"seed": seed, "attempt": index, "schema": challenge.schema}
            slots = {**challenge.slots, "instruction": instruction}
            return await self.agents.write(Role.CHALLENGER, "challenger", slots, **request)

        replies = await gather_all([ask(i, c) for i, c in enumerate(self.challenge(document, rounds, number))])
        return [self._read(document, reply, rounds, number) for reply in replies]

    def _read(self, document: Document, reply: Reply, rounds: Sequence[Round], number: int) -> Candidate | ParseError:
        try:
            record = unwrap(self.agents.read(reply, Role.CHALLENGER), "question")
            return self.read_candidate(document, record, rounds, number)
        except ParseError as error:
            return error

    def decide(self, candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt], gate: Gate) -> Verdict:
        """Return the verdict under one preset: "not measured" while missing attempts could change it."""
        measured = [[a for a in attempts if a.is_measured] for attempts in (weak, strong)]
        scores = [acceptance.scores(candidate, attempts) for attempts in measured]
        weak_cut, strong_cut = map(acceptance.count_cut_off, measured)
        planned = (self.config.weak_attempts, self.config.strong_attempts)
        return acceptance.decide_measured(*scores, planned, gate, (weak_cut, strong_cut))

    def solver_prompt(self, candidate: Candidate, document: str = "") -> tuple[Message, ...]:
        """Render the prompt of a solver, the same in generation, training and evaluation."""
        return self.prompts.render("solver", solver_slots(candidate, document))

    async def attempt(
        self,
        document: Document,
        candidate: Candidate,
        role: Role,
        number: int,
        is_settled: Callable[[Sequence[Attempt]], bool] | None = None,
    ) -> tuple[Attempt, ...]:
        """Make all attempts of one solver in round `number`, and judge each as soon as its answer is there.

        With `is_settled` they are made one after the other, until one settles the verdict. An attempt without an
        answer is returned as not measured; the caller decides whether the round can do without it. Raises JudgeFailed,
        Inconclusive, EndpointError.
        """
        strong = role is Role.STRONG_SOLVER
        count = self.config.strong_attempts if strong else self.config.weak_attempts
        document_text = self.privileged(document, candidate) if strong and self.config.privileged_strong else ""
        slots = solver_slots(candidate, document_text)
        reruns = self._earlier_failures.get(Inconclusive(role, number).kind, 0)

        async def attempt_once(index: int) -> Attempt:
            call_number = index + reruns * count  # a rerun must not replay what an endpoint in trouble said
            seed = attempt_seed(self.seed, document.id, number, role, call_number)
            try:
                reply = await self.agents.solve(role, slots, seed, call_number)
            except NotMeasured as error:
                if error.outcome is Outcome.FILTERED:
                    raise
                missing = self.judge_missing(candidate, error)
                return Attempt(index, seed, error.outcome, "", "", 0, 0, missing, missing.met is not None)
            judgement = await self.judge_reply(candidate, reply, seed)
            if judgement.met is None and reply.outcome.is_measured:
                raise JudgeFailed(f"round {number}, {role}: {judgement.reason}")
            tokens = (reply.prompt_tokens, reply.completion_tokens)
            parts = {"cached_tokens": reply.cached_tokens, "reasoning_tokens": reply.reasoning_tokens}
            return Attempt(index, seed, reply.outcome, reply.content, reply.reasoning, *tokens, judgement, **parts)

        attempts = await _make_attempts(attempt_once, count, is_settled)
        is_mute = not any(a.answer.strip() or a.outcome is Outcome.REFUSED for a in attempts)
        if self.config.sanity_probe and is_mute and not await self.agents.is_answering(role, reruns):
            raise Inconclusive(role, number)
        return tuple(attempts)

    async def judge_reply(self, candidate: Candidate, reply: Reply, seed: int) -> Judgement:
        """Judge an answer. One that was cut off before any content scores 0 without a judge. Raises EndpointError."""
        if reply.content.strip():
            return await self.judge(candidate, reply.content, seed)
        if reply.outcome is not Outcome.CUT_OFF:
            return Judgement(None, None, f"no content: {reply.outcome}")
        return rubric.judge(candidate.rubric, [False] * len(candidate.rubric), f"no answer: {reply.outcome}")

    def list_outcomes(self, role: str, outcomes: Mapping[str, int]) -> dict[str, int]:
        """Count how calls ended; a solver's refusal counts as an answer if the recipe says so.

        Calls that a content filter refused are left out: their documents are, and have a limit of their own.
        """
        counted = {outcome: count for outcome, count in outcomes.items() if outcome != Outcome.FILTERED}
        if self.config.count_refusals and role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER):
            counted[Outcome.ANSWERED] = counted.get(Outcome.ANSWERED, 0) + counted.pop(Outcome.REFUSED, 0)
        return counted

    def judge_missing(self, candidate: Candidate, error: NotMeasured) -> Judgement:
        """Return the judgement without an answer: none, or all wrong for a refusal that the recipe counts."""
        if error.outcome is Outcome.REFUSED and self.config.count_refusals:
            return rubric.judge(candidate.rubric, [False] * len(candidate.rubric), "refused")
        return Judgement(None, None, str(error))


def load(config: DomainConfig, client: "Client | None", seed: int = 0) -> Domain:
    """Load the class `Domain` of a domain. Without a client it asks nobody anything. Raises RecipeError."""
    own = Path(config.path, CODE) if config.path else None
    if own and own.is_file():
        return _run_code(own, config).Domain(config, client, seed)
    name = config.like if config.path else config.name
    if not name:
        raise RecipeError(f"domain.path={config.path}: no {CODE} in it; name the folder that the domain is in now")
    return import_module(f"autodata.domains.{name}.domain").Domain(config, client, seed)


def _run_code(path: Path, config: DomainConfig) -> ModuleType:
    """Run the code of a user's domain, but not where only a run folder names it. Raises RecipeError."""
    if not config.run_code:
        advice = "it can come from anybody; read it, then append domain.path=FOLDER (to export: --domain FOLDER)"
        raise RecipeError(f"{path}: a recipe in a run folder names this code, which is not run, because {advice}")
    text = path.read_bytes()
    module = ModuleType(f"own_domain_{hashlib.sha256(text).hexdigest()[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look for the module of their class
    # Not imported, because that would leave a __pycache__ in the folder, whose content identifies the run.
    try:
        exec(compile(text, path, "exec"), vars(module))
    except Exception as error:  # the user's code may raise anything, and its author needs the line
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else path
        raise RecipeError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(getattr(module, "Domain", None), type):
        raise RecipeError(f"{path}: no class Domain in it; it extends that of another domain")
    return module


def solver_slots(candidate: Candidate, document: str) -> dict[str, object]:
    return {"question": candidate.question, "context": candidate.context, "document": document}


def prompt_folders(config: DomainConfig) -> list[Path]:
    """List the folders that may hold a template, in order: the recipe's, the domain's, and the one that all share."""
    own = [Path(config.prompts)] if config.prompts else []
    if config.path:
        own += [Path(config.path) / "prompts"]
    package = config.like if config.path else config.name
    return [*own, *([DOMAINS / package / "prompts"] if package else []), DOMAINS / "prompts"]


def hash_prompts(config: DomainConfig) -> str:
    """Hash all folders with templates, and the code of a user's domain: a run depends on them. Raises RecipeError."""
    if config.prompts and not Path(config.prompts).is_dir():
        raise RecipeError(f"domain.prompts={config.prompts}: no such folder")
    code = [own] if config.path and (own := Path(config.path, CODE)).is_file() else []
    return " ".join(map(hash_path, [*prompt_folders(config), *code]))


def cut_text(text: str, at_most: int | None) -> str:
    """Cut a text to its beginning, after the last paragraph that fits whole if there is one."""
    if at_most is None or len(text) <= at_most:
        return text
    beginning = text[:at_most]
    return beginning[: beginning.rfind("\n\n")] if "\n\n" in beginning.strip() else beginning


async def _make_attempts(
    make: Callable[[int], Awaitable[Attempt]], count: int, is_settled: Callable[[Sequence[Attempt]], bool] | None
) -> list[Attempt]:
    """Make all attempts at once, or one after the other until one settles the verdict."""
    if is_settled is None:
        return await gather_all([make(index) for index in range(count)])
    attempts: list[Attempt] = []
    while len(attempts) < count and not (attempts and is_settled(attempts)):
        attempts.append(await make(len(attempts)))
    return attempts
