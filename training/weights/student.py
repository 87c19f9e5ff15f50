"""Loads the model to be trained, chooses what is trained of it, and finds the checkpoint to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodata.recipes.training import GrpoRecipe
from autodata.run.records import RunError
from autodata.serving.embedded import resolve_weights
from autodata.training.weights.adapters import add_adapters

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch.nn import Module
    from transformers import PreTrainedConfig, PreTrainedModel, TrainerState

_SHAPE = ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads")
_ADAPTERS = ("base_model_name_or_path", "r", "lora_alpha", "target_modules")


def find_base(recipe: GrpoRecipe) -> tuple[str, dict[str, Any]]:
    """Return the untrained weights and the arguments to load them with: (hub name or folder, arguments)."""
    return resolve_weights(recipe.model), dict(recipe.trainer.get("model_init_kwargs") or {})


def load_student(weights: str, options: Mapping[str, Any], lora: Mapping[str, Any]) -> PreTrainedModel | PeftModel:
    """Load the model to be trained, with all weights trainable or, if `lora` is set, with trainable adapters.

    The vision tower is frozen. Raises RecipeError if the adapters cannot be added.
    """
    model = load_model(weights, options)
    freeze_vision(model)
    return add_adapters(model, lora) if lora else model


def load_model(weights: str, options: Mapping[str, Any]) -> PreTrainedModel:
    """Load the class that the weights' own configuration names.

    `options` go verbatim to from_pretrained. Qwen3.5 is trained in its multimodal class because vLLM knows the
    parameters by the names they have there (huggingface/trl#5269); no text ever reaches the tower.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(weights, revision=options.get("revision"))
    kind = getattr(transformers, config.architectures[0])
    return kind.from_pretrained(weights, **{"dtype": "bfloat16", **options})


def freeze_vision(model: Module) -> None:
    for name, parameter in model.named_parameters():
        if "visual" in name.split("."):
            parameter.requires_grad_(False)


def find_checkpoint(folder: Path, model: PreTrainedModel | PeftModel) -> str | None:
    """Find the last whole checkpoint, if there is any. Raises RunError if it belongs to another model."""
    # The trainer writes trainer_state.json last: a checkpoint without it was cut off by a kill or a full disk.
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")]
    if not whole:
        return None
    last = max(whole, key=lambda path: int(path.name.split("-")[1]))
    saved, wanted = _describe_checkpoint(last), _describe_model(model)
    for key in wanted:
        if saved.get(key) != wanted[key]:
            raise RunError(
                f"{last} belongs to another model: {key} {saved.get(key)}, not {wanted[key]}; train in another "
                "folder (run=…)"
            )
    return str(last)


def read_ended(checkpoint: Path) -> TrainerState | None:
    """Return the trainer's state if this is the checkpoint of the training's last step, else None."""
    from transformers import TrainerState

    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    return state if state.global_step >= state.max_steps else None


def _describe_checkpoint(checkpoint: Path) -> dict[str, object]:
    """Say what a checkpoint holds. Only checkpoints of adapters have no configuration of the model."""
    from peft import PeftConfig
    from transformers import AutoConfig
    from transformers.utils import ADAPTER_CONFIG_NAME

    if (checkpoint / ADAPTER_CONFIG_NAME).exists():
        return _describe_adapters(PeftConfig.from_pretrained(checkpoint))
    return _describe_shape(AutoConfig.from_pretrained(checkpoint))


def _describe_model(model: PreTrainedModel | PeftModel) -> dict[str, object]:
    from peft import PeftModel

    if isinstance(model, PeftModel):
        return _describe_adapters(model.peft_config["default"])
    return _describe_shape(model.config)


def _describe_adapters(config: PeftConfig) -> dict[str, object]:
    values = {key: getattr(config, key) for key in _ADAPTERS}
    if isinstance(values["target_modules"], set):
        values["target_modules"] = ", ".join(sorted(values["target_modules"]))
    return {"trained are": "adapters (lora)", **values}


def _describe_shape(config: PreTrainedConfig) -> dict[str, object]:
    return {"trained are": "all weights"} | {key: getattr(config.get_text_config(), key, None) for key in _SHAPE}
