"""Defines the base class of all domains. A domain overrides its hooks; everything else is the same for all."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from autodata.config import RecipeError
from autodata.loop import acceptance
from autodata.loop.agents import Agents, attempt_seed, gather_all, split_rubric
from autodata.loop.directing.outline import Outline, make_outline
from autodata.loop.parsing import ParseError, unwrap
from autodata.loop.prompts import PromptSet
from autodata.recipes.domain import DomainConfig, Gate, Shape
from autodata.recipes.reading.domain_folder import CODE, find_code, prompt_folders, run_code
from autodata.run.records import hash_path
from autodata.types import (
    Attempt,
    Candidate,
    Document,
    Judgement,
    Message,
    Quality,
    Reply,
    Role,
    Round,
    Verdict,
)

if TYPE_CHECKING:
    from autodata.serving.llm import Client


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
        self.earlier_failures: Mapping[str, int] = {}
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
        domain.earlier_failures = failures
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


def load(config: DomainConfig, client: "Client | None", seed: int = 0) -> Domain:
    """Load the class `Domain` of a domain. Without a client it asks nobody anything. Raises RecipeError."""
    if code := find_code(config):
        return run_code(code, config).Domain(config, client, seed)
    name = config.like if config.path else config.name
    if not name:
        raise RecipeError(f"domain.path={config.path}: no {CODE} in it; name the folder that the domain is in now")
    return import_module(f"autodata.domains.{name}.domain").Domain(config, client, seed)


def solver_slots(candidate: Candidate, document: str) -> dict[str, object]:
    return {"question": candidate.question, "context": candidate.context, "document": document}


def hash_prompts(config: DomainConfig) -> str:
    """Hash all folders with templates, and the code of a user's domain: a run depends on them. Raises RecipeError."""
    if config.prompts and not Path(config.prompts).is_dir():
        raise RecipeError(f"domain.prompts={config.prompts}: no such folder")
    code = find_code(config)
    return " ".join(map(hash_path, [*prompt_folders(config), *([code] if code else [])]))


def cut_text(text: str, at_most: int | None) -> str:
    """Cut a text to its beginning, after the last paragraph that fits whole if there is one."""
    if at_most is None or len(text) <= at_most:
        return text
    beginning = text[:at_most]
    return beginning[: beginning.rfind("\n\n")] if "\n\n" in beginning.strip() else beginning
