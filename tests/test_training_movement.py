"""Tests that a training which moves nothing is stopped, and that its cause is named."""

from types import SimpleNamespace

import pytest
import torch

from autodata.config import RecipeError
from autodata.training.weights.movement import (
    MovementCheck,
    NothingMoved,
    measure_change,
    require_gradient,
    require_trained,
    take_sample,
)
from tests.helpers.commands import fails
from tests.helpers.training_runs import arguments, judge, train, world, world_and_judge

__all__ = ["judge", "world", "world_and_judge"]  # fixtures


def step(dtype: torch.dtype, rate: float, *, gradient: bool = True, least: float = 0.9) -> list[dict]:
    """Do one AdamW step on random weights, of which half have no gradient, and return what was logged."""
    torch.manual_seed(0)
    model = torch.nn.Linear(256, 64, bias=False).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    check, state = MovementCheck(least), SimpleNamespace(global_step=1, max_steps=10, log_history=[])
    args = SimpleNamespace(get_warmup_steps=lambda steps: 0)
    check.on_step_begin(args, state, None, model=model, optimizer=optimizer)
    mask = torch.arange(256) % 2 * gradient
    (model(torch.randn(8, 256).to(dtype) * mask).float().square().sum()).backward()
    optimizer.step()
    check.on_step_end(args, state, None, model=model)
    return state.log_history


@pytest.mark.parametrize("rate", [1e-6, 5e-5, 3e-4])
def test_float32_weights_move(rate):
    (logged,) = step(torch.float32, rate)
    assert logged["moved_share"] > 0.99
    assert logged["moved_relative"] == pytest.approx(rate * 0.5**0.5 / (1 / 16 / 3**0.5), rel=0.05)


@pytest.mark.parametrize(
    ("dtype", "rate", "cause"),
    [
        (torch.bfloat16, 1e-6, "bfloat16 without float32 copies, so steps of the learning rate 1e-06 are rounded"),
        (torch.bfloat16, 5e-5, "train adapters .recipes/training/one_gpu.yaml."),
        (torch.float16, 1e-6, "the weights are float16 without"),
        (torch.float32, 0.0, "the learning rate of this step was 0; raise trainer.learning_rate"),
        (torch.float32, 1e-12, "the learning rate 1e-12 is too small for float32"),
    ],
)
def test_what_does_not_move_is_stopped_and_the_cause_is_named(dtype, rate, cause):
    with pytest.raises(NothingMoved, match=cause):
        step(dtype, rate)


def test_the_limit_is_a_share_of_the_weights_that_have_a_gradient():
    share = step(torch.bfloat16, 5e-5, least=0.0)[0]["moved_share"]
    assert 0.2 < share < 0.9
    assert step(torch.bfloat16, 5e-5, least=share)
    with pytest.raises(NothingMoved, match=f"preflight.min_moved={share + 0.01:g}"):
        step(torch.bfloat16, 5e-5, least=share + 0.01)


def test_a_training_without_any_gradient_is_an_error_at_its_end():
    assert step(torch.float32, 1e-3, gradient=False) == []
    require_gradient([{"grad_norm": 0.0}, {"grad_norm": 0.1}])
    require_gradient([{"moved_share": 1.0}])  # of an earlier session
    with pytest.raises(NothingMoved, match="no step had a gradient, so the model is unchanged"):
        require_gradient([{"grad_norm": 0.0}, {"eval_runtime": 2.0}])


@pytest.mark.parametrize(
    ("equal", "norm", "unscored", "masks", "stops"),
    [
        (0.5, 0.0, 0.0, False, True),
        (1.0, 0.0, 0.0, False, False),
        (0.5, 0.1, 0.0, False, False),
        (0.5, 0.0, 0.1, False, False),
        (0.5, 0.0, 0.0, True, False),
    ],
)
def test_different_rewards_without_a_gradient_stop_the_training(equal, norm, unscored, masks, stops):
    args, state = SimpleNamespace(mask_truncated_completions=masks), SimpleNamespace(global_step=3)
    logs = {"frac_reward_zero_std": equal, "grad_norm": norm, "train/unscored": unscored}
    if not stops:
        return MovementCheck(0.9).on_log(args, state, None, logs=logs)
    with pytest.raises(NothingMoved, match=r"step 3: rewards differ, but no gradient .* check lora\.lora_alpha"):
        MovementCheck(0.9).on_log(args, state, None, logs=logs)


def walk(rates: list[float], warmup: int) -> list[int]:
    """Do steps at these learning rates and return those that were logged."""
    model = torch.nn.Linear(16, 16)
    check, state = MovementCheck(0.9), SimpleNamespace(global_step=0, max_steps=10, log_history=[])
    args = SimpleNamespace(get_warmup_steps=lambda steps: warmup)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        check.on_step_begin(args, state, None, model=model, optimizer=optimizer)
        optimizer.zero_grad()
        model(torch.randn(4, 16)).square().sum().backward()
        optimizer.step()
        state.global_step += 1
        check.on_step_end(args, state, None, model=model)
    return [entry["step"] for entry in state.log_history]


def test_too_small_steps_of_a_warm_up_are_not_judged():
    assert walk([0.0, 1e-12, 1e-3, 1e-3], warmup=2) == [3]
    assert walk([1e-3, 1e-3], warmup=9) == [1]  # one that moves the weights is enough
    with pytest.raises(NothingMoved, match="step 3 moved"):
        walk([0.0, 1e-12, 1e-12], warmup=2)


def test_a_training_is_measured_once_over_all_sessions():
    model, check = torch.nn.Linear(2, 2), MovementCheck(0.9)
    state = SimpleNamespace(global_step=9, max_steps=10, log_history=[{"step": 1, "moved_share": 1.0}])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-20)
    check.on_step_begin(None, state, None, model=model, optimizer=optimizer)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    check.on_step_end(None, state, None, model=model)
    assert len(state.log_history) == 1


def test_a_frozen_model_is_an_error():
    model = torch.nn.Linear(2, 2)
    require_trained(model)
    with pytest.raises(RecipeError, match="every weight of the model is frozen"):
        require_trained(model.requires_grad_(False))


def test_a_sample_is_8192_weights_from_everywhere_and_always_the_same():
    sample = take_sample(torch.arange(100_000.0))
    assert len(sample) == 8192 and sample.min() < 100 and sample.max() > 99_900
    assert torch.equal(sample, take_sample(torch.arange(100_000.0).reshape(100, 1000)))
    assert len(take_sample(torch.zeros(5, 5))) == 25
    assert measure_change({"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([3.0, 5.0])}) == pytest.approx(0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["trainer.model_init_kwargs={dtype: bfloat16}", "trainer.learning_rate=1e-6"], "step 1 moved .* bfloat16"),
        (["trainer.learning_rate=0"], "the learning rate of this step was 0"),
        (["trainer.learning_rate=1e-14"], "too small for float32"),
        (
            ["lora={r: 4, target_modules: all-linear, lora_alpha: 0}"],
            "step 1: rewards differ, but no gradient reaches",
        ),
        (["lora={r: 4, target_modules: all-linear, inference_mode: true}"], "every weight of the model is frozen"),
    ],
)
def test_the_command_stops_after_its_first_step(world_and_judge, tmp_path, monkeypatch, values, message):
    with fails(message):
        train(monkeypatch, *arguments(*world_and_judge, tmp_path / "run"), *values)
    assert not list((tmp_path / "run" / "checkpoints").glob("checkpoint-*"))
