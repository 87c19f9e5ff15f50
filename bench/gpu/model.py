"""Makes a random model with exactly the shape of Qwen3.5-4B, in bfloat16, which bench/gpu.sh trains.

    python -m bench.gpu.model FOLDER

Small: a model of the same kinds of layers that a CPU can train.
"""

import argparse
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from bench.gpu.record import is_small
from tests.helpers.training_world import build_qwen, make_qwen, make_tokenizer, save_qwen

TEXT = {
    "vocab_size": 248_320,
    "hidden_size": 2560,
    "intermediate_size": 9216,
    "num_hidden_layers": 32,
    "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 8,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "max_position_embeddings": 262_144,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000_000,
        "partial_rotary_factor": 0.25,
        "mrope_section": [11, 11, 10],
        "mrope_interleaved": True,
    },
}
VISION = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": 2560}


def build(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """Build the model on the GPU, if there is one."""
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return build_qwen(tokenizer, TEXT, VISION, "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the model")
    folder = parser.parse_args().folder
    if is_small():
        make_qwen(folder)
    else:
        tokenizer = make_tokenizer()
        save_qwen(build(tokenizer), tokenizer, folder)


if __name__ == "__main__":
    main()
