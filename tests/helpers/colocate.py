"""Runs training/grpo.py with vLLM in the trainer's process on a CPU, where TRL alone cannot renew vLLM's weights.

    python -m tests.helpers.colocate [--late] RECIPE [key=value …]

After loading, vLLM packs the weights of linear layers for the CPU and drops the originals, so that new ones cannot be
loaded. Here they stay as they are, as on a GPU. With --late nothing is judged before the generation has ended.
"""

import os
import sys
from pathlib import Path

import torch


def keep_weights(layer: torch.nn.Module, remove_weight: bool) -> None:
    layer.cpu_linear = torch.nn.functional.linear


def make_llama(folder: Path, spread: float = 0.02) -> Path:
    """Write a small random model that ends its answers after twelve tokens on average, so that lengths differ.

    `spread` is the standard deviation of its weights; with a larger one it is surer of its next token.
    """
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from autodata.serving.embedded import resolve_weights

    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("embedded"))
    ends = [tokenizer.eos_token_id, *range(100, 100 + len(tokenizer) // 12)]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends,
        tie_word_embeddings=True,
        initializer_range=spread,
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> None:
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1", "VLLM_USE_AOT_COMPILE": "0"}
    from vllm.model_executor.layers import utils

    from autodata.training import grpo, trainer

    utils.dispatch_cpu_unquantized_gemm = keep_weights
    if "--late" in sys.argv:
        sys.argv.remove("--late")
        trainer.judge_early = lambda *_: None
    grpo.main()


if __name__ == "__main__":
    main()
