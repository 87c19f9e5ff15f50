"""Tests that a saved model has everything that serving needs, that chosen steps are kept, and what is resumed."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from autodata.config import RecipeError
from autodata.recipes.training import GrpoRecipe
from autodata.run.records import RunError
from autodata.serving.embedded import resolve_weights
from autodata.training.weights.adapters import merge_each
from autodata.training.weights.saving import ModelKeeper, check_kept_steps, find_adapters, require_kept, save_student
from autodata.training.weights.student import find_checkpoint, load_model, load_student
from tests.helpers.training_world import PROCESSOR, make_qwen

pytestmark = pytest.mark.slow

LORA = {"r": 4, "lora_alpha": 32, "target_modules": "all-linear"}


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> str:
    return str(make_qwen(tmp_path_factory.mktemp("models") / "qwen"))


@pytest.fixture(scope="module")
def checkpoints(qwen, tmp_path_factory) -> Path:
    """Make folders `weights` and `adapters`, each with the checkpoint of a model that was trained a bit."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_checkpoint(folder / "weights", qwen, {})
    write_checkpoint(folder / "adapters", qwen, LORA)
    return folder


def write_checkpoint(folder: Path, weights: str, lora: dict, step: int = 3) -> Path:
    """Write what TRL's trainer writes of a model."""
    import torch
    from transformers import AutoTokenizer

    model, target = load_student(weights, {"dtype": "float32"}, lora), folder / f"checkpoint-{step}"
    torch.manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn_like(parameter) / 50
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(weights).save_pretrained(target)
    (target / "trainer_state.json").write_text("{}")
    return target


def recipe_for(weights: str, lora: dict, dtype: str = "bfloat16") -> GrpoRecipe:
    return GrpoRecipe(model=weights, lora=lora, trainer={"model_init_kwargs": {"dtype": dtype}})


@pytest.mark.parametrize(("kind", "lora"), [("weights", {}), ("adapters", LORA)])
def test_a_saved_model_is_whole(kind, lora, qwen, checkpoints, tmp_path):
    import torch
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig
    from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil

    source, target, state = checkpoints / kind / "checkpoint-3", tmp_path / "model", torch.random.get_rng_state()
    save_student(source, target, recipe_for(qwen, lora), "# A card\n")
    assert torch.equal(torch.random.get_rng_state(), state)  # else a resumed training would differ
    assert {path.name for path in target.iterdir()} == {
        *("model.safetensors", "config.json", "generation_config.json", "README.md"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", *PROCESSOR),
    }
    for name in PROCESSOR:
        assert (target / name).read_bytes() == (Path(qwen) / name).read_bytes()
    config = AutoConfig.from_pretrained(target)
    assert (config.architectures, str(config.dtype)) == (["Qwen3_5ForConditionalGeneration"], "torch.bfloat16")
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == config.image_token_id
    assert GenerationConfig.from_pretrained(target).eos_token_id == tokenizer.eos_token_id
    assert Qwen2VLImageProcessorPil.from_pretrained(target).patch_size == 16
    assert not list(tmp_path.glob("*.new"))


def test_adapters_are_saved_beside_their_sum_with_the_weights(qwen, checkpoints, tmp_path):
    import torch
    from peft import PeftConfig, PeftModel
    from safetensors.torch import load_file

    source = checkpoints / "adapters" / "checkpoint-3"
    save_student(source, tmp_path / "model_at_3", recipe_for(qwen, LORA), "# A card\n")
    adapter = tmp_path / "adapter_at_3"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
    }
    assert PeftConfig.from_pretrained(adapter).base_model_name_or_path == qwen
    assert {tensor.dtype for tensor in load_file(adapter / "adapter_model.safetensors").values()} == {torch.float32}
    adapted = PeftModel.from_pretrained(load_model(qwen, {}), adapter)
    merged = dict(load_model(str(tmp_path / "model_at_3"), {}).named_parameters())
    generation = SimpleNamespace(model=adapted, _fix_param_name_to_vllm=lambda name: name)
    for name, weight in merge_each(generation):  # what vLLM sampled from
        assert torch.equal(merged[name], weight), name


def test_a_model_without_a_processor_is_saved_without_one(tmp_path):
    weights = resolve_weights("embedded")
    source = write_checkpoint(tmp_path, weights, {})
    save_student(source, tmp_path / "model", recipe_for("embedded", {}), "# A card\n")
    assert not {path.name for path in (tmp_path / "model").iterdir()} & PROCESSOR.keys()
    assert not (tmp_path / "adapter").exists()


def test_adapters_on_float32_weights_are_added_before_rounding(qwen, checkpoints, tmp_path):
    import torch
    from peft import PeftModel

    source = checkpoints / "adapters" / "checkpoint-3"
    save_student(source, tmp_path / "model", recipe_for(qwen, LORA, dtype="float32"), "# A card\n")
    exact = PeftModel.from_pretrained(load_model(qwen, {"dtype": "float32"}), source).merge_and_unload()
    saved = dict(load_model(str(tmp_path / "model"), {}).named_parameters())
    for name, weight in exact.named_parameters():
        assert torch.equal(saved[name], weight.bfloat16()), name


def test_transformers_and_vllm_read_the_processor_of_a_saved_model(qwen, checkpoints, tmp_path):
    pytest.importorskip(
        "torchvision", reason="Qwen3.5's processor needs torchvision, which only GPU installations have"
    )
    from transformers import AutoProcessor
    from vllm.config import ModelConfig

    target = tmp_path / "model"
    save_student(checkpoints / "adapters" / "checkpoint-3", target, recipe_for(qwen, LORA), "# A card\n")
    assert type(AutoProcessor.from_pretrained(target)).__name__ == "Qwen3VLProcessor"
    parsed = ModelConfig(model=str(target), max_model_len=512)
    assert parsed.architecture == "Qwen3_5ForConditionalGeneration"
    assert parsed.is_multimodal_model
    assert str(parsed.dtype) == "torch.bfloat16"


@pytest.mark.parametrize(
    ("saved", "lora", "message"),
    [
        ("adapters", LORA, None),
        ("weights", {}, None),
        ("adapters", {}, r"checkpoint-3 belongs to another model: trained are adapters \(lora\), not all weights"),
        ("weights", LORA, r"trained are all weights, not adapters \(lora\); train in another folder"),
        ("adapters", LORA | {"r": 8}, "checkpoint-3 belongs to another model: r 4, not 8"),
        ("adapters", LORA | {"lora_alpha": 16}, "lora_alpha 32, not 16"),
        ("adapters", LORA | {"target_modules": ["q_proj"]}, "target_modules .*down_proj.*, not q_proj"),
    ],
)
def test_only_a_checkpoint_of_the_same_training_is_resumed(saved, lora, message, qwen, checkpoints):
    model = load_student(qwen, {}, lora)
    if message is None:
        assert find_checkpoint(checkpoints / saved, model) == str(checkpoints / saved / "checkpoint-3")
        return
    with pytest.raises(RunError, match=message):
        find_checkpoint(checkpoints / saved, model)


def test_adapters_of_other_weights_are_not_resumed(qwen, checkpoints, tmp_path):
    shutil.copytree(qwen, tmp_path / "other")
    model = load_student(str(tmp_path / "other"), {}, LORA)
    with pytest.raises(RunError, match=r"base_model_name_or_path .*/qwen, not .*/other"):
        find_checkpoint(checkpoints / "adapters", model)


def test_without_a_whole_checkpoint_nothing_is_resumed(checkpoints, tmp_path):
    shutil.copytree(checkpoints / "adapters", tmp_path / "run")
    (tmp_path / "run" / "checkpoint-3" / "trainer_state.json").unlink()
    assert find_checkpoint(tmp_path / "run", model=None) is None


def arguments(**changed: object) -> SimpleNamespace:
    """Return those of the trainer's arguments that say when a checkpoint is saved."""
    from transformers.trainer_utils import SaveStrategy

    values = {"save_strategy": SaveStrategy("steps"), "save_steps": 20, "max_steps": 240} | changed
    return SimpleNamespace(**values)


@pytest.mark.parametrize("steps", [[], [20], [200], [240], [20, 200]])
def test_steps_with_a_checkpoint_can_be_kept(steps):
    check_kept_steps(steps, arguments())


@pytest.mark.parametrize(
    ("steps", "changed", "message"),
    [
        ([210], {}, r"save_models_at: 210 is not a multiple of trainer\.save_steps=20"),
        ([20, 30], {}, "save_models_at: 30 is not a multiple"),
        ([0], {}, "save_models_at: 0 is not"),
        ([260], {}, r"save_models_at: step 260 is beyond trainer\.max_steps=240"),
        ([20], {"max_steps": -1}, r"step 20 is beyond trainer\.max_steps=-1, which must be set"),
        ([20], {"save_steps": 0.1}, r"trainer\.save_steps=0\.1"),
        ([20], {"save_strategy": "epoch"}, r"trainer\.save_strategy=epoch"),
    ],
)
def test_steps_without_a_checkpoint_are_an_error(steps, changed, message):
    from transformers.trainer_utils import SaveStrategy

    if "save_strategy" in changed:
        changed = {"save_strategy": SaveStrategy(changed["save_strategy"])}
    with pytest.raises(RecipeError, match=message):
        check_kept_steps(steps, arguments(**changed))


def test_the_models_of_chosen_steps_are_kept(tmp_path):
    saved = []

    def save(source: Path, target: Path, step: int) -> None:
        saved.append((source.name, target.name, step))
        target.mkdir()

    def call(event: str, is_main: bool = True) -> list:
        saved.clear()
        state = SimpleNamespace(is_world_process_zero=is_main)
        getattr(keeper, event)(None, state, None, model=None)
        return list(saved)

    keeper = ModelKeeper(tmp_path, [20, 40], save)
    assert call("on_train_begin") == []
    checkpoint = tmp_path / "checkpoints" / "checkpoint-20"
    checkpoint.mkdir(parents=True)
    assert call("on_save") == []  # cut off while it was saved
    (checkpoint / "trainer_state.json").write_text(json.dumps({}))
    assert call("on_save", is_main=False) == []
    assert call("on_train_begin") == [("checkpoint-20", "model_at_20", 20)]  # killed before the model was saved
    assert call("on_save") == []
    require_kept(tmp_path, [20])
    with pytest.raises(RunError, match="model_at_40: missing, and its checkpoint is gone"):
        require_kept(tmp_path, [20, 40])


def test_adapters_are_named_after_their_model():
    assert find_adapters(Path("model/model")) == Path("model/adapter")
    assert find_adapters(Path("r/model_at_200")) == Path("r/adapter_at_200")
