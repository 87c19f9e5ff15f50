"""Makes a small model of Qwen3.5's architecture with random weights, a data set and a command to train with."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autodata.data.examples import EXAMPLES, Arm, make_example
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import DomainConfig
from autodata.run.folder import Run
from autodata.serving.embedded import resolve_weights
from autodata.types import EXAMPLE, Candidate, Criterion, End, Round, Trajectory, Verdict
from tests.helpers.fake_runs import BAD, GOOD, attempts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REPO = Path(__file__).parent.parent.parent
VISION_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
PATCHES = {
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
}
PROCESSOR = {
    "preprocessor_config.json": {
        "image_processor_type": "Qwen2VLImageProcessorFast",
        "size": {"longest_edge": 16_777_216, "shortest_edge": 65_536},
    },
    "video_preprocessor_config.json": {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "size": {"longest_edge": 25_165_824, "shortest_edge": 4_096},
    },
}
RUBRIC = (Criterion("names the cause", 2), Criterion("gives a number", 1), Criterion("contradicts itself", -1))


def make_qwen(folder: Path) -> Path:
    """Write a small random model of Qwen3.5's kinds of layers, with vision tower, processor and stand-in tokenizer."""
    tokenizer = make_tokenizer()
    text = {"vocab_size": len(tokenizer), "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "linear_num_key_heads": 2,
            "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
            "layer_types": ["linear_attention"] * 3 + ["full_attention"]}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64,
              "num_position_embeddings": 16}  # fmt: skip
    save_qwen(build_qwen(tokenizer, text, vision), tokenizer, folder)
    return folder


def make_tokenizer() -> PreTrainedTokenizerBase:
    """Load SmolLM2's tokenizer and give it Qwen3.5's template and the tokens that stand for images."""
    import trl
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("embedded"))
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3_5_think.jinja"
    tokenizer.chat_template = template.read_text()
    tokenizer.add_special_tokens({"additional_special_tokens": list(VISION_TOKENS.values())})
    return tokenizer


def build_qwen(
    tokenizer: PreTrainedTokenizerBase, text: Mapping[str, Any], vision: Mapping[str, Any], dtype: str = "float32"
) -> PreTrainedModel:
    """Build a random model on the default device, with arguments of transformers' two configurations."""
    import torch
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    ids = {key: tokenizer.convert_tokens_to_ids(token) for key, token in VISION_TOKENS.items()}
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    text = {**text, **ends, "tie_word_embeddings": True}
    torch.manual_seed(0)
    config = Qwen3_5Config(text_config=text, vision_config=dict(vision), tie_word_embeddings=True, **ids)
    model = Qwen3_5ForConditionalGeneration._from_config(config, dtype=getattr(torch, dtype))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model


def save_qwen(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save a model with its tokenizer and with the processor files that vLLM asks for."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for name, kind in PROCESSOR.items():
        (folder / name).write_text(json.dumps({**PATCHES, **kind, "processor_class": "Qwen3VLProcessor"}))


def make_dataset(folder: Path, train: int = 6, test: int = 2, domain: str = "cs") -> Path:
    """Write a finished data set of both arms."""
    examples = [
        _make_example(arm, domain, f"{arm}-{side}-{i}", side)
        for arm in ("agentic", "cot")
        for side, count in (("train", train), ("test", test))
        for i in range(count)
    ]
    recipe = DatasetRecipe(run=str(folder), arms={"agentic": "a", "cot": "c"})
    with Run(str(folder), "dataset", recipe, {}) as run:
        run.start()
        run.write(EXAMPLES, "".join(EXAMPLE.dump_json(e).decode() + "\n" for e in examples))
        run.finish([EXAMPLES], domains={"agentic": domain, "cot": domain})
    return folder


def _make_example(arm: str, domain: str, name: str, side: str):
    candidate = Candidate(f"Why does method {name} fail on long inputs?", "It runs out of room.", RUBRIC, "A context.")
    round = Round(1, candidate, None, attempts(RUBRIC, GOOD, BAD), attempts(RUBRIC, GOOD, GOOD), Verdict(True))
    source = Arm(arm, f"runs/{arm}", (), DomainConfig(domain, weak_attempts=2, strong_attempts=2), {}, "h", "p")
    example = make_example(source, Trajectory(name, name, arm, "p", (round,), End.ACCEPTED), round, "unknown")
    return replace(example, split=side)


def make_arguments(model: Path, dataset: Path, judge: str, run: Path, **trainer: object) -> list[str]:
    """Return arguments for three steps on the CPU, with two prompts by four completions of eight tokens."""
    values = {
        "use_cpu": True,
        "bf16": False,
        "num_generations": 4,
        "per_device_train_batch_size": 4,
        "num_generations_eval": 3,
        "max_completion_length": 8,
        "max_steps": 3,
        "save_steps": 1,
        "report_to": "none",
        "seed": 3,
        "learning_rate": 0.001,
        "gradient_checkpointing": False,
    } | trainer
    return [
        f"model={model}",
        f"dataset={dataset}",
        f"run={run}",
        "domain.name=cs",
        "min_examples=4",
        "models.judge.endpoint=judge",
        f"models.endpoints.judge.base_url={judge}",
        "models.endpoints.judge.model=fake",
        "reward.cut_off=judge",
        "preflight.max_cut_off=1.0",
        "preflight.probe=2",
        "prompts_per_step=2",
        "trainer.model_init_kwargs={dtype: float32}",
        "trainer.chat_template_kwargs={enable_thinking: false}",
        *(f"trainer.{key}={value}" for key, value in values.items()),
    ]


def launch(*arguments: str, config: str = "recipes/accelerate/cpu.yaml", options: tuple[str, ...] = ()) -> list[str]:
    """Return the command line that users type."""
    accelerate = str(Path(sys.executable).parent / "accelerate")
    recipe = str(REPO / "tests" / "grpo.yaml")
    return [accelerate, "launch", "--config_file", config, *options, "training/grpo.py", recipe, *arguments]
