"""Tests that completions are judged while others are still generated, and that nothing else changes by it."""

import asyncio
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from autodata.domains.skills.domain import Domain
from autodata.loop import domain as base
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.recipes.training import RewardConfig
from autodata.serving.embedded import resolve_weights
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.measured import PromptCut
from autodata.training.rewards import counts as module
from autodata.training.rewards.counts import Books, read_counts
from autodata.training.rewards.overlap import hash_ids, index_prompts, judge_early
from autodata.training.rewards.reward import JudgeDown, Reward
from autodata.types import CANDIDATE, Candidate, Criterion, Judgement, Role
from tests.helpers.fake_server import Scripted, fake_server, judge_by_hash
from tests.helpers.scripted_engine import Planned, ScriptedTrainer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(resolve_weights("embedded"))


@contextmanager
def scripted_trainer(tokenizer, **config):
    trainer = ScriptedTrainer(tokenizer, **config)
    yield trainer
    trainer.stop()


def make_row(prompt: str = "They keep all", answer: str = "records") -> dict[str, str]:
    candidate = Candidate(prompt, answer, (Criterion("next", 1),))
    return {"prompt": prompt, "candidate": CANDIDATE.dump_json(candidate).decode()}


class Counting(Domain):
    """A judge of skills that counts its judgements, and holds each back until `goes_on` is set."""

    def __init__(self):
        super().__init__(DomainConfig("skills"), client=None)
        self.started, self.judged, self.goes_on = 0, threading.Semaphore(0), threading.Event()
        self.goes_on.set()

    async def judge(self, candidate, answer, seed):
        self.started += 1
        while not self.goes_on.is_set():
            await asyncio.sleep(0.01)
        self.judged.release()
        return await super().judge(candidate, answer, seed)


def make_reward(tokenizer, folder, domain, client=None, **config) -> Reward:
    client = client or Client(Models(), None)
    reward = Reward(domain, client, RewardConfig(**config), Books(folder, 0, [client]))
    reward.end_ids = frozenset({tokenizer.eos_token_id})
    return reward


ROW = make_row()
STEP = [Planned(ROW, " records", 0.0), Planned(ROW, " the", 0.0), Planned(ROW, " records” too", 0.1)]


def test_a_completion_is_judged_while_others_are_generated(tokenizer, tmp_path):
    domain = Counting()
    reward = make_reward(tokenizer, tmp_path, domain)
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW], reward)
        trainer.engine.add(STEP)
        for _ in range(2):
            trainer.engine.step()
            assert domain.judged.acquire(timeout=10)  # and the last completion is not there yet
        assert trainer.engine.has_unfinished_requests()
        trainer.engine.step()
        assert trainer.score(reward, STEP) == [1.0, 0.0, 1.0]
    assert domain.started == reward.books.judged == 3


@pytest.mark.parametrize(
    "config", [{"vllm_tensor_parallel_size": 2}, {"vllm_mode": "server"}, {"use_vllm": False}], ids=lambda c: str(*c)
)
def test_where_a_process_does_not_see_its_own_completions_alone_it_judges_after_generation(
    tokenizer, tmp_path, config
):
    domain = Counting()
    reward = make_reward(tokenizer, tmp_path, domain)
    with scripted_trainer(tokenizer, **config) as trainer:
        judge_early(trainer, [ROW], reward)
        trainer.generate(STEP)
        assert not domain.started
        assert trainer.score(reward, STEP) == [1.0, 0.0, 1.0]


def test_a_prompt_of_two_candidates_or_of_no_row_waits_until_its_candidate_is_known(tokenizer, tmp_path):
    domain = Counting()
    reward = make_reward(tokenizer, tmp_path, domain)
    same, other, unknown = make_row("We want"), make_row("We want", "peace"), make_row("Nobody knows", "why")
    planned = [Planned(row, text, 0.0) for row, text in [(same, " records"), (other, " peace"), (unknown, " why")]]
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW, same, other, ROW], reward)
        trainer.generate(planned)
        assert not domain.started
        assert trainer.score(reward, planned) == [1.0, 1.0, 1.0]


def test_rows_with_the_same_prompt_and_candidate_are_one(tokenizer):
    other = make_row("We want")
    index = index_prompts([ROW, {**ROW, "set": "probe"}, other], tokenizer)
    assert index == {hash_ids(tokenizer(text=row["prompt"])["input_ids"]): row for row in (ROW, other)}
    assert hash_ids([1, 23]) != hash_ids([12, 3]) != hash_ids([12, 3, 0])


@pytest.mark.parametrize(
    ("config", "text", "begins"),
    [
        ({}, " records", True),
        ({}, "  ", False),
        ({"answer_chars": 7}, " records", False),
        ({"answer_chars": 8}, " records", True),
    ],
)
def test_only_what_is_judged_at_all_is_judged_early(tokenizer, tmp_path, config, text, begins):
    domain = Counting()
    reward = make_reward(tokenizer, tmp_path, domain, **config)
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW], reward)
        planned = [Planned(ROW, text, 0.0)]
        trainer.step(reward, planned)
    assert domain.started == reward.books.judged == begins


RUBRIC = (Criterion("names the cause", 2), Criterion("gives a number", 1), Criterion("contradicts itself", -1))


def make_judged_rows() -> list[dict[str, str]]:
    candidates = [Candidate(f"Why {i}?", "It is so.", RUBRIC, "A context.") for i in range(3)]
    return [{"prompt": c.question, "candidate": CANDIDATE.dump_json(c).decode()} for c in candidates]


def judge_over_http(tokenizer, folder, url: str, early: bool, planned, **config):
    """Return the rewards of two equal steps, the reward, and what its judge cost."""
    folder.mkdir(exist_ok=True)
    models = Models({"j": Endpoint("fake", base_url=url, retries=0)}, judge=RoleConfig("j", Sampling(max_tokens=64)))
    journal = Journal(folder / "journal.sqlite")
    client = Client(models, journal)
    reward = make_reward(tokenizer, folder, base.load(DomainConfig("cs"), client), client, **config)
    with scripted_trainer(tokenizer) as trainer:
        if early:
            judge_early(trainer, make_judged_rows(), reward)
        rewards = [trainer.step(reward, planned) for _ in range(2)]
        asyncio.run_coroutine_threadsafe(client.close(), trainer.async_loop).result()
    journal.close()
    return rewards, reward, client.ledger()[Role.JUDGE]


def fail_for_some(body: dict, count: int) -> Scripted:
    """Refuse what an answer says must fail, else judge by hash."""
    return Scripted(status=400) if "fails" in body["messages"][-1]["content"] else judge_by_hash(body, count)


def test_rewards_counts_and_calls_are_the_same_as_after_generation(tokenizer, tmp_path):
    texts = [" because", " because", " so", " fails", " no 5", " ", " thus"]  # two are identical, one is no answer
    planned = [Planned(row, text, 0.01 * (i % 4)) for row in make_judged_rows() for i, text in enumerate(texts)]
    with fake_server(fail_for_some) as server:
        early, late = (
            judge_over_http(tokenizer, tmp_path / str(way), server.url, way, planned, max_failures=0.5)
            for way in (True, False)
        )
    assert early[0] == late[0]
    assert len({score for score in early[0][0] if score is not None}) > 2 and early[0][0].count(None) == 3
    for _, reward, _ in (early, late):
        assert (reward.books.judged, reward.books.failures) == (2 * 3 * 6, {"HTTP 400": 2 * 3})
    assert early[2].calls == late[2].calls == 3 * 4
    assert early[2].replayed == late[2].replayed == 3 * (1 + 5)  # the identical one, and the second step


def test_a_run_killed_within_the_generation_has_its_costs_on_disk_and_pays_nothing_twice(
    tokenizer, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "_EVERY_S", 0.01)
    rows = make_judged_rows()
    planned = [Planned(rows[0], " because", 0.0), Planned(rows[1], " so", 0.3)]
    paid = []

    def script(body, count):
        if count == 2:  # the first was judged in the generation, with nothing scored yet
            paid.append(read_counts(tmp_path / "counts_0.json"))
        return judge_by_hash(body, count)

    with fake_server(script) as server:
        first = judge_over_http(tokenizer, tmp_path, server.url, True, planned)
        assert (paid[0].ledger[Role.JUDGE].calls, paid[0].judgements) == (1, 0)
        again = judge_over_http(tokenizer, tmp_path, server.url, True, planned)
        assert len(server.requests) == 2
    assert again[0] == first[0]
    assert (again[2].calls, again[2].replayed) == (0, 4)


def limited(seconds: float) -> Client:
    """Make a client with which a step waits for so many seconds."""
    models = Models({"j": Endpoint("m", timeout_s=seconds)}, judge=RoleConfig("j", Sampling(max_tokens=1)))
    client = Client(models, None)
    client.accounts[Role.JUDGE].counts["completion_tokens"], client.busy._seconds = 1_000_000, 0.1
    return client


def test_a_judge_that_hangs_gives_no_reward_and_the_deadline_counts_from_the_last_completion(tokenizer, tmp_path):
    domain = Counting()
    reward = make_reward(tokenizer, tmp_path, domain, limited(0.2))
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW], reward)
        domain.goes_on.clear()
        trainer.generate(STEP)
        time.sleep(0.5)
        domain.goes_on.set()
        assert trainer.score(reward, STEP) == [1.0, 0.0, 1.0]
        domain.goes_on.clear()
        assert trainer.step(reward, STEP) == [None] * 3
    assert reward.books.failures == {"no reply before the deadline of the step": 3}
    assert domain.started == 6


@pytest.mark.parametrize(
    ("failure", "raised"), [(PromptCut("the server cut the prompt"), PromptCut), (None, JudgeDown)]
)
def test_errors_of_early_judgements_stop_the_step_that_scores_them(tokenizer, tmp_path, failure, raised):
    class Failing(Counting):
        async def judge(self, candidate, answer, seed):
            if failure:
                raise failure
            return Judgement(None, None, "unreadable")

    reward = make_reward(tokenizer, tmp_path, Failing())
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW], reward)
        planned = [Planned(ROW, f" word {i}", 0.0) for i in range(32)]
        trainer.generate(planned)
        with pytest.raises(raised):
            trainer.score(reward, planned)


def test_the_time_that_a_step_waits_is_told_apart_from_the_time_that_the_judge_takes(tokenizer, tmp_path, monkeypatch):
    def clock(*times: float) -> SimpleNamespace:
        return SimpleNamespace(monotonic=map(float, times).__next__)

    monkeypatch.setattr(
        "autodata.training.rewards.judging.time", clock(90, 102, 104, 107)
    )  # a start and an end in each step
    monkeypatch.setattr(
        "autodata.training.rewards.reward.time", clock(100, 102, 108, 112)
    )  # the same, of what is waited for
    reward, planned = make_reward(tokenizer, tmp_path, Counting()), [Planned(ROW, " records", 0.0)]
    with scripted_trainer(tokenizer) as trainer:
        judge_early(trainer, [ROW], reward)
        for _ in range(2):
            trainer.step(reward, planned)
    times = {name: values for name, values in trainer.metrics.items() if name.startswith("judge/")}
    assert times == {"judge/seconds": [12, 3], "judge/waited_s": [2, 4], "judge/waited_share": [0.4]}


def test_a_step_without_a_judgement_has_no_time_of_the_judge(tokenizer, tmp_path):
    reward = make_reward(tokenizer, tmp_path, Counting())
    with scripted_trainer(tokenizer) as trainer:
        trainer.step(reward, [Planned(ROW, " ", 0.0)])
        assert "judge/seconds" not in trainer.metrics
        assert len(trainer.metrics["judge/waited_s"]) == 1
