"""The tasks as an OpenEnv server: `reset` gives a prompt, `step` takes the answer, rewards it and ends the episode.

JUDGE_URL=… JUDGE_MODEL=… uvicorn PACKAGE.server:app
"""

import os
import random
from typing import Any
from uuid import uuid4

from openenv.core.env_server.http_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field

from .reward import choose_judge, reward
from .scorer import Task
from .tasks import load_tasks

TASKS = load_tasks(os.environ.get("SPLIT", ""), os.environ.get("ARM", ""))
JUDGE = choose_judge()


class Answer(Action):
    answer: str = Field(description="the answer to the prompt, without the reasoning before it")


class Question(Observation):
    task: str = Field(description="the id of the task")
    prompt: list[dict[str, str]] = Field(default_factory=list, description="the turns to answer")


class RubricEnvironment(Environment[Answer, Question, State]):
    """Asks one question an episode."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self._state = State(episode_id=str(uuid4()))
        self._task: Task = TASKS[0]

    def reset(
        self, seed: int | None = None, episode_id: str | None = None, task: str = "", **options: Any
    ) -> Question:
        """Begin with the task of this id, or with one that the seed chooses. Raises ValueError for an unknown id."""
        chosen = [one for one in TASKS if one["id"] == task] if task else [random.Random(seed).choice(TASKS)]
        if not chosen:
            raise ValueError(f"no task {task}")
        self._task, self._state = chosen[0], State(episode_id=episode_id or str(uuid4()))
        return Question(task=self._task["id"], prompt=self._task["prompt"], done=False, reward=None)

    def step(self, action: Answer, timeout_s: float | None = None, **options: Any) -> Question:
        """Reward the answer. Raises what the judge raises: an answer that is not judged has no reward."""
        self._state.step_count += 1
        return Question(task=self._task["id"], done=True, reward=reward(self._task, action.answer, JUDGE))

    @property
    def state(self) -> State:
        return self._state


app = create_app(RubricEnvironment, Answer, Question, env_name=__package__, max_concurrent_envs=64)
