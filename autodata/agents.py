"""The agents: each renders its prompt, asks the model of its role, and reads the reply."""

from collections.abc import Mapping

from autodata import rubric
from autodata.llm import Client, Request
from autodata.parsing import ParseError, read_verdicts
from autodata.prompts import PromptSet
from autodata.types import Candidate, Judgement, Outcome, Reply, Role


class Agents:
    """Challenger, solver and judge over one prompt set and one client."""

    def __init__(self, client: Client, prompts: PromptSet):
        self._client = client
        self._prompts = prompts

    async def challenge(self, slots: Mapping[str, object], schema: dict[str, object], seed: int) -> Reply:
        """A proposal, as text that should follow `schema`. Raises EndpointError, PromptError."""
        messages = self._prompts.render("challenger", slots)
        return await self._client.ask(Request(Role.CHALLENGER, messages, seed, schema=schema))

    async def solve(self, role: Role, slots: Mapping[str, object], seed: int, attempt: int) -> Reply:
        """One answer. Weak and strong render the same template, which never says who is asked."""
        messages = self._prompts.render("solver", slots)
        return await self._client.ask(Request(role, messages, seed, attempt))

    async def judge(self, candidate: Candidate, answer: str, seed: int, asks: int) -> Judgement:
        """Which criteria `answer` meets; after `asks` unreadable replies: none, never a zero.

        The judge sees question and criteria, not the reference answer and not the weights.
        """
        count, problem = len(candidate.rubric), ""
        slots = {"question": candidate.question, "context": candidate.context, "answer": answer,
                 "criteria": [c.text for c in candidate.rubric]}  # fmt: skip
        messages = self._prompts.render("judge", slots)
        for ask in range(asks):
            request = Request(Role.JUDGE, messages, seed + ask, ask, _verdict_schema(count))
            reply = await self._client.ask(request)
            try:
                met, reasons = read_verdicts(_complete(reply), count)
                return rubric.judge(candidate.rubric, met, reasons)
            except ParseError as error:
                problem = str(error)
        return Judgement(None, None, f"judge failed {asks} times: {problem}")


def _complete(reply: Reply) -> str:
    if reply.outcome is not Outcome.OK:
        raise ParseError(f"the judge's reply ended as {reply.outcome}")
    return reply.content


def _verdict_schema(count: int) -> dict[str, object]:
    verdict = {
        "type": "object",
        "properties": {
            "criterion": {"type": "integer", "minimum": 1, "maximum": count},
            "reason": {"type": "string"},  # before the verdict, so that it can shape it
            "met": {"type": "boolean"},
        },
        "required": ["criterion", "reason", "met"],
        "additionalProperties": False,
    }
    verdicts = {"type": "array", "items": verdict, "minItems": count, "maxItems": count}
    return {
        "type": "object",
        "properties": {"verdicts": verdicts},
        "required": ["verdicts"],
        "additionalProperties": False,
    }
