"""Grades answers to PRBench with one call for each criterion, as the benchmark does."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autodata.eval.prbench.data import Task, flatten
from autodata.loop.agents import Agents, gather_all, make_object
from autodata.loop.parsing import ParseError
from autodata.loop.prompts import PromptSet
from autodata.recipes.models import Models, RoleConfig
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.measured import NotMeasured
from autodata.serving.request import Request
from autodata.types import Role

_VERDICT = make_object({"explanation": {"type": "string"}, "criteria_met": {"type": "boolean"}})


class Grader:
    """One of the models that grade. Its replies are kept in the run's journal like all others."""

    def __init__(self, name: str, role: RoleConfig, models: Models, journal: Journal, asks: int):
        self.name = name
        self.problem = ""  # why the last grade was lost
        self.client = Client(replace(models, judge=role), journal)
        self._asks = asks
        self._prompts = PromptSet(Path(__file__).parent / "prompts")
        self._agents = Agents(self.client, self._prompts)

    async def grade(self, task: Task, answer: str, seed: int) -> list[bool | None]:
        """Ask for one verdict per criterion; None if no reply could be read. An empty answer meets no criterion.

        Raises EndpointError, Draining, JournalError.
        """
        answer = strip_reasoning(answer)
        if not answer:
            return [False] * len(task.criteria)
        return await gather_all([self._grade_one(task, answer, c.title, seed) for c in task.criteria])

    async def _grade_one(self, task: Task, answer: str, title: str, seed: int) -> bool | None:
        slots = {"conversation": flatten(task.messages), "answer": answer, "criterion": title}
        request = Request(Role.JUDGE, self._prompts.render("grader", slots), seed, schema=_VERDICT)
        try:
            return await self._agents.ask_until_read(request, read_verdict, self._asks)
        except (ParseError, NotMeasured) as error:
            self.problem = str(error)
            return None


def strip_reasoning(text: str) -> str:
    """Remove the blocks of reasoning that the benchmark's own code removes; it keeps a block that never ends."""
    for tag in ("think", "thinking", "reasoning", "reason"):
        before, *blocks = text.split(f"<{tag}>")
        ends = [block.partition(f"</{tag}>") for block in blocks]
        text = before + "".join(after if end else f"<{tag}>{content}" for content, end, after in ends)
    return text.strip()


def read_verdict(record: Mapping[str, object]) -> bool:
    """Read the verdict in a reply. Raises ParseError for anything but true and false."""
    met = record.get("criteria_met")
    if not isinstance(met, bool):
        raise ParseError(f"criteria_met is {met!r}")
    return met


def make_graders(roles: Mapping[str, RoleConfig], models: Models, journal: Journal, asks: int) -> Sequence[Grader]:
    """Make the graders that the recipe names, or its judge alone if it names none."""
    named = dict(roles) or ({"judge": models.judge} if models.judge else {})
    return [Grader(name, role, models, journal, asks) for name, role in named.items()]
