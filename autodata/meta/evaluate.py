"""Measures a member: runs the loop on documents, judged by rules and checks that no edit can reach."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from autodata.loop import domain as base
from autodata.loop.agents import gather_all
from autodata.loop.domain import Inconclusive, JudgeFailed
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import ORCHESTRATORS
from autodata.meta.gate import Pair
from autodata.meta.genome import Genome, configure, write
from autodata.recipes.meta import MetaRecipe
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError, NotMeasured, find_unmeasured
from autodata.stats.intervals import DIFFERENCE, Estimate, estimate_mean
from autodata.types import Document, Role, Trajectory

APART = 40_000_000  # offset of a child's draws if equal seeds would give the same evaluation as its parent's
_DRAWS = 1_000_003  # keeps the draws of different recipe seeds apart


@dataclass(frozen=True)
class Trial:
    """One member tried on one document under one seed. `passed` is None if judging failed: the member did not fail."""

    member: int
    document: str
    draw: int
    passed: bool | None
    failures: tuple[str, ...]  # the kinds of failure of its rounds
    tokens: int


TriedDocument = tuple[Trial, Trajectory | None]  # without a trajectory if judging failed


class Evaluator:
    """Runs the loop with a member's prompts. Solvers, judge, thresholds and the last quality check are the baseline's.

    A document that a member skips counts as not passed, because leaving out hard documents is no improvement.
    """

    def __init__(self, recipe: MetaRecipe, client: Client, folder: Path):
        self._recipe, self._client, self._folder = recipe, client, folder
        self._slots = asyncio.Semaphore(recipe.documents_in_flight)

    async def try_all(
        self, member: int, genome: Genome, documents: Sequence[Document], draw: int
    ) -> list[TriedDocument]:
        """Try every document once. Raises PromptError for prompts that do not render, EndpointError, Draining."""
        return await gather_all([self._try(member, genome, document, draw) for document in documents])

    async def _try(self, member: int, genome: Genome, document: Document, draw: int) -> TriedDocument:
        seed = self._recipe.seed * _DRAWS + draw
        async with self._slots:
            harness = Harness(self._load(genome, seed), document, "agentic")
            try:
                trajectory = await ORCHESTRATORS[self._recipe.orchestrator](harness)
                passed = await self._is_sound(genome, document, trajectory, seed)
            except (JudgeFailed, Inconclusive, NotMeasured) as error:
                self.check_measured(f"; the last: {error}")
                return Trial(member, document.id, draw, None, (), harness.spent), None
        failures = tuple(str(r.verdict.failure) for r in trajectory.rounds if r.verdict.failure)
        return Trial(member, document.id, draw, passed, failures, harness.spent), trajectory

    def check_measured(self, last: str, is_end: bool = False) -> None:
        """Raise EndpointError if a role answers too seldom. Before the end, only if chance cannot explain it."""
        for role, account in self._client.accounts.items():
            if role in (Role.ANALYSER, Role.EDITOR):
                continue  # the search counts unreadable replies of these roles as refused edits
            if reason := find_unmeasured(role, account.outcomes, self._recipe.max_unmeasured, is_end):
                raise EndpointError(f"{reason}{last}")

    async def _is_sound(self, genome: Genome, document: Document, trajectory: Trajectory, seed: int) -> bool:
        """Return True if it was accepted and passes the baseline's own check too: a lenient verifier gains nothing."""
        accepted = trajectory.accepted
        if accepted is None or accepted.candidate is None:
            return False
        config = configure(self._recipe.domain, genome, None)  # the member's shape, but the domain's own prompts
        judge = base.load(config, self._client, seed).for_document({})
        quality = await judge.check_quality(await judge.prepare(document), accepted.candidate, 1)
        return quality.passed

    def _load(self, genome: Genome, seed: int) -> base.Domain:
        folder = self._folder / genome.hash
        if not folder.exists():
            write(genome, folder)
        return base.load(configure(self._recipe.domain, genome, folder), self._client, seed)


def compare(before: Sequence[Trial], after: Sequence[Trial]) -> Estimate | None:
    """Estimate the difference of pass rates over pairs of measured trials of the same document and draw."""
    pairs = pair_trials(before, after)
    return estimate_mean(((document, float(pair.child) - float(pair.parent)) for document, pair in pairs), DIFFERENCE)


def pair_trials(before: Sequence[Trial], after: Sequence[Trial]) -> Iterator[tuple[str, Pair]]:
    """Pair the trials of two members by document and draw; pairs of which one was not measured are left out."""
    children = {(trial.document, trial.draw % APART): trial.passed for trial in after}
    for trial in before:
        passed = children.get((trial.document, trial.draw % APART))
        if trial.passed is not None and passed is not None:
            yield trial.document, Pair(trial.passed, passed)
