"""Measures the time of each phase of a training step, and the memory that the device has in use meanwhile."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback
from trl.extras.profiling import ProfilingContext

GENERATIONS = ("vLLM.generate", "transformers.generate")
_LOGPS = "_get_per_token_logps_and_entropies"
_EVERY_S = 0.1  # time between two looks at the memory


@dataclass
class Step:
    """One training step, in seconds of a clock that only goes forward."""

    start: float = 0.0
    end: float = 0.0
    generated: float = 0.0  # when its last completion was there
    phases: Counter[str] = field(default_factory=Counter)  # seconds by TRL's name of the phase

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def summarize(self) -> dict[str, float]:
        """Return the seconds of each phase. `update_s` is the rest: forward, backward and the optimizer."""
        return {
            "step_s": self.seconds,
            "generation_s": sum(self.phases[name] for name in GENERATIONS),
            "sync_s": self.phases["sync_weights"],
            "old_logps_s": self.phases["old_logps"],
            "judge_s": self.phases["_calculate_rewards"],
            "update_s": self.seconds - self.phases["_prepare_inputs"],
        }


class PhaseClock(TrainerCallback):
    """Adds up the phases that TRL times itself. The GPU finishes its work before a phase is over."""

    def __init__(self) -> None:
        self.steps: defaultdict[int, Step] = defaultdict(Step)  # by the number of finished steps before it

    def on_step_begin(self, args: object, state: Any, control: object, **_: object) -> None:
        self.steps[state.global_step].start = wait_and_read()

    def on_step_end(self, args: object, state: Any, control: object, **_: object) -> None:
        self.steps[state.global_step - 1].end = wait_and_read()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Make TRL tell this clock what it would tell a tracker."""
        leave, tell = ProfilingContext.__exit__, ProfilingContext._log_metrics

        def wait_and_leave(context: ProfilingContext, *error: object) -> bool:
            wait_and_read()
            return leave(context, *error)

        ProfilingContext.__exit__ = wait_and_leave
        ProfilingContext._log_metrics = lambda context, seconds: self._add(context, seconds)
        try:
            yield
        finally:
            ProfilingContext.__exit__, ProfilingContext._log_metrics = leave, tell

    def _add(self, context: ProfilingContext, seconds: float) -> None:
        name, step = context.name.partition(".")[2], self.steps[context.step]
        if name == _LOGPS:
            name = "forward" if torch.is_grad_enabled() else "old_logps"
        step.phases[name] += seconds
        if name in GENERATIONS:
            step.generated = time.monotonic()


class MemoryWatch:
    """Looks again and again at how much memory of the device is in use, by all programs."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, float]] = []  # (time, bytes)
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def find_peak_gb(self, start: float, end: float) -> float | None:
        """Return the most that was in use between two times; None without a GPU."""
        return max((used / 1e9 for moment, used in self._seen if start <= moment <= end), default=None)

    def _watch(self) -> None:
        while torch.cuda.is_available() and not self._ended.wait(_EVERY_S):
            free, total = torch.cuda.mem_get_info()
            self._seen.append((time.monotonic(), total - free))


def wait_and_read() -> float:
    """Wait until the GPU has finished its work, then read the clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


def read_peak_gb() -> float | None:
    """Return the most memory that PyTorch had allocated on the GPU; None without one."""
    return torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None
