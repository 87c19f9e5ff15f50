"""Tests that rows without padding give what padded ones give, and that an evaluation counts each completion once."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autodata.training.policy import Means, count_tokens, find_used
from autodata.training.rows import PADDING, fill_up
from tests.helpers.training_runs import world

__all__ = ["world"]  # a fixture


def mask(*rows: str) -> torch.Tensor:
    return torch.tensor([[int(c) for c in row] for row in rows])


def test_the_columns_that_rows_use():
    assert find_used(mask("0011100"), 4) == (2, 5)
    assert find_used(mask("0011100", "0111110"), 4) == (1, 6)
    assert find_used(mask("1111"), 2) == (0, 4)


def test_a_row_without_a_completion_keeps_one_column_of_it():
    assert find_used(mask("0110000"), 4) == (1, 4)


def test_tokens_are_counted_over_prompt_and_completion():
    inputs = {"prompt_mask": mask("01", "11"), "completion_mask": mask("1100", "1000")}
    assert count_tokens(inputs) == 4


@given(st.integers(1, 40), st.integers(1, 5), st.sampled_from([None, 1, 3, 8]), st.integers(1, 9))
def test_a_set_is_filled_up_until_all_processes_have_whole_batches(count, group, batch, processes):
    rows = [{"set": "cot_test", "prompt": str(i)} for i in range(count)]
    filled = fill_up(rows, group, batch, processes)
    assert filled[:count] == rows and {row["set"] for row in filled[count:]} <= {PADDING}
    if processes == 1:
        assert filled == rows
    else:
        assert len(filled) * group % (processes * (batch or 1)) == 0
        assert len(filled) - count < processes * (batch or 1)


def test_means_are_over_all_values():
    means = Means()
    for name, value in (("a", 1.0), ("a", 2.0), ("b", 5.0), ("a", 6.0)):
        means.add(name, value)
    assert means.gather() == {"a": 3.0, "b": 5.0}


@pytest.fixture(scope="module")
def trainers(world, tmp_path_factory):
    """Make TRL's trainer and ours, for the same random model of Qwen3.5's architecture."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from autodata.training.policy import PolicyTrainer
    from autodata.training.weights.student import load_student

    async def reward(prompts, completions, **columns):
        return [float(len(text)) for text in completions]

    options = {"use_cpu": True, "bf16": False, "report_to": "none", "num_generations": 4, "temperature": 0.7,
               "max_completion_length": 8, "per_device_train_batch_size": 1,
               "gradient_accumulation_steps": 4}  # fmt: skip
    rows = Dataset.from_list([{"prompt": "Why?", "set": "train"}])
    return [
        kind(
            model=load_student(str(world / "qwen"), {"dtype": "float32"}, {}),
            args=GRPOConfig(output_dir=str(tmp_path_factory.mktemp("trl")), **options),
            processing_class=AutoTokenizer.from_pretrained(world / "qwen"),
            train_dataset=rows,
            reward_funcs=reward,
        )
        for kind in (GRPOTrainer, PolicyTrainer)
    ]


@pytest.mark.slow
def test_rows_without_padding_have_the_log_probabilities_entropies_and_gradients_of_padded_ones(trainers):
    torch.manual_seed(1)
    ids = torch.randint(0, 1000, (3, 30))
    attention = mask("0" * 5 + "1" * 15 + "0" * 10, "1" * 30, "0" * 10 + "1" * 10 + "0" * 10)
    found = []
    for trainer in trainers:
        trainer.model.zero_grad()
        logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, attention, 15, compute_entropy=True
        )
        used = attention[:, 15:].bool()
        (logps * used).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        found.append((logps[used], entropies[used], gradient))
    assert found[0][0].shape == (5 + 15 + 5,)
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_row_that_goes_alone_makes_no_attention_mask(trainers, monkeypatch):
    from transformers import masking_utils

    made, make = [], masking_utils.sdpa_mask
    monkeypatch.setitem(
        masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping, "sdpa",
        lambda *args, **options: made.append(make(*args, **options)) or made[-1],
    )  # fmt: skip
    attention = mask("0001111111", "0111111100")
    for trainer in trainers:
        trainer._get_per_token_logps_and_entropies(trainer.model, torch.ones(2, 10, dtype=torch.long), attention, 5)
    theirs, *ours = made
    assert theirs.shape[-2:] == (10, 10)
    assert ours == [None, None]


@pytest.mark.slow
def test_all_processes_take_their_longest_rows_first(trainers):
    trainer = trainers[1]
    trainer.train()
    lengths = [count_tokens(inputs) for inputs in trainer._buffered_inputs]
    assert lengths == sorted(lengths, reverse=True)
