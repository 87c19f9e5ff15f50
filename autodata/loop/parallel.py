"""Sends the documents of one run through the loop, many at once, and stops the run where going on is useless."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path

from autodata.loop import domain as base
from autodata.loop.domain import Inconclusive, JudgeFailed
from autodata.loop.harness import Harness
from autodata.loop.orchestrator import ORCHESTRATORS, propose_many, propose_unselected
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import Run, require_finished
from autodata.run.progress import Progress
from autodata.run.records import ERRORS, LINE, TRAJECTORIES, iterate_records, read_records, repair_tail
from autodata.serving.llm import Client, Draining
from autodata.serving.measured import (
    EndpointClosed,
    EndpointError,
    NotMeasured,
    PromptCut,
    RequestRefused,
    find_unmeasured,
)
from autodata.types import TRAJECTORY, Document, End, Outcome, Role, Trajectory, UserError


class Stopped(UserError):
    """The run goes so badly that going on would only cost money; the message names the recipe key."""


class Generation:
    """The state of a run: which documents are done, which are pending, and what failed."""

    def __init__(self, run: Run, recipe: GenerateRecipe, client: Client, documents: Sequence[Document]):
        self.run = run
        self.recipe = recipe
        self.client = client
        self.domain = base.load(recipe.domain, client, recipe.seed)
        # Memory holds only how each document ended: trajectories are long and stay in their file.
        trajectories = iterate_records(run.path(TRAJECTORIES), TRAJECTORY)
        self.ended: dict[str, bool] = {}  # document → accepted
        self.accepted = self.filtered = 0
        for trajectory in trajectories:
            self._note_end(trajectory)
        self.total = len(documents)
        self.failures: dict[str, str] = {}
        self._stopped: Stopped | None = None
        self._earlier_failures = _count_failures(run)
        self._budgets = _read_budgets(recipe.budget_from)
        self._slots = asyncio.Semaphore(recipe.documents_in_flight)
        unfinished = [d for d in documents if d.id not in self.ended]
        own_failures = {d.id: _count_own_failures(self._earlier_failures[d.id]) for d in unfinished}
        self.quarantined = [document for document, count in own_failures.items() if count >= recipe.quarantine_after]
        self.pending = [d for d in unfinished if d.id not in self.quarantined]

    @property
    def is_complete(self) -> bool:
        return len(self.ended) + len(self.quarantined) == self.total

    async def finish_all(self, progress: Progress) -> None:
        """Finish every pending document. Raises Stopped, JournalError, RunError."""
        progress.done, progress.accepted = len(self.ended), self.accepted
        progress.begin()
        try:
            async with asyncio.TaskGroup() as group:
                for document in self.pending:
                    group.create_task(self._finish(document, progress))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        if self._stopped:
            raise self._stopped

    def find_problem(self) -> Stopped | None:
        """Once all documents are done: why the run still may not count as finished. Too few calls were answered."""
        self._check_measured(is_end=True)
        return self._stopped

    async def _finish(self, document: Document, progress: Progress) -> None:
        async with self._slots:
            if self.client.draining:
                return
            try:
                trajectory = await self._play(document)
            except Draining:
                return
            except (EndpointError, JudgeFailed, Inconclusive) as error:
                progress.failures[self._record_failure(document, error)] += 1
                # PromptCut: the server's other answers rest on parts of prompts as well.
                if isinstance(error, PromptCut | EndpointClosed):
                    self._stop(str(error))
                elif isinstance(error, NotMeasured) and error.is_prompt:
                    self.quarantined.append(document.id)  # no other try in this run changes its length
                return
        # In a thread, because all calls would wait for a disk that takes its time.
        await asyncio.to_thread(self.run.append, TRAJECTORIES, TRAJECTORY.dump_json(trajectory))
        self._note_end(trajectory)
        self._check_filtered(trajectory.note)
        self._check_acceptance()
        progress.advance(self.ended[document.id])

    async def _play(self, document: Document) -> Trajectory:
        """Play a document. One that a content filter refuses ends there: asking again would change nothing."""
        harness = Harness(self.domain, document, self.recipe.arm, self._earlier_failures[document.id])
        try:
            return await self._direct(harness)
        except NotMeasured as error:
            if error.outcome is not Outcome.FILTERED:
                raise
            harness.stop(End.FILTERED, str(error))
            return harness.trajectory()

    def _direct(self, harness: Harness) -> Awaitable[Trajectory]:
        if self.recipe.arm == "cot":
            return propose_unselected(harness, self.recipe.proposals)
        if self.recipe.arm == "best_of_n":
            return propose_many(harness, self._budgets.get(harness.document.id, 0))
        return ORCHESTRATORS[self.recipe.orchestrator](harness)

    def _record_failure(self, document: Document, error: Exception) -> str:
        """Write a failure to the run's errors; return its kind."""
        kind = error.kind if isinstance(error, Inconclusive | NotMeasured) else type(error).__name__
        record = {"document_id": document.id, "source": document.source, "kind": kind, "error": str(error)}
        self.run.append(ERRORS, json.dumps(record).encode())
        self.failures[document.id] = str(error)
        self._check_measured()
        if len(self.failures) > self.recipe.max_error_rate * self.total:
            share = f"{len(self.failures):,} of {self.total:,} documents failed"
            self._stop(
                f"{share}, more than max_error_rate={self.recipe.max_error_rate} allows; the last error: {error}"
            )
        return kind

    def _check_measured(self, is_end: bool = False) -> None:
        """Stop if a role answers too seldom. Before the end of the run, stop only if chance cannot explain it."""
        last = "".join(f"; the last error: {error}" for error in list(self.failures.values())[-1:])
        for role, account in self.client.accounts.items():
            outcomes = _count_outcomes(role, account.outcomes, self.domain.config.count_refusals)
            if reason := find_unmeasured(role, outcomes, self.recipe.max_unmeasured, is_end):
                self._stop(f"{reason}{last}")

    def _note_end(self, trajectory: Trajectory) -> None:
        self.ended[trajectory.document_id] = trajectory.accepted is not None
        self.accepted += self.ended[trajectory.document_id]
        self.filtered += trajectory.end is End.FILTERED

    def _check_filtered(self, reason: str) -> None:
        if self.filtered > self.recipe.max_filtered * self.total:
            share = f"a content filter refused {self.filtered:,} of {self.total:,} documents"
            self._stop(f"{share}, more than max_filtered={self.recipe.max_filtered} allows; the last time: {reason}")

    def _check_acceptance(self) -> None:
        done, accepted = len(self.ended), self.accepted
        if done >= self.recipe.min_acceptance_after and accepted < self.recipe.min_acceptance * done:
            self._stop(
                f"{accepted:,} of {done:,} documents have an accepted candidate, a smaller share than "
                f"min_acceptance={self.recipe.min_acceptance}; `python -m autodata.report {self.run.folder}` "
                "shows why candidates fail; to continue anyway, lower min_acceptance"
            )

    def _stop(self, reason: str) -> None:
        # Drain as Ctrl-C does: calls in flight are finished and their replies kept.
        self.client.draining = True
        self._stopped = self._stopped or Stopped(
            f"{reason}\nevery answer is kept: repair the cause and run the same command again"
        )


def _count_failures(run: Run) -> Mapping[str, Counter[str]]:
    """Count the earlier failures of each document, by kind."""
    path = run.path(ERRORS)
    repair_tail(path)
    failures: dict[str, Counter[str]] = defaultdict(Counter)
    for record in iterate_records(path, LINE):
        failures[record["document_id"]][record["kind"]] += 1
    return failures


def _count_own_failures(failures: Counter[str]) -> int:
    """Count the failures that a document causes itself; an endpoint that was down or too small is not its fault."""
    unanswered = sum(failures[f"{NotMeasured.__name__} {outcome}"] for outcome in (Outcome.REFUSED, Outcome.EMPTY))
    return unanswered + sum(failures[kind.__name__] for kind in (JudgeFailed, RequestRefused))


def _count_outcomes(role: str, outcomes: Mapping[str, int], count_refusals: bool) -> dict[str, int]:
    """Count how calls ended; a solver's refusal counts as an answer if the recipe says so.

    Calls that a content filter refused are left out: their documents are, and have a limit of their own.
    """
    counted = {outcome: count for outcome, count in outcomes.items() if outcome != Outcome.FILTERED}
    if count_refusals and role in (Role.WEAK_SOLVER, Role.STRONG_SOLVER):
        counted[Outcome.ANSWERED] = counted.get(Outcome.ANSWERED, 0) + counted.pop(Outcome.REFUSED, 0)
    return counted


def _read_budgets(folder: str | None) -> dict[str, int]:
    """Read how many tokens the agentic arm spent on each document."""
    if folder is None:
        return {}
    require_finished(folder, COMMANDS[GenerateRecipe])
    trajectories = read_records(Path(folder) / TRAJECTORIES, TRAJECTORY)
    return {t.document_id: sum(t.tokens.values()) for t in trajectories}
