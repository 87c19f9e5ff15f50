"""Rewards answers in trainers that take a Python function, such as TRL. Needs nothing but Python.

judge = Judge("http://127.0.0.1:8000/v1", "the-judge")
GRPOTrainer(…, train_dataset=Dataset.from_list(load_tasks("train")), reward_funcs=make_reward(judge))
"""

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from urllib.request import Request, urlopen

from .scorer import Task, Turns, Unreadable, cut_reasoning, decide, read_reply, score, write_calls
from .tasks import StoredVerdicts, load_tasks

log = logging.getLogger(__name__)
Decide = Callable[[Task, str], list[bool]]  # one boolean per criterion
Completion = str | Sequence[Mapping[str, str]]


class Judge:
    """A model behind an OpenAI-compatible address that decides which criteria an answer meets."""

    def __init__(self, url: str, model: str, key: str = "", asks: int = 3, **sampling: object):
        self._url, self._model, self._key = url.rstrip("/"), model, key
        self._asks, self._sampling = asks, sampling

    def __call__(self, task: Task, answer: str) -> list[bool]:
        """Return one boolean per criterion. Raises OSError, HTTPException, Unreadable."""
        calls = zip(write_calls(task, answer), task["judge_calls"], strict=True)
        return [met for messages, call in calls for met in self._ask_until_read(messages, call["criteria"])]

    def _ask_until_read(self, messages: Turns, criteria: int) -> list[bool]:
        problem = Unreadable("the judge was not asked")
        for number in range(self._asks):
            try:
                return read_reply(self._ask(messages, number), criteria)
            except Unreadable as error:
                problem = error
        raise problem

    def _ask(self, messages: Turns, number: int) -> str:
        body = {"model": self._model, "messages": messages, **self._sampling}
        body |= {"seed": number} if number else {}  # another reply than the one that could not be read
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._key}"} if self._key else {}
        )
        request = Request(f"{self._url}/chat/completions", json.dumps(body).encode(), headers)
        with urlopen(request, timeout=600) as reply:
            record = json.load(reply)
        try:
            return record["choices"][0]["message"]["content"] or ""
        except (LookupError, TypeError) as error:
            raise Unreadable(f"no message in the judge's reply: {str(record)[:80]}") from error


def choose_judge() -> Decide:
    """Make the judge that the environment names. Raises ValueError if it names none."""
    names = os.environ
    if path := names.get("VERDICTS"):
        return StoredVerdicts() if path == "stored" else StoredVerdicts(Path(path))
    if names.get("JUDGE_URL") and names.get("JUDGE_MODEL"):
        return Judge(names["JUDGE_URL"], names["JUDGE_MODEL"], names.get("JUDGE_API_KEY", ""))
    raise ValueError("set JUDGE_URL and JUDGE_MODEL, or VERDICTS=stored to replay the stored verdicts")


def reward(task: Task, answer: str, judge: Decide) -> float:
    """Score one answer; the judge is asked only where code cannot decide. Raises what the judge raises."""
    met = decide(task, answer)
    return score(task, judge(task, answer) if met is None else met)


def make_reward(judge: Decide, workers: int = 32) -> Callable[..., list[float | None]]:
    """Make TRL's reward function. A completion that could not be judged has no reward, which is not a reward of 0."""
    tasks = {task["id"]: task for task in load_tasks()}

    def rubric_reward(completions: Sequence[Completion], id: Sequence[str], **columns: object) -> list[float | None]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda name, one: _try(tasks[name], _read(one), judge), id, completions))

    return rubric_reward


def _try(task: Task, answer: str, judge: Decide) -> float | None:
    try:
        return reward(task, answer, judge)
    except (OSError, HTTPException, ValueError) as error:
        log.warning("no reward for task %s: %s", task["id"], error)
        return None


def _read(completion: Completion) -> str:
    """Return the answer in a completion."""
    return cut_reasoning(completion if isinstance(completion, str) else completion[-1]["content"] or "")
