"""Reads the shape of a model without its weights: its parameters, and what it computes and keeps for each token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autodata.config import RecipeError
from autodata.plan.workload import PRIORS
from autodata.serving.embedded import resolve_weights

if TYPE_CHECKING:
    from torch.nn import Linear, Module
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass(frozen=True)
class ModelShape:
    """Counts of a model. Every `…_values` is a number of values for one token of text."""

    name: str
    parameters: int  # with the vision tower
    trained: int  # weights of the model that are updated; with LoRA none
    adapters: int  # weights of LoRA's adapters; they are updated too
    multiplied: int  # weights that each token is multiplied with
    hidden: int
    layers: int
    vocabulary: int
    layer_values: int  # inputs and outputs of the linear modules in the largest layer
    query_values: int  # queries in all layers with full attention
    cached_values: int  # keys and values in all layers with full attention

    @property
    def updated(self) -> int:
        return self.trained + self.adapters


def read_shape(weights: str, lora: Mapping[str, Any]) -> ModelShape:
    """Read the shape of a model to be trained; `lora` is the recipe's. Raises RecipeError if it is not known."""
    import torch

    from autodata.training.weights.student import freeze_vision

    architecture, config = _read_config(weights)
    with torch.device("meta"):
        model = _make(architecture, config)
    freeze_vision(model)
    layers = list(_find_layers(model))
    text, attending = config.get_text_config(), _count_attending(config.get_text_config())
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    embeddings = 0 if text.tie_word_embeddings else text.vocab_size * text.hidden_size
    return ModelShape(
        name=weights,
        parameters=sum(p.numel() for p in model.parameters()),
        trained=0 if lora else trained,
        adapters=_count_adapters(layers, lora) if lora else 0,
        multiplied=trained - embeddings,
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        vocabulary=text.vocab_size,
        layer_values=max(sum(m.in_features + m.out_features for m in _find_linear(layer)) for layer in layers),
        query_values=attending * text.num_attention_heads * head_size,
        cached_values=attending * 2 * text.num_key_value_heads * head_size,
    )


def _read_config(weights: str) -> tuple[str, PreTrainedConfig]:
    """Return architecture and configuration: from the weights on this machine, else from priors.yaml."""
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(resolve_weights(weights), local_files_only=True)
    except (OSError, ValueError) as error:
        if weights not in PRIORS["shapes"]:
            advice = "download its config.json, or name a folder that has it"
            raise RecipeError(f"model={weights}: its shape is not known on this machine; {advice}") from error
        known = PRIORS["shapes"][weights]
        made = getattr(transformers, known["architecture"]).config_class(**known["config"])
        return known["architecture"], made
    return config.architectures[0], config


def _make(architecture: str, config: PreTrainedConfig) -> PreTrainedModel:
    import transformers

    return getattr(transformers, architecture)(config)


def _count_attending(text: PreTrainedConfig) -> int:
    """Count the layers with full attention. Only these keep keys and values of every token."""
    kinds = getattr(text, "layer_types", None) or ["full_attention"] * text.num_hidden_layers
    return kinds.count("full_attention")


def _find_layers(model: Module) -> Iterator[Module]:
    """Find the layers of the language model; the blocks of the vision tower are left out."""
    from torch.nn import ModuleList

    for name, module in model.named_modules():
        if isinstance(module, ModuleList) and name.endswith("layers") and "visual" not in name.split("."):
            yield from module


def _find_linear(layer: Module) -> Iterator[Linear]:
    from torch.nn import Linear

    return (module for module in layer.modules() if isinstance(module, Linear))


def _count_adapters(layers: list[Module], lora: Mapping[str, Any]) -> int:
    """Count the weights of adapters: for each linear module that they stand on, rank × (inputs + outputs).

    Raises RecipeError if they stand on none.
    """
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    config = LoraConfig(**lora)
    is_all = config.target_modules == "all-linear"
    chosen = [
        module
        for layer in layers
        for name, module in layer.named_modules()
        if module in set(_find_linear(layer)) and (is_all or check_target_module_exists(config, name))
    ]
    if not chosen:
        raise RecipeError(
            f"lora.target_modules={lora.get('target_modules')}: no linear layer of the model has this name"
        )
    return math.ceil(sum(config.r * (m.in_features + m.out_features) for m in chosen))
