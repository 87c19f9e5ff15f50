"""Tests that completions which share a pass over their prompt have the results of whole rows in TRL's trainer."""

import pytest
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen3_5Config,
    Qwen3_5TextConfig,
)
from trl import GRPOConfig, GRPOTrainer

from autodata.serving.embedded import resolve_weights
from autodata.training.policy import PolicyTrainer
from autodata.training.shared_prompt import divide_by_prompt, keeps_whole_past
from autodata.training.weights.adapters import add_adapters

pytestmark = pytest.mark.slow

WORDS = 300  # vocabulary of the random rows, without the padding
KEPT = 7  # columns of the completions
# (prompt, its tokens, tokens of the completion): neighbours have different prompts, as after TRL's shuffle.
ROWS = [("a", 9, 7), ("b", 4, 3), ("a", 9, 1), ("c", 6, 5), ("b", 4, 5), ("a", 9, 0), ("d", 1, 4), ("d", 1, 2)]
PASSED = 8 + (3 * 8) + 3 + (2 * 6) + (6 + 5) + 2 * 5  # columns: a, b, then d in one pass each; c is alone


def make_rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Make ids and mask: the prompts are padded on the left, the completions on the right."""
    random = torch.Generator().manual_seed(3)
    draw = lambda count: torch.randint(1, WORDS, (count,), generator=random)  # noqa: E731
    prompts = {name: draw(length) for name, length, _ in ROWS}
    ids, mask = torch.zeros(len(ROWS), 9 + KEPT, dtype=torch.long), torch.zeros(len(ROWS), 9 + KEPT, dtype=torch.long)
    for row, (name, length, tokens) in enumerate(ROWS):
        ids[row, 9 - length : 9], ids[row, 9 : 9 + tokens] = prompts[name], draw(tokens)
        mask[row, 9 - length : 9 + tokens] = 1
    return ids, mask


def make_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 49_152, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


def make_trainer(kind: type[GRPOTrainer], model, folder, **options: object) -> GRPOTrainer:
    values = {"use_cpu": True, "bf16": False, "report_to": "none", "num_generations": 4, "temperature": 0.7,
              "max_completion_length": KEPT, "per_device_train_batch_size": 8, "max_steps": 1,
              "gradient_checkpointing": False, "logging_steps": 1}  # fmt: skip
    return kind(
        model=model,
        args=GRPOConfig(output_dir=str(folder / kind.__name__), **values | options),
        processing_class=AutoTokenizer.from_pretrained(resolve_weights("embedded")),
        train_dataset=Dataset.from_list([{"prompt": p, "set": "train"} for p in ("Why is it so?", "Who says that?")]),
        reward_funcs=reward,
    )


async def reward(prompts, completions, **columns):
    return [float(sum(map(ord, text)) % 7) for text in completions]


def go_through(trainer: GRPOTrainer, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return log-probabilities and entropies of the used columns, and the gradient of a sum of both."""
    trainer.model.zero_grad()
    logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model, ids, mask, KEPT, compute_entropy=True
    )
    used = mask[:, -KEPT:].bool()
    weights = torch.linspace(-1, 1, int(used.sum()))  # advantages have both signs
    ((logps + 0.5 * entropies)[used] * weights).sum().backward()
    gradients = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    return logps[used].detach(), entropies[used].detach(), torch.cat(gradients)


def compare(model_of, folder, **options: object) -> None:
    """Compare both trainers on the same rows; the gradient by its norm, because most of its entries are tiny."""
    ids, mask = make_rows()
    theirs, ours = (
        go_through(make_trainer(kind, model_of(), folder, **options), ids, mask)
        for kind in (GRPOTrainer, PolicyTrainer)
    )
    for one, other in zip(theirs[:2], ours[:2], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert (ours[2] - theirs[2]).norm() < 1e-5 * theirs[2].norm()


def count_columns(trainer: GRPOTrainer, **options: object) -> int:
    """Count the tokens, and the padding, that go through the model for the rows."""
    columns = []
    hook = trainer.model.get_input_embeddings().register_forward_hook(lambda _, given, __: columns.append(given[0]))
    trainer._get_per_token_logps_and_entropies(trainer.model, *make_rows(), KEPT, **options)
    hook.remove()
    return sum(ids.numel() for ids in columns)


def test_rows_are_divided_by_their_prompt_wherever_they_stand():
    groups, alone = divide_by_prompt(torch.tensor([[5, 1], [2, 2], [5, 1], [-1, 3], [2, 2], [5, 1]]))
    assert [rows.tolist() for rows in groups] == [[1, 4], [0, 2, 5]]
    assert alone.tolist() == [3]


def test_rows_without_a_common_prompt_stay_together():
    groups, alone = divide_by_prompt(torch.tensor([[1, 2], [2, 1]]))
    assert groups == []
    assert alone.tolist() == [0, 1]


def test_only_attention_to_all_earlier_tokens_keeps_the_whole_prompt():
    assert keeps_whole_past(LlamaConfig())
    assert not keeps_whole_past(MistralConfig(sliding_window=16))
    assert not keeps_whole_past(Qwen3_5TextConfig())  # linear attention
    whole = Qwen3_5TextConfig(num_hidden_layers=2, layer_types=["full_attention"] * 2)
    assert keeps_whole_past(whole)
    assert not keeps_whole_past(Qwen3_5Config(text_config=whole))  # images


@pytest.mark.parametrize("rows_at_once", [8, 3])
def test_completions_that_share_a_prompt_have_the_results_of_whole_rows(tmp_path, rows_at_once):
    compare(make_llama, tmp_path, per_device_train_batch_size=rows_at_once, gradient_accumulation_steps=4)


def test_adapters_have_the_gradients_of_whole_rows(tmp_path):
    def adapt():
        model = add_adapters(make_llama(), {"r": 2, "target_modules": "all-linear"})
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)  # from zero the other matrix would have no gradient
        return model

    compare(adapt, tmp_path)


def test_a_prompt_goes_through_the_model_once(tmp_path):
    trainer = make_trainer(PolicyTrainer, make_llama(), tmp_path)
    assert count_columns(trainer, compute_entropy=True) == PASSED


def test_rows_go_whole_with_checkpointing_in_a_wrapped_model_and_with_other_inputs_than_text(tmp_path, monkeypatch):
    trainer, whole = make_trainer(PolicyTrainer, make_llama(), tmp_path), len(ROWS) * (9 + KEPT)
    assert count_columns(trainer, token_type_ids=None) == PASSED
    assert not trainer._can_share_prompts(trainer.model, {"compute_aux_loss": True})
    assert not trainer._can_share_prompts(trainer.model, {"pixel_values": torch.zeros(1)})
    assert not trainer._can_share_prompts(torch.nn.parallel.DataParallel(trainer.model), {})
    monkeypatch.setattr(trainer.args, "gradient_checkpointing", True)
    assert count_columns(trainer) == whole


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_the_embedded_model_has_the_results_of_whole_rows(tmp_path, implementation):
    def load():
        weights = resolve_weights("embedded")
        return AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32, attn_implementation=implementation)

    compare(load, tmp_path)


@pytest.mark.slow
def test_a_training_step_has_the_loss_and_the_gradient_norm_of_trls(tmp_path):
    logs = []
    for kind in (GRPOTrainer, PolicyTrainer):
        trainer = make_trainer(kind, make_llama(), tmp_path)
        trainer.train()
        logs.append([trainer.state.log_history[0][key] for key in ("grad_norm", "entropy", "reward", "loss")])
    assert logs[0][0] > 0
    assert logs[1] == pytest.approx(logs[0], rel=1e-4, abs=1e-6)
