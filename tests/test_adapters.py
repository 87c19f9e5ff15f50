"""Tests LoRA: which layers get adapters, in which precision, and that vLLM is given the exact sum with the weights."""

from types import SimpleNamespace

import pytest

from autodata.config import RecipeError
from autodata.training.preflight import estimate_bytes
from autodata.training.weights.adapters import add_adapters, merge_each, sync_exactly
from autodata.training.weights.student import load_model, load_student
from tests.helpers.training_world import make_qwen

pytestmark = pytest.mark.slow

LORA = {"r": 4, "lora_alpha": 32, "target_modules": "all-linear"}
LAYERS = [
    *("down_proj", "gate_proj", "in_proj_a", "in_proj_b", "in_proj_qkv", "in_proj_z", "k_proj", "o_proj", "out_proj"),
    *("q_proj", "up_proj", "v_proj"),
]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> str:
    return str(make_qwen(tmp_path_factory.mktemp("qwen")))


@pytest.fixture
def adapted(qwen):
    """Adapters that do something, on bfloat16 weights: untrained ones are zero."""
    import torch

    model = load_student(qwen, {}, LORA)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    return model


def make_generation(model):
    """Build the part of TRL's vLLM generation that walks through the weights, without an engine."""
    from trl.generation.vllm_generation import VLLMGeneration

    generation = VLLMGeneration.__new__(VLLMGeneration)
    distribution = SimpleNamespace(gather_params=lambda _: __import__("contextlib").nullcontext(), is_fsdp=False)
    generation.model, generation._dist = model, distribution
    return generation


def test_all_linear_layers_but_those_of_the_vision_tower_have_float32_adapters(adapted):
    import torch

    names = adapted.base_model.targeted_module_names
    assert sorted({name.rpartition(".")[2] for name in names}) == LAYERS
    assert not any("visual" in name or "lm_head" in name for name in names)
    assert len(names) == 3 * (5 + 3) + 4 + 3  # three layers of linear attention, one of full attention, each with MLP
    for name, parameter in adapted.named_parameters():
        assert parameter.requires_grad == (".lora_" in name)
        assert parameter.dtype == (torch.float32 if ".lora_" in name else torch.bfloat16)


def test_vllm_is_given_what_trl_would_give_it_for_a_fresh_copy(adapted):
    import torch

    generation = make_generation(adapted)
    ours = dict(merge_each(generation))
    theirs = {name: weight.clone() for name, weight in generation._iter_named_params()}  # changes the weights
    plain = {
        name for name, _ in load_model(adapted.peft_config["default"].base_model_name_or_path, {}).named_parameters()
    }
    assert list(ours) == list(theirs)
    assert set(ours) == plain
    for name, weight in theirs.items():
        assert weight.dtype == ours[name].dtype == torch.bfloat16
        assert torch.equal(weight, ours[name]), name


def test_the_weights_are_the_same_bits_after_many_syncs_and_would_not_be_by_trls_way(adapted):
    import torch

    def differ() -> int:
        return sum(not torch.equal(parameter, before[name]) for name, parameter in adapted.named_parameters())

    before = {name: parameter.detach().clone() for name, parameter in adapted.named_parameters()}
    generation = make_generation(adapted)
    trainer = SimpleNamespace(vllm_generation=generation)
    for _ in generation._iter_named_params():
        pass
    assert differ() > 0  # remove sync_exactly when this fails: TRL then gives the weights back
    for name, parameter in adapted.named_parameters():
        parameter.data.copy_(before[name])
    sync_exactly(trainer)
    for _ in range(3):
        for _ in generation._iter_named_params():
            pass
    assert differ() == 0


def test_without_adapters_or_without_vllm_the_sync_is_trls(qwen):
    generation = make_generation(load_student(qwen, {}, {}))
    sync_exactly(SimpleNamespace(vllm_generation=generation))
    assert "_iter_named_params" not in vars(generation)
    sync_exactly(SimpleNamespace())


def test_merged_weights_answer_as_weights_and_adapters_do(adapted, qwen):
    import torch

    merged = load_model(qwen, {})
    untrained = load_model(qwen, {})
    merged.load_state_dict(dict(merge_each(make_generation(adapted))), strict=False)
    tokens = torch.arange(24).reshape(1, -1) * 7
    with torch.no_grad():
        expected, seen, before = (m(tokens).logits.float() for m in (adapted, merged, untrained))
    rounding = 2**-8 * expected.abs().max()
    assert (seen - expected).abs().max() < 4 * rounding
    assert (before - expected).abs().max() > 8 * rounding


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"target_modules": ["qproj"]}, r"lora: .*this model has the linear layers down_proj, .*, q_proj, up_proj"),
        ({"target_modules": ["q_proj", "qproj"]}, r"lora\.target_modules: no layer is called qproj; .* q_proj"),
        ({"target_modules": ["linear_fc1"]}, "lora: .*this model has the linear layers"),  # only in the vision tower
        ({"rank": 4}, "lora: .*rank"),
        ({"r": 0, "target_modules": "all-linear"}, "lora: .*r.* should be a positive integer"),
        ({"exclude_modules": ["q_proj"]}, r"lora\.exclude_modules: set by this command"),
        ({"use_dora": True, "target_modules": ["q_proj"]}, "is more than a plain adapter"),
        ({"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}, "is more than a plain adapter"),
        ({"bias": "all", "target_modules": ["q_proj"]}, "is more than a plain adapter"),
        ({"target_modules": ["embed_tokens"]}, "is more than a plain adapter"),
    ],
)
def test_a_lora_that_cannot_be_trained_is_an_error(qwen, lora, message):
    with pytest.raises(RecipeError, match=message):
        add_adapters(load_model(qwen, {}), lora)


def test_some_layers_can_be_chosen(qwen):
    model = load_student(qwen, {}, LORA | {"target_modules": ["q_proj", "self_attn.v_proj"]})
    assert {name.rpartition(".")[2] for name in model.base_model.targeted_module_names} == {"q_proj", "v_proj"}


def test_adapters_need_gradients_and_moments_and_their_frozen_weights_do_not(adapted):
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in adapted.parameters() if not p.requires_grad)
    assert estimate_bytes(adapted, 1) == 2 * frozen + trained * (4 + 4 + 8)
