"""Runs the evolutionary search: draw a parent, see why it fails, edit it, compare the two, keep a better mutant."""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptError
from autodata.meta import population
from autodata.meta.evaluate import APART, Evaluator, Trial, pair_trials
from autodata.meta.gate import Decision, Pair, count, decide, plan_looks
from autodata.meta.genome import read_baseline
from autodata.meta.mutate import Author
from autodata.meta.population import Member, Splits
from autodata.meta.wall import Wall
from autodata.recipes.meta import MetaRecipe
from autodata.run.folder import Run
from autodata.run.progress import Progress
from autodata.run.records import LINE, read_records, repair_tail
from autodata.serving.costs import find_spent_budget
from autodata.serving.llm import Client, Draining
from autodata.stats.writing import write_percent
from autodata.types import Document

ITERATIONS, DRAWS = "iterations.jsonl", "draws.jsonl"
_TRAINING, _TEST = 10_000_000, 20_000_000  # offsets that keep draws of different uses apart, all below APART
_SHOWN_HISTORY = 20  # the latest iterations, shown to analyser and editor


class Refused(ValueError):
    """There is no mutant to compare; the message says why not."""


@dataclass(frozen=True)
class Draw:
    """What an iteration began with. Saved before its first call, so that a resumed run draws the same parent."""

    iteration: int
    seen: int  # how many iterations were finished then
    parent: int
    chances: dict[str, float]


class Search:
    """Runs all iterations. Each finished one is a line of iterations.jsonl, in the order in which they finished."""

    def __init__(self, run: Run, recipe: MetaRecipe, client: Client, splits: Splits):
        self.run, self.recipe, self.client, self.splits = run, recipe, client, splits
        self.baseline = read_baseline(recipe.domain)
        held_out = [d.text for d in (*splits.validation, *splits.test)]
        self.wall = Wall(self.baseline, held_out, [e.model for e in recipe.models.endpoints.values()])
        self.evaluator = Evaluator(recipe, client, run.path("genomes"))
        self.lines = _read_lines(run, ITERATIONS)
        self.population = population.read_population(run.path(population.MEMBERS), recipe, self.lines)
        self.draws = {d["iteration"]: Draw(**d) for d in _read_lines(run, DRAWS)}
        self._taken: set[int] = set()

    async def run_all(self, progress: Progress) -> None:
        """Measure the baseline, then run all iterations. Raises EndpointError, JournalError, RunError."""
        self._progress, progress.total = progress, self.recipe.iterations
        self._count()
        progress.begin()
        if not self.lines:
            await self._measure_baseline()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.recipe.iterations_in_flight):
                    group.create_task(self._work())
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    async def _work(self) -> None:
        while draw := self._take():
            try:
                await self._iterate(draw)
            except Draining:
                return

    def _take(self) -> Draw | None:
        """Take an iteration that was begun and not finished, else a new one; None if there is none."""
        finished = {line["iteration"] for line in self.lines}
        begun = sorted(set(self.draws) - finished - self._taken)
        draw = self.draws[begun[0]] if begun else self._draw()
        if draw:
            self._taken.add(draw.iteration)
        return draw

    def _draw(self) -> Draw | None:
        iteration = max(self.draws, default=0) + 1
        ledger, hours = self._progress.ledger(), self._progress.hours
        is_spent = find_spent_budget(self.recipe.budget, ledger, hours) is not None
        if iteration > self.recipe.iterations or self.client.draining or is_spent:
            return None
        chances = {str(id): round(chance, 4) for id, chance in self.population.weigh().items()}
        draw = Draw(iteration, len(self.lines), self.population.draw(self.recipe.seed * APART + iteration), chances)
        self.run.append(DRAWS, json.dumps(asdict(draw)).encode())
        self.draws[iteration] = draw
        return draw

    # ── one iteration ──

    async def _iterate(self, draw: Draw) -> None:
        """Make a mutant, compare it, and save the outcome. Raises Draining, EndpointError, JournalError."""
        parent = self.population.members[draw.parent]
        recipe, gate = self.recipe, self.recipe.domain.presets[self.recipe.domain.preset]
        author = Author(self.client, recipe.seed, recipe.asks, recipe.shown_chars, gate)
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
        facts = {
            "parent": draw.parent,
            "seen": draw.seen,
            "outcome": outcome,
            "wins": wins,
            "losses": losses,
            "hypothesis": child.hypothesis if child else "",
            "analysis": child.analysis if child else "",
            "tokens": author.spent + sum(trial.tokens for trial in trials),
        }
        self._finish(draw.iteration, trials, facts)

    async def _mutate(self, draw: Draw, parent: Member, author: Author) -> Member:
        """Make a mutant that may be tried. Raises Refused."""
        if self.recipe.mutation == "none":
            unchanged = {"hypothesis": "nothing is changed", "passed": 0, "tried": 0}
            return replace(parent, id=draw.iteration, parent=parent.id, **unchanged)
        training, size = self.splits.training, self.recipe.minibatch
        # The next documents, starting over at the end of the list.
        documents = [training[(draw.iteration * size + i) % len(training)] for i in range(min(size, len(training)))]
        history = self._describe_history(draw.seen)
        trials = await self.evaluator.try_all(parent.id, parent.genome, documents, _TRAINING + draw.iteration)
        measured = [(trial, trajectory) for trial, trajectory in trials if trajectory]
        failed = [trajectory for trial, trajectory in measured if not trial.passed]
        if not failed:
            raise Refused("its parent failed on no training document, so there is nothing to learn from")
        try:
            analysis = await author.analyse(draw.iteration, failed, len(measured), history)
            edit = await author.edit(draw.iteration, parent.genome, analysis, history)
        except ParseError as error:
            raise Refused(f"no readable edit ({error})") from error
        if faults := self.wall.check(parent.genome, edit.genome):
            raise Refused("; ".join(faults))
        return Member(draw.iteration, parent.id, edit.genome, edit.hypothesis, analysis, edit.record)

    async def _compare(self, draw: Draw, parent: Member, child: Member) -> tuple[str, list[Trial]]:
        """Try both on the same documents and seeds until the gate decides. Raises Refused if prompts do not render."""
        trials: list[Trial] = []
        rule = self.recipe.acceptance
        for documents, number in plan_looks(self.splits.validation, rule):
            parent_draw = self.recipe.baseline_draws + draw.iteration * rule.draws + number
            # With mutation=none the prompts are equal, and equal seeds would give the same evaluation twice.
            child_draw = parent_draw + (APART if self.recipe.mutation == "none" else 0)
            try:
                both = await asyncio.gather(
                    self.evaluator.try_all(parent.id, parent.genome, documents, parent_draw),
                    self.evaluator.try_all(child.id, child.genome, documents, child_draw),
                )
            except PromptError as error:
                raise Refused(f"its prompts do not render ({error})") from error
            trials += [trial for side in both for trial, _ in side]
            pairs = _pair(trials, parent.id, child.id)
            decision = decide(pairs, len(self.splits.validation), rule)
            if decision is not Decision.MORE:
                return str(decision), trials
        return str(Decision.REJECT), trials  # too few pairs were measured to decide

    async def try_test(self, member: Member) -> list[Trial]:
        """Try a member on the test documents, which no edit was made from or accepted on."""
        return await self._try_draws(member, self.splits.test, range(_TEST, _TEST + self.recipe.test_draws))

    async def _try_draws(self, member: Member, documents: Sequence[Document], draws: Iterable[int]) -> list[Trial]:
        results = [await self.evaluator.try_all(member.id, member.genome, documents, draw) for draw in draws]
        return [trial for results_of_draw in results for trial, _ in results_of_draw]

    async def _measure_baseline(self) -> None:
        """Try the first member on every validation document several times (paper, one reader: 100 samples)."""
        member = Member(0, None, self.baseline)
        population.save(self.run, member, None)
        self.population.members[0] = member
        trials = await self._try_draws(member, self.splits.validation, range(self.recipe.baseline_draws))
        self._finish(0, trials, {"parent": None, "outcome": "baseline", "tokens": sum(t.tokens for t in trials)})

    def _finish(self, iteration: int, trials: Sequence[Trial], facts: dict[str, Any]) -> None:
        """Append the line of a finished iteration, and update the running averages and the progress."""
        self.population.count(trials)
        best = self.population.best()
        facts |= {"best": best.id, "best_pass_rate": best.rate, "trials": [asdict(trial) for trial in trials]}
        line = {"iteration": iteration, **facts}
        self.run.append(ITERATIONS, json.dumps(line).encode())
        self.lines.append(line)
        self._count()
        best_so_far = f"best prompt set so far: {best.id}, pass rate {write_percent(best.rate, 1)}"
        print(f"iteration {iteration}: {line['outcome'][:100]}; {best_so_far}", file=sys.stderr, flush=True)

    def _count(self) -> None:
        progress, done = self._progress, [line for line in self.lines if line["iteration"]]
        progress.done, progress.accepted = len(done), sum(line["outcome"] == Decision.ACCEPT for line in done)
        if self.lines:
            progress.facts = {"best member": self.lines[-1]["best"], "pass rate": self.lines[-1]["best_pass_rate"]}

    def _describe_history(self, seen: int) -> str:
        """Describe what earlier iterations tried and how it ended, for the analyser and the editor."""
        text = "{iteration}: {outcome} ({wins} better, {losses} worse). {hypothesis}"
        lines = [text.format_map(line) for line in self.lines[:seen] if line["iteration"]]
        return "\n".join(lines[-_SHOWN_HISTORY:])


def _pair(trials: Sequence[Trial], parent: int, child: int) -> list[Pair]:
    sides = ([trial for trial in trials if trial.member == id] for id in (parent, child))
    return [pair for _, pair in pair_trials(*sides)]


def _read_lines(run: Run, name: str) -> list[dict[str, Any]]:
    """Read a JSONL file of the run, after removing a last line that was cut short."""
    repair_tail(run.path(name))
    return read_records(run.path(name), LINE)
