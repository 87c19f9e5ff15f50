"""Loads the model to be trained, freezes its vision tower, and saves it in a form that vLLM can load."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodata.run.records import RunError

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_student(weights: str, options: dict[str, Any]) -> PreTrainedModel:
    """Load the class that the weights' own configuration names, and freeze its vision tower.

    `options` go verbatim to from_pretrained. Qwen3.5 is trained in its multimodal class because vLLM knows the
    parameters by the names they have there (huggingface/trl#5269); no text ever reaches the tower.
    """
    import transformers

    config = transformers.AutoConfig.from_pretrained(weights, revision=options.get("revision"))
    model = getattr(transformers, config.architectures[0]).from_pretrained(weights, **{"dtype": "bfloat16"} | options)
    freeze_vision(model)
    return model


def freeze_vision(model: Module) -> None:
    for name, parameter in model.named_parameters():
        if "visual" in name.split("."):
            parameter.requires_grad_(False)


def find_checkpoint(folder: Path, model: PreTrainedModel) -> str | None:
    """Find the last whole checkpoint, if there is any. Raises RunError if it belongs to another model."""
    # The trainer writes trainer_state.json last: a checkpoint without it was cut off by a kill or a full disk.
    whole = [state.parent for state in folder.glob("checkpoint-*/trainer_state.json")]
    if not whole:
        return None
    last = max(whole, key=lambda path: int(path.name.split("-")[1]))
    if (last / "config.json").exists():
        from transformers import AutoConfig

        configs = AutoConfig.from_pretrained(last).get_text_config(), model.config.get_text_config()
        for key in ("hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"):
            saved, wanted = (getattr(config, key, None) for config in configs)
            if saved != wanted:
                raise RunError(
                    f"{last} belongs to another model: {key} {saved}, not {wanted}; train in another folder (run=…)"
                )
    return str(last)


def save_student(full: Path, target: Path, tokenizer: PreTrainedTokenizerBase, card: str) -> None:
    """Save the trainer's model in `full` as bfloat16, with everything that serving needs, and remove `full`.

    `target` appears only when its last file is written, so it is never incomplete.
    """
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    scratch = target.with_name(target.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    unset_hf_deepspeed_config()  # else ZeRO-3 would shard this model too, and empty tensors would be saved
    load_student(str(full), {"dtype": "bfloat16"}).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    (scratch / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)
    shutil.rmtree(full)
