"""Tests that a step has the same prompts on any number of processes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.config import RecipeError
from autodata.training.batch import divide_batch


@pytest.mark.parametrize(
    ("prompts", "processes", "each", "passes", "watched"),
    [
        (16, 1, 1, 128, 24),
        (16, 8, 1, 16, 3),
        (16, 16, 1, 8, 3),
        (64, 1, 1, 512, 24),
        (1, 1, 8, 1, 24),
        (16, 2, 4, 16, 12),
    ],
)
def test_accumulation_follows_from_the_processes(prompts, processes, each, passes, watched):
    trainer = {"per_device_train_batch_size": each, "num_generations": 8, "num_generations_eval": 3}
    found = divide_batch(prompts, trainer, processes)
    assert found == {"gradient_accumulation_steps": passes, "per_device_eval_batch_size": watched}


@pytest.mark.parametrize(
    ("prompts", "processes", "each", "advice"),
    [
        (16, 7, 1, "take prompts_per_step=14 or 21, or 4 or 8 processes"),
        (16, 32, 8, "take prompts_per_step=32, or 8 or 16 processes"),
        (3, 1, 16, "take prompts_per_step=2 or 4$"),
        (0, 8, 1, "take prompts_per_step=1$"),
        (-4, 8, 1, "prompts_per_step=-4: .* take prompts_per_step=1"),
    ],
)
def test_what_does_not_divide_is_said_with_numbers_that_would(prompts, processes, each, advice):
    with pytest.raises(RecipeError, match=advice):
        divide_batch(prompts, {"per_device_train_batch_size": each}, processes)


@given(st.integers(1, 200), st.integers(1, 64), st.integers(1, 8), st.integers(2, 16))
def test_the_numbers_that_are_advised_do_divide(prompts, processes, each, group):
    trainer = {"per_device_train_batch_size": each, "num_generations": group}
    try:
        found = divide_batch(prompts, trainer, processes)
    except RecipeError as error:
        _, _, advice = str(error).partition("; take prompts_per_step=")
        numbers, _, counts = advice.partition(", or ")
        for number in re.findall(r"\d+", numbers):
            divide_batch(int(number), trainer, processes)
        for count in re.findall(r"\d+", counts):
            divide_batch(prompts, trainer, int(count))
    else:
        assert found["gradient_accumulation_steps"] * each * processes == prompts * group
        assert found["per_device_eval_batch_size"] * processes % group == 0
