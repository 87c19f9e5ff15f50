"""Stands in for vLLM's engine beside a trainer: the same `step`, with completions that are ready at given times."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from trl.trainer.utils import start_event_loop_in_daemon

from autodata.training.rewards.reward import Reward


@dataclass(frozen=True)
class Planned:
    """One completion of a step: its row, its text, and the seconds after which it is ready."""

    row: Mapping[str, object]
    text: str
    ready_s: float


class ScriptedEngine:
    """Returns a completion from the first `step` after its time; `step` blocks until there is one, as a GPU would."""

    def __init__(self, tokenizer):
        self._tokenizer, self._waiting = tokenizer, []

    def add(self, planned: Sequence[Planned]) -> None:
        start = time.monotonic()
        self._waiting = sorted(((start + p.ready_s, p) for p in planned), key=lambda pair: pair[0])

    def has_unfinished_requests(self) -> bool:
        return bool(self._waiting)

    def step(self) -> list[SimpleNamespace]:
        at, planned = self._waiting.pop(0)
        time.sleep(max(0.0, at - time.monotonic()))
        prompt_ids = self._tokenizer(text=planned.row["prompt"])["input_ids"]
        running = SimpleNamespace(finished=False, prompt_token_ids=prompt_ids, outputs=[])
        return [running, SimpleNamespace(finished=True, prompt_token_ids=prompt_ids, outputs=[self._encode(planned)])]

    def _encode(self, planned: Planned) -> SimpleNamespace:
        return SimpleNamespace(token_ids=encode(self._tokenizer, planned.text))


def encode(tokenizer, text: str) -> list[int]:
    return [*tokenizer(text=text)["input_ids"], tokenizer.eos_token_id]


class ScriptedTrainer:
    """Has the parts of TRL's trainer that judging early needs, and TRL's own event loop."""

    def __init__(self, tokenizer, **config: object):
        defaults = {"use_vllm": True, "vllm_mode": "colocate", "vllm_tensor_parallel_size": 1}
        self.args = SimpleNamespace(**defaults | config)
        self.processing_class = tokenizer
        self.engine = ScriptedEngine(tokenizer)
        self.vllm_generation = SimpleNamespace(llm=SimpleNamespace(llm_engine=self.engine))
        self.thread, self.async_loop, _ = start_event_loop_in_daemon()
        self.metrics: dict[str, list[float]] = {}

    def generate(self, planned: Sequence[Planned]) -> None:
        """Generate a step's completions, as vLLM's LLM.generate does."""
        self.engine.add(planned)
        while self.engine.has_unfinished_requests():
            self.engine.step()

    def score(self, reward: Reward, planned: Sequence[Planned]) -> list[float | None]:
        """Return the rewards, as TRL does after the last completion."""
        ids = [encode(self.processing_class, p.text) for p in planned]
        scoring = reward.score(
            prompts=[p.row["prompt"] for p in planned],
            completions=self.processing_class.batch_decode(ids, skip_special_tokens=True),
            completion_ids=ids,
            candidate=[p.row["candidate"] for p in planned],
            set=["train"] * len(planned),
            log_metric=lambda name, value: self.metrics.setdefault(name, []).append(value),
        )
        return asyncio.run_coroutine_threadsafe(scoring, self.async_loop).result()

    def step(self, reward: Reward, planned: Sequence[Planned], forward_s: float = 0.0) -> list[float | None]:
        """Generate, take `forward_s` for the old log-probabilities, and score."""
        self.generate(planned)
        time.sleep(forward_s)
        return self.score(reward, planned)

    def stop(self) -> None:
        self.async_loop.call_soon_threadsafe(self.async_loop.stop)
        self.thread.join()
