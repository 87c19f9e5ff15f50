"""Rewards completions with scores of the domain's judge, the same that accepted the example."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from autodata.config import RecipeError
from autodata.loop.agents import gather_all
from autodata.loop.domain import Domain
from autodata.recipes.training import RewardConfig
from autodata.serving.llm import Client
from autodata.serving.measured import EndpointError, PromptCut, Window
from autodata.serving.request import resolve_sampling
from autodata.types import CANDIDATE, Role, UserError
from training.counts import Books
from training.rows import read_answer

log = logging.getLogger(__name__)
Log = Callable[[str, float], None]  # TRL's log_metric
CUT_OFF = ("zero", "penalise", "mask", "judge")
_SLACK = 4.0  # factor on the time that all replies would take at their full length
_SPAN = 8  # length of a sequence in words
_LATE = "no reply before the deadline of the step"


class JudgeDown(UserError):
    """Too many judgements fail for the training to mean anything."""


@dataclass(frozen=True)
class Completion:
    """One completion, split into its answer and how it ended."""

    answer: str  # empty if there is none
    is_cut_off: bool
    is_guarded: bool  # too long or too repetitive to be judged


@dataclass(frozen=True)
class Scored:
    """A judge's score of one completion, or the reason why there is none."""

    score: float | None
    reason: str  # one text for all failures of a kind
    problem: str  # the full message


class Reward:
    """Judges the completions of a step concurrently; a completion that cannot be judged has no reward.

    `second` judges the completions whose row says so, for comparison only. `end_ids` are the token ids that end a
    completion. `books` counts judgements and failures; the second judge's calls are only in the ledger.
    """

    def __init__(
        self, domain: Domain, client: Client, config: RewardConfig, books: Books, second: Domain | None = None
    ):
        if config.cut_off not in CUT_OFF:
            raise RecipeError(f"reward.cut_off={config.cut_off}: choose one of {', '.join(CUT_OFF)}")
        self.books = books
        self.end_ids: frozenset[int] = frozenset()
        self._domain, self._client, self._config, self._second = domain, client, config, second
        self._window = Window(config.max_failures)
        self._last_end = time.monotonic()

    async def score(
        self, prompts: Sequence[str], completions: Sequence[str], completion_ids: Sequence[list[int]], **columns: Any
    ) -> list[float | None]:
        """Return one reward per completion; None (never 0) if judging failed or the policy masks the completion.

        TRL leaves None out of the group's baseline and gives that completion no gradient. The columns `candidate`,
        `set`, `second` (if present) and TRL's `log_metric` are used. Raises JudgeDown.
        """
        start, candidate, second = time.monotonic(), columns["candidate"], columns.get("second", ())
        read = [self._read(*parts) for parts in zip(prompts, completions, completion_ids, strict=True)]
        judged = {i: (candidate[i], one.answer) for i, one in enumerate(read) if self._is_judged(one)}
        compared = {i: case for i, case in judged.items() if self._second and second and second[i]}
        async with self.books.keep_writing():
            judging = self._judge_all(self._domain, judged), self._judge_all(self._second, compared)
            scored, others = await asyncio.gather(*judging)
            self._count_failures(list(scored.values()))
        rewards = [scored[i].score if i in judged else self._without_judge(r) for i, r in enumerate(read)]
        log_metric, sets = columns["log_metric"], columns["set"]
        log_rewards(log_metric, zip(sets, read, rewards, strict=True))
        log_judges(log_metric, [(sets[i], scored[i], other) for i, other in others.items()])
        self._log_time(log_metric, start)
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

    async def _judge_all(self, domain: Domain | None, cases: dict[int, tuple[str, str]]) -> dict[int, Scored]:
        """Judge candidates' answers; one that is not judged by the deadline has no score."""
        limit_s = self._limit_s(len(cases))
        scored = await gather_all([self._judge(domain, *case, limit_s) for case in cases.values()])
        return dict(zip(cases, scored, strict=True))

    async def _judge(self, domain: Domain, candidate_json: str, answer: str, limit_s: float | None) -> Scored:
        candidate = CANDIDATE.validate_json(candidate_json)
        seed = int.from_bytes(hashlib.sha256((candidate.hash + answer).encode()).digest()[:4], "big") >> 1
        try:
            async with asyncio.timeout(limit_s):
                judgement = await domain.judge(candidate, answer, seed)
        except PromptCut:
            raise  # this judge gets truncated prompts, so none of its scores count
        except TimeoutError:
            return Scored(None, _LATE, _LATE)
        except EndpointError as error:
            return Scored(None, name_failure(error), str(error))
        return Scored(judgement.score, judgement.reason, judgement.reason)

    def _limit_s(self, calls: int) -> float | None:
        """Compute a deadline from the longest possible replies and the tokens per second so far; None before any."""
        role, tokens = self._client.models.judge, self._client.counts["completion_tokens"]
        if role is None or not tokens or not self._client.busy.seconds:
            return None
        endpoint = self._client.models.endpoints[role.endpoint]
        max_tokens = resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE).max_tokens or 0
        return endpoint.timeout_s + _SLACK * calls * max_tokens * self._client.busy.seconds / tokens

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

    def _log_time(self, log_metric: Log, start: float) -> None:
        """Log how long the judge took, and its share of the time since the last judgement; nothing is trained then."""
        now = time.monotonic()
        log_metric("judge/seconds", now - start)
        log_metric("judge/idle_share", (now - start) / max(now - self._last_end, 1e-9))
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


def name_failure(error: EndpointError) -> str:
    """Name the kind of an endpoint's failure, without its URL and the seconds it took."""
    cause = error.__cause__ or error
    status = getattr(cause, "status_code", None)
    return f"HTTP {status}" if status else type(cause).__name__


def measure_repetition(text: str) -> float:
    """Compute the share of a text's sequences of eight words that occurred earlier in it."""
    words = text.split()
    spans = [tuple(words[i : i + _SPAN]) for i in range(len(words) - _SPAN + 1)]
    return 1 - len({*spans}) / len(spans) if spans else 0.0
