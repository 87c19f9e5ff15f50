"""The evolutionary loop: draw a parent, see why it fails, edit it, compare the two, keep the better."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptError
from autodata.meta import population
from autodata.meta.evaluate import Evaluator, Trial
from autodata.meta.gate import Decision, Pair, count, decide_paired, decide_strict
from autodata.meta.genome import read_baseline
from autodata.meta.mutate import Author, Edit
from autodata.meta.population import Member, Splits
from autodata.meta.wall import make_wall
from autodata.recipes.meta import MetaRecipe
from autodata.run.folder import Run
from autodata.run.progress import Progress
from autodata.run.records import LINE, read_records, repair_tail
from autodata.serving.costs import find_reached
from autodata.serving.llm import Client, Draining
from autodata.stats.writing import write_percent
from autodata.types import Document

ITERATIONS, DRAWS = "iterations.jsonl", "draws.jsonl"
_FIRST_LOOK = 8  # validation documents, before the others are tried
_TRAINING, _TEST, _APART = 10_000_000, 20_000_000, 40_000_000  # draws of different uses never meet
_SHOWN_HISTORY = 20  # iterations, the latest


class Refused(ValueError):
    """There is no mutant to compare; the message says why."""


@dataclass(frozen=True)
class Draw:
    """What an iteration began with: durable before its first call, so that a resumed run draws the same."""

    iteration: int
    seen: int  # iterations that were finished
    parent: int
    chances: dict[str, float]


class Search:
    """All iterations of a run. What is finished stands in iterations.jsonl, in the order in which it was finished."""

    def __init__(self, run: Run, recipe: MetaRecipe, client: Client, splits: Splits):
        self.run, self.recipe, self.client, self.splits = run, recipe, client, splits
        self.baseline = read_baseline(recipe.domain)
        held_out = [d.text for d in (*splits.validation, *splits.test)]
        models = {name: endpoint.model for name, endpoint in recipe.models.endpoints.items()}
        self.wall = make_wall(self.baseline, held_out, models)
        self.evaluator = Evaluator(recipe, client, run.path("genomes"))
        self.lines = _read_lines(run, ITERATIONS)
        members = [line["iteration"] for line in self.lines if line["outcome"] in ("baseline", Decision.ACCEPT)]
        self.population = population.read(run, recipe, members)
        self.draws = {d["iteration"]: Draw(**d) for d in _read_lines(run, DRAWS)}
        for line in self.lines:
            self.population.count([Trial(**trial) for trial in line["trials"]])
        self._taken: set[int] = set()

    async def run_all(self, progress: Progress) -> None:
        """The baseline, then every iteration, several at a time. Raises EndpointError, JournalError, RunError."""
        self._progress, progress.total = progress, self.recipe.iterations
        self._count()
        progress.begin()
        if not self.lines:
            await self._measure_baseline()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.recipe.iterations_in_flight):
                    group.create_task(self._work())
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None

    async def _work(self) -> None:
        while draw := self._take():
            try:
                await self._iterate(draw)
            except Draining:
                return

    def _take(self) -> Draw | None:
        """An iteration that was begun and not finished, else a new one."""
        finished = {line["iteration"] for line in self.lines}
        begun = sorted(set(self.draws) - finished - self._taken)
        draw = self.draws[begun[0]] if begun else self._draw()
        if draw:
            self._taken.add(draw.iteration)
        return draw

    def _draw(self) -> Draw | None:
        iteration = max(self.draws, default=0) + 1
        if iteration > self.recipe.iterations or self.client.draining or self.is_spent:
            return None
        chances = {str(id): round(chance, 4) for id, chance in self.population.weigh().items()}
        draw = Draw(iteration, len(self.lines), self.population.draw(self.recipe.seed * _APART + iteration), chances)
        self.run.append(DRAWS, json.dumps(asdict(draw)).encode())
        self.draws[iteration] = draw
        return draw

    @property
    def is_spent(self) -> bool:
        """Whether a limit of the budget is reached."""
        ledger, hours = self._progress.ledger(), self._progress.hours
        return find_reached(self.recipe.budget, ledger, hours) is not None

    # ── one iteration ──

    async def _iterate(self, draw: Draw) -> None:
        """Raises Draining, EndpointError, JournalError."""
        parent = self.population.members[draw.parent]
        author = Author(self.client, self.recipe.seed, self.recipe.asks, self.recipe.shown_chars)
        child, trials, outcome = None, [], ""
        try:
            async with asyncio.timeout(self.recipe.iteration_hours * 3600):
                child = await self._mutate(draw, parent, author)
                outcome, trials = await self._compare(draw, parent, child)
        except Refused as reason:
            outcome = f"refused: {reason}"
        except TimeoutError:
            outcome = f"not finished within iteration_hours={self.recipe.iteration_hours}"
        if outcome == Decision.ACCEPT and child:
            population.save(self.run, child, parent.genome)
            self.population.members[child.id] = child
        wins, losses = count(_pair(trials, draw.parent, draw.iteration))
        spent = author.spent + sum(trial.tokens for trial in trials)
        self._finish(draw.iteration, trials, {
            "parent": draw.parent, "seen": draw.seen, "outcome": outcome, "wins": wins, "losses": losses,
            "hypothesis": child.hypothesis if child else "", "analysis": child.analysis if child else "",
            "tokens": spent})  # fmt: skip

    async def _mutate(self, draw: Draw, parent: Member, author: Author) -> Member:
        """A mutant that may be tried. Raises Refused."""
        if self.recipe.mutation == "none":
            return replace(parent, id=draw.iteration, parent=parent.id, hypothesis="nothing is changed")
        shown, history = _choose(self.splits.training, self.recipe.minibatch, draw.iteration), self._tell(draw.seen)
        tried = await self.evaluator.try_all(parent.id, parent.genome, shown, _TRAINING + draw.iteration)
        failed = [trajectory for trial, trajectory in tried if trajectory and not trial.passed]
        if not failed:
            raise Refused("its parent failed on no training document, so there is nothing to learn from")
        try:
            analysis = await author.analyse(draw.iteration, failed, history)
            edit: Edit = await author.edit(draw.iteration, parent.genome, analysis, history)
        except ParseError as error:
            raise Refused(f"no readable edit ({error})") from error
        if faults := self.wall.check(parent.genome, edit.genome):
            raise Refused("; ".join(faults))
        return Member(draw.iteration, parent.id, edit.genome, edit.hypothesis, analysis, edit.record)

    async def _compare(self, draw: Draw, parent: Member, child: Member) -> tuple[str, list[Trial]]:
        """Both on the same documents and seeds, look after look. Raises Refused for prompts that do not render."""
        trials: list[Trial] = []
        rule = self.recipe.acceptance
        for documents, number in self._plan_looks():
            own = self.recipe.baseline_draws + draw.iteration * rule.draws + number
            apart = _APART if self.recipe.mutation == "none" else 0  # equal prompts and seeds would be one evaluation
            try:
                both = await asyncio.gather(
                    self.evaluator.try_all(parent.id, parent.genome, documents, own),
                    self.evaluator.try_all(child.id, child.genome, documents, own + apart))  # fmt: skip
            except PromptError as error:
                raise Refused(f"its prompts do not render ({error})") from error
            trials += [trial for side in both for trial, _ in side]
            pairs = _pair(trials, parent.id, child.id)
            if rule.rule == "strict":
                return str(decide_strict(pairs)), trials
            at_most = rule.draws * len(self.splits.validation)
            decision = decide_paired(pairs, len(self.splits.validation), at_most, rule.alpha)
            if decision is not Decision.MORE:
                return str(decision), trials
        return str(Decision.REJECT), trials  # unmeasured pairs left too few

    def _plan_looks(self) -> list[tuple[Sequence[Document], int]]:
        """Which documents are tried before each look, and in which round over them."""
        documents, rule = self.splits.validation, self.recipe.acceptance
        if rule.rule == "strict":
            return [(documents, 0)]
        first = [(documents[:_FIRST_LOOK], 0), (documents[_FIRST_LOOK:], 0)]
        return [look for look in first if look[0]] + [(documents, number) for number in range(1, rule.draws)]

    async def try_test(self, member: Member) -> list[Trial]:
        """The documents that nothing was made from or accepted on."""
        found = [await self.evaluator.try_all(member.id, member.genome, self.splits.test, _TEST + draw)
                 for draw in range(self.recipe.test_draws)]  # fmt: skip
        return [trial for of in found for trial, _ in of]

    async def _measure_baseline(self) -> None:
        """The first member, on every validation document several times (paper, one reader: 100 samples)."""
        member = Member(0, None, self.baseline)
        population.save(self.run, member, None)
        self.population.members[0] = member
        found = [await self.evaluator.try_all(0, self.baseline, self.splits.validation, draw)
                 for draw in range(self.recipe.baseline_draws)]  # fmt: skip
        trials = [trial for of in found for trial, _ in of]
        self._finish(0, trials, {"parent": None, "outcome": "baseline", "tokens": sum(t.tokens for t in trials)})

    def _finish(self, iteration: int, trials: Sequence[Trial], facts: dict[str, Any]) -> None:
        """One durable line, and the running averages."""
        self.population.count(trials)
        best = self.population.best()
        line = {"iteration": iteration, **facts, "best": best.id, "best_pass_rate": best.rate,
                "trials": [asdict(trial) for trial in trials]}  # fmt: skip
        self.run.append(ITERATIONS, json.dumps(line).encode())
        self.lines.append(line)
        self._count()
        rate = write_percent(best.rate, 1)
        print(
            f"iteration {iteration}: {line['outcome'][:100]}; best {best.id} with {rate}", file=sys.stderr, flush=True
        )

    def _count(self) -> None:
        progress, done = self._progress, [line for line in self.lines if line["iteration"]]
        progress.done, progress.accepted = len(done), sum(line["outcome"] == Decision.ACCEPT for line in done)
        if self.lines:
            progress.facts = {"best member": self.lines[-1]["best"], "pass rate": self.lines[-1]["best_pass_rate"]}

    def _tell(self, seen: int) -> str:
        """What earlier iterations tried and what came of it, for analysers and editors."""
        lines = [line for line in self.lines[:seen] if line["iteration"]]
        return "\n".join(f"{line['iteration']}: {line['outcome']} ({line['wins']} better, {line['losses']} worse). "
                         f"{line['hypothesis']}" for line in lines[-_SHOWN_HISTORY:])  # fmt: skip


def _pair(trials: Sequence[Trial], parent: int, child: int) -> list[Pair]:
    """What both were measured on, in the order of the trials."""
    known = {(t.member, t.document, t.draw % _APART): t.passed for t in trials if t.passed is not None}
    return [Pair(passed, known[child, document, draw]) for (member, document, draw), passed in known.items()
            if member == parent and (child, document, draw) in known]  # fmt: skip


def _choose(documents: Sequence[Document], size: int, iteration: int) -> list[Document]:
    """The next so many, around and around."""
    start = iteration * size
    return [documents[(start + i) % len(documents)] for i in range(min(size, len(documents)))]


def _read_lines(run: Run, name: str) -> list[dict[str, Any]]:
    path = run.path(name)
    repair_tail(path)
    return read_records(path, LINE)
