"""What a domain decides. A domain overrides the hooks; everything else is the same for all."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from autodata import acceptance, rubric
from autodata.acceptance import Gate
from autodata.agents import Agents
from autodata.llm import Client, attempt_seed
from autodata.prompts import PromptSet
from autodata.recipes import DomainConfig
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


@dataclass(frozen=True)
class Challenge:
    """What the challenger is shown, and the form its reply must have."""

    slots: dict[str, object]
    schema: dict[str, object]


class Domain(ABC):
    """One kind of task. Abstract and overridable methods first: these are the hooks."""

    def __init__(self, config: DomainConfig, client: Client, seed: int = 0):
        self.config = config
        self.seed = seed
        self.prompts = PromptSet(prompt_folder(config))
        self.agents = Agents(client, self.prompts)

    # ── hooks ────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def challenge(self, document: Document, rounds: Sequence[Round]) -> Challenge | None:
        """What to show the challenger after `rounds`; None when nothing is left to propose."""

    @abstractmethod
    def read_candidate(self, document: Document, reply: Reply, rounds: Sequence[Round]) -> Candidate:
        """The candidate proposed after `rounds`. Raises ParseError when the reply does not hold one."""

    @abstractmethod
    async def check_quality(self, document: Document, candidate: Candidate) -> Quality:
        """Whether the candidate is worth attempting."""

    async def judge(self, candidate: Candidate, answer: str, seed: int, asks: int) -> Judgement:
        """Which criteria an answer meets, asking the judge at most `asks` times."""
        return await self.agents.judge(candidate, answer, seed, asks)

    def decide(self, candidate: Candidate, weak: Sequence[Attempt], strong: Sequence[Attempt], gate: Gate) -> Verdict:
        """The verdict under one preset, from the attempts' booleans alone."""
        weak_scores = acceptance.scores(candidate, weak)
        return acceptance.decide(weak_scores, acceptance.scores(candidate, strong), gate)

    def privileged(self, document: Document) -> str:
        """What a privileged strong solver is given in the slot that stays empty for the weak one."""
        return document.text

    # ── the same for every domain ────────────────────────────────────────────────────────────

    async def propose(self, document: Document, rounds: Sequence[Round]) -> Reply | None:
        """The challenger's next reply, or None when nothing is left to propose."""
        challenge = self.challenge(document, rounds)
        if challenge is None:
            return None
        seed = attempt_seed(self.seed, document.id, len(rounds) + 1, Role.CHALLENGER, 0)
        return await self.agents.challenge(challenge.slots, challenge.schema, seed)

    def solver_prompt(self, candidate: Candidate, document: str = "") -> tuple[Message, ...]:
        """What a solver is asked, in generation, training and evaluation alike."""
        return self.prompts.render("solver", solver_slots(candidate, document))

    async def attempt(
        self, document: Document, candidate: Candidate, role: Role, round_number: int, asks: int
    ) -> tuple[Attempt, ...]:
        """All attempts of one solver, each judged as soon as it is there."""
        strong = role is Role.STRONG_SOLVER
        count = self.config.strong_attempts if strong else self.config.weak_attempts
        shown = self.privileged(document) if strong and self.config.privileged_strong else ""
        slots = solver_slots(candidate, shown)

        async def attempt_once(index: int) -> Attempt:
            seed = attempt_seed(self.seed, document.id, round_number, role, index)
            reply = await self.agents.solve(role, slots, seed, index)
            judgement = await self.judge_reply(candidate, reply, seed, asks)
            return _record(index, seed, reply, judgement)

        # Siblings of a failed call are paid for: let them end, and be journalled, before raising.
        results = await asyncio.gather(*map(attempt_once, range(count)), return_exceptions=True)
        for failure in (r for r in results if isinstance(r, BaseException)):
            raise failure
        return tuple(r for r in results if isinstance(r, Attempt))

    async def judge_reply(self, candidate: Candidate, reply: Reply, seed: int, asks: int) -> Judgement:
        """The judgement of a reply; without final content it earns nothing and no judge is asked."""
        if not reply.content.strip():
            nothing_met = [False] * len(candidate.rubric)
            return rubric.judge(candidate.rubric, nothing_met, f"no answer: {reply.outcome}")
        return await self.judge(candidate, reply.content, seed, asks)


def load(config: DomainConfig, client: Client, seed: int = 0) -> Domain:
    """The class `Domain` of autodata/domains/<name>/domain.py."""
    return import_module(f"autodata.domains.{config.name}.domain").Domain(config, client, seed)


def solver_slots(candidate: Candidate, document: str) -> dict[str, object]:
    return {"question": candidate.question, "context": candidate.context, "document": document}


def prompt_folder(config: DomainConfig) -> Path:
    return Path(config.prompts) if config.prompts else Path(__file__).parent / config.name / "prompts"


def _record(index: int, seed: int, reply: Reply, judgement: Judgement) -> Attempt:
    return Attempt(
        index=index,
        seed=seed,
        outcome=reply.outcome,
        answer=reply.content,
        reasoning=reply.reasoning,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        judgement=judgement,
    )
