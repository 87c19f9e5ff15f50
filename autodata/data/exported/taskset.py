"""The tasks as a taskset of verifiers, which prime-rl trains on: one question, one answer, one reward."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

import verifiers.v1 as vf

from .scorer import Turns, cut_reasoning, decide, read_reply, score, write_calls
from .tasks import ATTEMPTS, StoredVerdicts, load_tasks

_TURNS = {"user": vf.UserMessage, "assistant": vf.AssistantMessage, "system": vf.SystemMessage}


class RubricJudgeConfig(vf.JudgeConfig):
    """The endpoint of the judge. It has no default model: another judge gives other rewards."""

    model: str = ""
    asks: int = 3
    """How often a judge is asked whose replies cannot be read."""


class RubricTaskConfig(vf.TaskConfig):
    judge: RubricJudgeConfig = RubricJudgeConfig()
    verdicts: Path | None = None
    """A file like attempts.jsonl, whose verdicts are used instead of a judge's; `stored` is the package's own."""


class RubricData(vf.TaskData):
    task: dict[str, Any]
    """The line of tasks.jsonl."""


class RubricJudge(vf.Judge[list[bool], RubricJudgeConfig]):
    """Asks a judge which criteria an answer meets."""

    async def decide(self, task: dict[str, Any], answer: str, trace: vf.Trace) -> list[bool]:
        if not self.config.model:
            raise ValueError("name a judge in env.taskset.task.judge.model, or set env.taskset.task.verdicts=stored")
        calls = zip(write_calls(task, answer), task["judge_calls"], strict=True)
        asks = [self._ask_until_read(messages, call["criteria"], trace) for messages, call in calls]
        return [met for part in await asyncio.gather(*asks) for met in part]

    async def _ask_until_read(self, messages: Turns, criteria: int, trace: vf.Trace) -> list[bool]:
        turns = make_turns(messages)
        for number in range(self.config.asks):
            seed = {"seed": number} if number else {}  # another reply than the one that could not be read
            try:
                reply = await self.complete(turns, trace=trace, parse=lambda r: read_reply(r.text, criteria), **seed)
                return reply.parsed
            except ValueError as error:
                problem = error
        raise problem


class RubricTask(vf.Task[RubricData, vf.State, RubricTaskConfig]):
    @property
    def key(self) -> str:
        return self.data.task["id"]

    @vf.reward
    async def rubric(self, trace: vf.Trace) -> float:
        task, answer = self.data.task, cut_reasoning(trace.last_reply)
        met = decide(task, answer)
        if met is None and self.config.verdicts:
            met = open_verdicts(self.config.verdicts)(task, answer)
        if met is None:
            met = await RubricJudge(self.config.judge).decide(task, answer, trace)
        trace.info["met"] = met
        return score(task, met)


class RubricConfig(vf.TasksetConfig):
    split: str = "train"
    arm: str = ""
    """Only the tasks of this arm; all if it is empty."""
    task: RubricTaskConfig = RubricTaskConfig()


class RubricTaskset(vf.Taskset[RubricTask, RubricConfig]):
    def load(self) -> list[RubricTask]:
        return [
            RubricTask(make_data(task), self.config.task) for task in load_tasks(self.config.split, self.config.arm)
        ]


def make_data(task: dict[str, Any]) -> RubricData:
    """Split the prompt as verifiers wants it: the system's text apart, and a single turn as a text."""
    turns = make_turns(task["prompt"])
    system = turns.pop(0).content if task["prompt"][0]["role"] == "system" else None
    prompt = turns[0].content if len(turns) == 1 else turns
    return RubricData(id=task["id"], system_prompt=system, prompt=prompt, task=task)


def make_turns(messages: Turns) -> vf.Messages:
    """Make verifiers' messages."""
    return [_TURNS[turn["role"]](content=turn["content"]) for turn in messages]


@cache
def open_verdicts(path: Path) -> StoredVerdicts:
    """Read a file of verdicts once."""
    return StoredVerdicts(ATTEMPTS if path == Path("stored") else path)
