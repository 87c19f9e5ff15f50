"""Tests the reasons of recipes/training/README.md why TRL's asynchronous trainer has no recipe: they may pass away."""

import inspect
import pickle

import pytest

from autodata.loop import domain as base
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Models
from autodata.recipes.training import RewardConfig
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.training.rewards.counts import Books
from autodata.training.rewards.reward import Reward
from tests.helpers.training_world import make_qwen

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::trl.experimental.TRLExperimentalWarning")]


def test_it_refuses_the_model_of_the_paper_and_evaluates_nothing(tmp_path):
    from trl.experimental.async_grpo import AsyncGRPOConfig, AsyncGRPOTrainer

    config = AsyncGRPOConfig(output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none")
    with pytest.raises(ValueError, match=r"Qwen3_5ForConditionalGeneration has .*linear_attention"):
        AsyncGRPOTrainer(model=str(make_qwen(tmp_path / "qwen")), reward_funcs=print, args=config)
    assert "eval_dataset" not in inspect.signature(AsyncGRPOTrainer).parameters


def test_it_sends_rewards_to_another_process_and_ours_holds_a_journal(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    client = Client(Models(), journal)
    reward = Reward(base.load(DomainConfig("cs"), client), client, RewardConfig(), Books(tmp_path, 0, [client]))
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(reward.score)
    journal.close()


def test_it_scores_one_group_after_another():
    from trl.experimental.async_grpo.async_rollout_worker import _AsyncRolloutLoop

    lines = [line.strip() for line in inspect.getsource(_AsyncRolloutLoop._score_loop).splitlines()]
    assert "samples = await self._score_group(group)" in lines
