"""Trains low-rank adapters (LoRA) instead of all weights, and gives vLLM the sum of both."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from autodata.config import RecipeError

if TYPE_CHECKING:
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel
    from trl import GRPOTrainer
    from trl.generation.vllm_generation import VLLMGeneration

log = logging.getLogger(__name__)
_TOWER = r"(.*\.)?visual\..*"  # modules of the vision tower, as a pattern for peft
_TRAINED = ("lora_A.default.weight", "lora_B.default.weight")


def add_adapters(model: PreTrainedModel, lora: Mapping[str, Any]) -> PeftModel:
    """Put adapters on the layers that `lora` names, but not on the vision tower, and freeze everything else.

    `lora` goes verbatim to peft.LoraConfig. The adapters are float32, also on bfloat16 weights: small updates would be
    rounded away in bfloat16. Raises RecipeError.
    """
    from peft import LoraConfig, get_peft_model
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

    if "exclude_modules" in lora:
        raise RecipeError("lora.exclude_modules: set by this command; name the layers in lora.target_modules instead")
    if is_deepspeed_zero3_enabled():  # deepspeedai/DeepSpeed#8072
        raise RecipeError(
            "lora: ZeRO-3 cannot hold float32 adapters beside bfloat16 weights; launch with "
            "recipes/accelerate/one_gpu.yaml, or remove lora from the recipe"
        )
    layers = list_layers(model)
    tower = _TOWER if any("visual" in name.split(".") for name, _ in model.named_modules()) else None
    try:
        adapted = get_peft_model(model, LoraConfig(**lora, exclude_modules=tower))
    except (TypeError, ValueError) as error:
        raise RecipeError(f"lora: {error}; this model has the linear layers {', '.join(layers)}") from error
    _require_all(lora.get("target_modules"), adapted, layers)
    _require_plain(adapted)
    _report(adapted)
    return adapted


def list_layers(model: Module) -> list[str]:
    """List the last part of the names of all linear layers outside the vision tower."""
    from torch.nn import Linear

    names = (name.split(".") for name, module in model.named_modules() if isinstance(module, Linear))
    return sorted({parts[-1] for parts in names if "visual" not in parts})


def _require_all(wanted: object, adapted: PeftModel, layers: list[str]) -> None:
    """Raise RecipeError for a layer that is wanted but not there: peft is content with one that matches."""
    found = adapted.base_model.targeted_module_names
    for name in wanted if isinstance(wanted, list) else ():
        if not any(f".{module}".endswith(f".{name}") for module in found):
            raise RecipeError(
                f"lora.target_modules: no layer is called {name}; this model has the linear layers {', '.join(layers)}"
            )


def _require_plain(adapted: PeftModel) -> None:
    """Raise RecipeError if more is trained than pairs of matrices on linear layers: only these are given to vLLM."""
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    other = [name for name in trained if not name.endswith(_TRAINED)]
    variants = [name for name, layer in adapted.named_modules() if getattr(layer, "lora_variant", None)]
    if other or variants:
        raise RecipeError(
            f"lora: {(other or variants)[0]} is more than a plain adapter, which is all that vLLM is given; remove "
            "modules_to_save, bias, use_dora and the like from lora"
        )


def _report(adapted: PeftModel) -> None:
    kinds = sorted({name.rpartition(".")[2] for name in adapted.base_model.targeted_module_names})
    trained, total = adapted.get_nb_trainable_parameters()
    log.info("adapters with %.1f M of %.1f M parameters, on %s", trained / 1e6, total / 1e6, ", ".join(kinds))


def sync_exactly(trainer: GRPOTrainer) -> None:
    """Let TRL give vLLM merged weights that it computes beside the model's own weights, if adapters are trained.

    TRL 1.16 adds the adapters to the weights and subtracts them again, at every step. In bfloat16 the weights are then
    no longer what they were (huggingface/trl#6688).
    """
    from peft import PeftModel

    generation = getattr(trainer, "vllm_generation", None)  # absent without vLLM
    if generation and isinstance(generation.model, PeftModel):
        generation._iter_named_params = lambda: merge_each(generation)


def merge_each(generation: VLLMGeneration) -> Iterator[tuple[str, Tensor]]:
    """Yield what TRL's `_iter_named_params` yields: all weights by vLLM's names, with their adapters added."""
    from peft.tuners.lora import LoraLayer

    model: PeftModel = generation.model
    adapted = {
        name: module for name, module in model.get_base_model().named_modules() if isinstance(module, LoraLayer)
    }
    for name, parameter in model.get_base_model().named_parameters():
        if model.prefix in name:
            continue
        layer = adapted.get(name.removesuffix(".base_layer.weight"))
        merged = parameter.data if layer is None else add_delta(parameter.data, layer)
        yield generation._fix_param_name_to_vllm(name.replace(".base_layer", "")), merged


def add_delta(weight: Tensor, layer: LoraLayer) -> Tensor:
    """Return weight plus adapter, added in float32 and rounded once to the dtype of the weight."""
    return (weight + layer.get_delta_weight("default").detach()).to(weight.dtype)
