"""Sends the prompt of a group through the model once, instead of once for each completion of the group.

All completions of a group have the same prompt (GRPO). The model keeps the prompt's keys and values, and each
completion attends to them. Gradients flow back through them, so the result is that of whole rows up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def keeps_whole_past(config: PreTrainedConfig) -> bool:
    """Return True if every layer of the model is attention to all earlier tokens.

    Linear attention and sliding windows keep something else than the keys and values of the whole prompt. Models with
    images count positions in their own way.
    """
    layers = DynamicCache(config=config).layers
    return config.get_text_config(decoder=True) is config and all(type(layer) is DynamicLayer for layer in layers)


def divide_by_prompt(prompts: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the numbers of the rows of each prompt that several rows have, and those of all other rows.

    `prompts` has shape (rows, columns). Rows with the same prompt need not be neighbours: TRL shuffles a step's rows.
    """
    _, numbers, counts = prompts.unique(dim=0, return_inverse=True, return_counts=True)
    groups = [(numbers == number).nonzero().flatten() for number in (counts > 1).nonzero()]
    return groups, (counts[numbers] == 1).nonzero().flatten()


def run_prompt(model: PreTrainedModel, prompt: Tensor, rows: int) -> Callable[..., Any]:
    """Run the model on a prompt and return a model that continues it with `rows` rows.

    `prompt` has shape (1, tokens). The returned model takes padding on the right only. It needs no attention mask: no
    token attends to a later one, and the cache tells the model the position of the first new token.
    """
    cache = DynamicCache(config=model.config)
    model(input_ids=prompt, past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(rows)

    def continue_prompt(input_ids: Tensor, attention_mask: Tensor, **options: Any) -> Any:
        return model(input_ids=input_ids, past_key_values=cache, **options)

    return continue_prompt
