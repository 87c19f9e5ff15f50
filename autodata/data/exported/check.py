"""Checks that another project's code gives every stored attempt the reward that it has in the data set.

python -m PACKAGE.check verifiers|openenv|python
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator

from .reward import make_reward
from .scorer import Task
from .tasks import ATTEMPTS, StoredVerdicts, load_tasks, read_lines


def reward_by_python(attempts: Iterable[Task]) -> Iterator[float]:
    """Reward the answers by the function that TRL calls."""
    reward = make_reward(StoredVerdicts(), workers=1)
    for attempt in attempts:
        yield from reward(completions=[attempt["answer"]], id=[attempt["task"]])


def reward_by_verifiers(attempts: Iterable[Task]) -> Iterator[float]:
    """Reward the answers by verifiers' own loader, task and trace."""
    import verifiers.v1 as vf

    tasks = {}
    for split in sorted({task["split"] for task in load_tasks()}):
        config = {"id": __package__, "split": split, "task": {"verdicts": "stored"}}
        taskset = vf.load_taskset(vf.taskset_config_type(__package__).model_validate(config))
        tasks |= {task.key: task for task in taskset}
    for attempt in attempts:
        task = tasks[attempt["task"]]
        reply = vf.MessageNode(message=vf.AssistantMessage(content=attempt["answer"]), sampled=True)
        described = vf.TraceTask(type=type(task).__name__, data=task.data)
        trace = vf.Trace(task=described, agent=vf.AgentInfo(config=vf.AgentConfig()), nodes=[reply])
        asyncio.run(task.score(trace))
        yield trace.reward


def reward_by_openenv(attempts: Iterable[Task], port: int = 8017) -> Iterator[float]:
    """Reward the answers by an OpenEnv server and its client."""
    os.environ["VERDICTS"] = "stored"
    import uvicorn
    from openenv.core import GenericEnvClient

    from .server import app

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.1)
    with GenericEnvClient(base_url=f"http://127.0.0.1:{port}").sync() as client:
        for attempt in attempts:
            client.reset(task=attempt["task"])
            yield client.step({"answer": attempt["answer"]}).reward
    server.should_exit = True


def main() -> None:
    ways = {"python": reward_by_python, "verifiers": reward_by_verifiers, "openenv": reward_by_openenv}
    if len(sys.argv) != 2 or sys.argv[1] not in ways:
        sys.exit(f"usage: python -m {__package__}.check {'|'.join(ways)}")
    attempts = list(read_lines(ATTEMPTS))
    rewards = list(ways[sys.argv[1]](attempts))
    wrong = [(a["task"], a["score"], r) for a, r in zip(attempts, rewards, strict=True) if a["score"] != r]
    print(f"{len(rewards)} rewards by {sys.argv[1]}, {len(wrong)} of them not equal to the stored scores")
    for task, stored, given in wrong[:10]:
        print(f"task {task}: {given!r} instead of {stored!r}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
