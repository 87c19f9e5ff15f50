"""Writes the card of a trained model, from its run's manifest and recipe and nothing else."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from autodata.data.card import CITATION
from autodata.recipes.training import GrpoRecipe


def write_card(manifest: Mapping[str, Any], recipe: GrpoRecipe) -> str:
    """Return the text of README.md with the YAML header that the Hub reads."""
    from huggingface_hub import ModelCard, ModelCardData  # slow to import and needed only here

    is_on_hub = recipe.model.count("/") == 1 and not recipe.model.startswith(("/", "."))
    name = recipe.model if is_on_hub else PurePath(recipe.model).name  # no path of this machine
    base = recipe.model if is_on_hub else None
    data = ModelCardData(base_model=base, tags=["autodata", "grpo", "trl"], pipeline_tag="text-generation")
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(_body(name, manifest, recipe)) + "\n"))


def describe_judgements(facts: Mapping[str, Any]) -> str:
    """Say how many judgements of the whole run failed, and how many sessions and processes were counted."""
    sentence = f"{facts['failed_judgements']:,} of {facts['judgements']:,} judgements failed and gave no reward"
    parts = [f"{count} {name}" for name, count in facts["judged_over"].items() if count > 1]
    return f"{sentence}, counted over {' and '.join(parts)}" if parts else sentence


def describe_trained(lora: Mapping[str, Any]) -> str:
    """Say which weights were trained: all, or adapters with their rank, alpha and layers."""
    if not lora:
        return "all weights of the language model"
    from peft import LoraConfig  # slow to import

    config = LoraConfig(**lora)
    layers = (
        config.target_modules if isinstance(config.target_modules, str) else ", ".join(sorted(config.target_modules))
    )
    return (
        f"LoRA adapters, r {config.r}, alpha {config.lora_alpha}, on {layers}; merged with the weights in this folder"
    )


def _body(model: str, manifest: Mapping[str, Any], recipe: GrpoRecipe) -> list[str]:
    judge, reward = "none", "computed in code, by a rule"
    if recipe.models.judge:
        judge, reward = recipe.models.endpoints[recipe.models.judge.endpoint].model, "a language model's judgement"
    packages = ", ".join(f"{name} {version}" for name, version in sorted(manifest["packages"].items()) if version)
    return [
        f"# {model}, trained with GRPO on data made by Autodata",
        f"Domain: {recipe.domain.name}; arms: {', '.join(recipe.arms)}; steps: {manifest['steps']:,}; judge: {judge}.",
        f"Mean reward: {manifest['reward_first_quarter']:.3f} in the first quarter of the steps, "
        f"{manifest['reward_last_quarter']:.3f} in the last; {describe_judgements(manifest)}.",
        f"Trained: {describe_trained(recipe.lora)}.",
        "## Trainer",
        "\n".join(f"- `{key}`: `{value}`" for key, value in sorted(recipe.trainer.items())),
        "## Made with",
        f"{_name_datasets(manifest['inputs'])}; commit: {manifest.get('git_commit') or 'unknown'}; "
        f"packages: {packages}.",
        "## Limits",
        f"- The reward is {reward}: where it can be misled, the model learns to mislead it.\n"
        "- Nothing was done for safety beyond what the base model has.",
        "## Citation",
        CITATION,
    ]


def _name_datasets(inputs: Mapping[str, str]) -> str:
    """Name the data set by its hash, and that of the watched sets if they come from another one."""
    watched = inputs.get("evaluate_dataset")
    return f"Data set: {inputs['dataset'][:16]}" + (
        f"; data set of the watched sets: {watched[:16]}" if watched else ""
    )
