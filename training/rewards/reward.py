"""Rewards completions with scores of the domain's judge, the same that accepted the example."""

import asyncio
import logging
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autodata.config import RecipeError
from autodata.loop.domain import Domain
from autodata.recipes.training import RewardConfig
from autodata.serving.llm import Client
from autodata.serving.measured import Window
from autodata.training.rewards.counts import Books
from autodata.training.rewards.judging import Case, JudgeRunner, Scored
from autodata.training.rows import read_answer
from autodata.types import UserError

log = logging.getLogger(__name__)
Log = Callable[[str, float], None]  # TRL's log_metric
CUT_OFF = ("zero", "penalise", "mask", "judge")
_SPAN = 8  # length of a sequence in words


class JudgeDown(UserError):
    """Too many judgements fail for the training to mean anything."""


@dataclass(frozen=True)
class Completion:
    """One completion, split into its answer and how it ended."""

    answer: str  # empty if there is none
    is_cut_off: bool
    is_guarded: bool  # too long or too repetitive to be judged


class Reward:
    """Judges the completions of a step concurrently; a completion that cannot be judged has no reward.

    `second` judges the completions whose row says so, for comparison only. `end_ids` are the token ids that end a
    completion. `books` counts judgements and failures; the second judge's calls are only in the ledger. With `start`
    some judgements begin before `score`; rewards, counts and calls are the same without it.
    """

    def __init__(
        self, domain: Domain, client: Client, config: RewardConfig, books: Books, second: Domain | None = None
    ):
        if config.cut_off not in CUT_OFF:
            raise RecipeError(f"reward.cut_off={config.cut_off}: choose one of {', '.join(CUT_OFF)}")
        self.books = books
        self.end_ids: frozenset[int] = frozenset()
        self._config, self._window = config, Window(config.max_failures)
        self._first = JudgeRunner(domain, client, books)
        self._second = JudgeRunner(second, client, books) if second else None
        self._last_end: float | None = None  # when the last step had its rewards

    def start(self, row: Mapping[str, Any], completion: str, ids: Sequence[int], loop: AbstractEventLoop) -> None:
        """Start to judge a completion of the next `score`, on the loop of `score`. Any thread may call this."""
        read = self._read(row["prompt"], completion, ids)
        if self._is_judged(read):
            self._first.start((row["candidate"], read.answer), loop)

    async def score(
        self, prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[list[int]], **columns: Any
    ) -> list[float | None]:
        """Return one reward per completion; None (never 0) if judging failed or the policy masks the completion.

        TRL leaves None out of the group's baseline and gives that completion no gradient. The columns `candidate`,
        `set`, `second` (if present) and TRL's `log_metric` are used. Raises JudgeDown.
        """
        begin, candidate, second = time.monotonic(), columns["candidate"], columns.get("second", ())
        read = [self._read(*parts) for parts in zip(prompts, completions, completion_ids, strict=True)]
        judged = {i: (candidate[i], one.answer) for i, one in enumerate(read) if self._is_judged(one)}
        compared = {i: case for i, case in judged.items() if second and second[i]}
        async with self.books.keep_writing():
            scored, others = await asyncio.gather(self._first.judge_all(judged), self._compare(compared))
            self._count_failures(list(scored.values()))
        rewards = [scored[i].score if i in judged else self._without_judge(r) for i, r in enumerate(read)]
        log_metric, sets = columns["log_metric"], columns["set"]
        log_rewards(log_metric, zip(sets, read, rewards, strict=True))
        log_judges(log_metric, [(sets[i], scored[i], other) for i, other in others.items()])
        self._log_time(log_metric, begin)
        return rewards

    def _read(self, prompt: str, completion: str, ids: Sequence[int]) -> Completion:
        answer, config = read_answer(prompt, completion) or "", self._config
        is_long = config.answer_chars is not None and len(answer) > config.answer_chars
        repeats = config.max_repetition is not None and measure_repetition(answer) > config.max_repetition
        return Completion(answer, bool(ids) and ids[-1] not in self.end_ids, is_long or repeats)

    def _is_judged(self, completion: Completion) -> bool:
        counts = self._config.cut_off == "judge" or not completion.is_cut_off
        return bool(completion.answer.strip()) and counts and not completion.is_guarded

    def _without_judge(self, completion: Completion) -> float | None:
        special = {"mask": None, "penalise": -self._config.penalty} if completion.is_cut_off else {}
        return special.get(self._config.cut_off, 0.0)

    async def _compare(self, cases: dict[int, Case]) -> dict[int, Scored]:
        return await self._second.judge_all(cases) if self._second else {}

    def _count_failures(self, scored: Sequence[Scored]) -> None:
        """Count judgements and failures. Raises JudgeDown if too many of the latest judgements failed."""
        failed = [one for one in scored if one.score is None]
        self.books.count([one.reason or "no reason given" if one.score is None else "" for one in scored])
        self._window.add(one.score is None for one in scored)
        problem = failed[-1].problem if failed else "see the warnings above"
        if failed:
            log.warning("%d of %d judgements failed; the last failure: %s", len(failed), len(scored), problem)
        if too_many := self._window.find_problem("reward.max_failures"):
            raise JudgeDown(f"{too_many}: {problem}; the same command resumes from the last checkpoint")

    def _log_time(self, log_metric: Log, begin: float) -> None:
        """Log how long the judge took, and how long the step waited for nothing else, also as a share of the step.

        A step goes from the rewards of one batch to those of the next, so the first batch has no share.
        """
        now = time.monotonic()
        if (span := self._first.measure_span()) is not None:
            log_metric("judge/seconds", span)
        log_metric("judge/waited_s", now - begin)
        if self._last_end is not None:
            log_metric("judge/waited_share", (now - begin) / (now - self._last_end))
        self._last_end = now


def log_rewards(log_metric: Log, completions: Iterable[tuple[str, Completion, float | None]]) -> None:
    """Log by set, and separately for finished and cut-off completions. TRL takes the means over all processes."""
    for name, completion, reward in completions:
        values = {"cut_off": completion.is_cut_off, "guarded": completion.is_guarded, "unscored": reward is None}
        if reward is not None:
            values |= {"score": reward, f"score_{'cut_off' if completion.is_cut_off else 'finished'}": reward}
        for key, value in values.items():
            log_metric(f"{name}/{key}", float(value))


def log_judges(log_metric: Log, pairs: Iterable[tuple[str, Scored, Scored]]) -> None:
    """Log by set what two judges scored; a completion that one of them could not judge is left out."""
    for name, first, second in pairs:
        if first.score is not None and second.score is not None:
            log_metric(f"{name}/first_judge", float(first.score))
            log_metric(f"{name}/second_judge", float(second.score))


def measure_repetition(text: str) -> float:
    """Compute the share of a text's sequences of eight words that occurred earlier in it."""
    words = text.split()
    spans = [tuple(words[i : i + _SPAN]) for i in range(len(words) - _SPAN + 1)]
    return 1 - len({*spans}) / len(spans) if spans else 0.0
