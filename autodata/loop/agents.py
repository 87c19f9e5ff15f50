"""Lets the agents speak: each renders its prompt, asks the model of its role, and reads the reply."""

import asyncio
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from autodata.loop import rubric
from autodata.loop.parsing import ParseError, read_object, read_verdicts, repair_object
from autodata.loop.prompts import PromptSet
from autodata.serving.measured import NotMeasured, advise
from autodata.serving.request import Request
from autodata.types import Candidate, Criterion, Judgement, Message, Outcome, Reply, Role

if TYPE_CHECKING:  # commands that only render prompts or count load no network code
    from autodata.serving.llm import Client

T = TypeVar("T")
MAX_REPLY_CHARS = 100_000  # beyond this a reply is a runaway, not a proposal
MAX_REASON_CHARS = 300
CUT_OFF_REPLY = "the reply was cut off by its budget"  # how the reason of such a malformed round begins
_WORTH_ANOTHER_SEED = (Outcome.EMPTY, Outcome.ABORTED, Outcome.REFUSED)


class Agents:
    """Makes all model calls of one document, with one prompt set and one client.

    `spent` counts tokens per role; `cached` and `reasoned` are parts of it. `outcomes` counts how calls ended. All of
    them include replayed replies, so a resumed run has the same counts.
    """

    def __init__(self, client: "Client", prompts: PromptSet):
        self.spent, self.cached, self.reasoned = Counter[str](), Counter[str](), Counter[str]()
        self.outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._client = client
        self._prompts = prompts

    async def ask(self, request: Request) -> Reply:
        """Ask any request and count it for this document. Raises NotMeasured, EndpointError, Draining."""
        reply = await self._client.ask(request)
        self.spent[request.role] += reply.prompt_tokens + reply.completion_tokens
        self.cached += Counter({request.role: reply.cached_tokens})  # the sum leaves out roles without any
        self.reasoned += Counter({request.role: reply.reasoning_tokens})
        self.outcomes[request.role][reply.outcome] += 1
        return reply

    async def write(self, role: Role, template: str, slots: Mapping[str, object], **fields: object) -> Reply:
        """Render a template and ask the model of `role`. `fields` are those of Request, such as `seed`, `schema`."""
        return await self.ask(Request(role, self._prompts.render(template, slots), **fields))

    async def solve(self, role: Role, slots: Mapping[str, object], seed: int, attempt: int) -> Reply:
        """Ask for one answer. Weak and strong solver render the same template, which never says who is asked."""
        return await self.write(role, "solver", slots, seed=seed, attempt=attempt)

    async def is_answering(self, role: Role, attempt: int) -> bool:
        """Return True if a solver's endpoint answers a trivial question with anything at all (paper Fig. 15)."""
        question = Message("user", "What is 2+2? Answer with the number only.")
        try:
            reply = await self.ask(Request(role, (question,), seed=attempt, attempt=attempt))
        except NotMeasured:
            return False
        return bool(reply.content.strip())

    async def judge(self, candidate: Candidate, answer: str, seed: int, asks: int, per_call: int = 0) -> Judgement:
        """Ask the judge which criteria `answer` meets, `per_call` of them at a time (0: all at once).

        The judge sees the question and the criteria, but neither the reference answer nor the weights. After `asks`
        unreadable replies to a part there is no judgement at all, which is not a score of zero. Raises EndpointError.
        """
        parts = split_rubric(candidate.rubric, per_call)
        try:
            read = await gather_all([self._judge_part(candidate, part, answer, seed, asks) for part in parts])
        except ParseError as error:
            return Judgement(None, None, f"judge failed: {error}")
        met = [m for part, _ in read for m in part]
        return rubric.judge(candidate.rubric, met, "\n".join(reasons for _, reasons in read))

    async def _judge_part(
        self, candidate: Candidate, part: Sequence[Criterion], answer: str, seed: int, asks: int
    ) -> tuple[tuple[bool, ...], str]:
        messages = self.render_judge(candidate, part, answer)
        request = Request(Role.JUDGE, messages, seed, schema=verdict_schema(len(part)))
        return await self.ask_until_read(request, lambda record: read_verdicts(record, len(part)), asks)

    def render_judge(self, candidate: Candidate, part: Sequence[Criterion], answer: str) -> tuple[Message, ...]:
        """Render the judge's prompt for some criteria of the rubric."""
        slots = {"question": candidate.question, "context": candidate.context, "answer": answer}
        slots |= {"criteria": [c.text for c in part], "is_whole": len(part) == len(candidate.rubric)}
        return self._prompts.render("judge", slots)

    async def ask_until_read(self, request: Request, read: Callable[[Mapping[str, object]], T], asks: int) -> T:
        """Ask until `read` can read a reply, at most `asks` times; return what it made of it.

        Raises ParseError if no reply could be read: there is no default verdict. Raises EndpointError.
        """
        for ask in range(asks):
            try:
                reply = await self.ask(replace(request, seed=request.seed + ask, attempt=request.attempt + ask))
                return read(self.read(reply, request.role))
            except NotMeasured as error:
                if error.outcome not in _WORTH_ANOTHER_SEED:
                    raise
                problem: Exception = error
            except ParseError as error:
                problem = error
            self.count_again(request.role)
        self._client.accounts[request.role].counts[Outcome.UNREADABLE] += 1
        raise ParseError(f"asked {asks} times: {problem}")

    def count_again(self, role: Role) -> None:
        """Count a reply that could not be read and for which the role is asked again."""
        self._client.accounts[role].counts["asked_again"] += 1

    def read(self, reply: Reply, role: Role) -> dict[str, object]:
        """Read the JSON object in a finished reply, after a repair if it needs one. Raises ParseError."""
        if reply.outcome is Outcome.CUT_OFF:
            advice = advise(role, Outcome.CUT_OFF)
            raise ParseError(f"{CUT_OFF_REPLY} after {reply.completion_tokens} tokens: {advice}")
        if len(reply.content) > MAX_REPLY_CHARS:
            raise ParseError(f"a reply of {len(reply.content)} characters, more than {MAX_REPLY_CHARS}")
        try:
            return read_object(reply.content)
        except ParseError:
            repaired = repair_object(reply.content)
            self._client.accounts[role].counts["repaired_json"] += 1
            return repaired


def split_rubric(rubric: Sequence[Criterion], per_call: int) -> list[Sequence[Criterion]]:
    """Split a rubric into the parts that the judge is shown, `per_call` criteria each (0: all at once)."""
    size = per_call or len(rubric)
    return [rubric[i : i + size] for i in range(0, len(rubric), size)]


def verdict_schema(count: int) -> dict[str, object]:
    """Make the JSON schema of a judge's reply: one verdict per criterion, in order, each after its reason."""
    # The reason comes first, so that it can shape the verdict.
    rest = {"reason": {"type": "string", "maxLength": MAX_REASON_CHARS}, "met": {"type": "boolean"}}
    verdicts = [make_object({"criterion": {"enum": [number]}, **rest}) for number in range(1, count + 1)]
    bounds = {"minItems": count, "maxItems": count}
    return make_object({"verdicts": {"type": "array", "prefixItems": verdicts, "items": False} | bounds})


def make_object(properties: dict[str, object]) -> dict[str, object]:
    """Make the JSON schema of an object that has exactly these properties, in this order."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def make_text(at_most: int) -> dict[str, object]:
    """Make the JSON schema of a text of 1 to `at_most` characters."""
    return {"type": "string", "minLength": 1, "maxLength": at_most}


async def gather_all(calls: Sequence[Awaitable[T]]) -> list[T]:
    """Await all calls, then return all results or raise the first failure: the other calls are paid for anyway."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for failure in (r for r in results if isinstance(r, BaseException)):
        raise failure
    return [r for r in results if not isinstance(r, BaseException)]


def attempt_seed(seed: int, document_id: str, round_number: int, role: Role, attempt: int) -> int:
    """Derive an independent seed for each attempt: a hash of the run's seed, document, round, role and attempt."""
    text = json.dumps([seed, document_id, round_number, role, attempt])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
