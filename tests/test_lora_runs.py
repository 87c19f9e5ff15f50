"""Tests a training of LoRA adapters as its users run it: what it saves, and that a resumed one is the same."""

import shutil
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from autodata.training.weights.student import load_model
from tests.helpers.commands import fails
from tests.helpers.training_runs import arguments, judge, read_curve, train, world

__all__ = ["judge", "world"]  # fixtures
pytestmark = pytest.mark.slow
LORA = "lora={r: 4, lora_alpha: 32, target_modules: all-linear}"
FOUR = {"max_steps": 4, "save_steps": 2, "gradient_checkpointing": True, "save_total_limit": 3}


def train_adapters(monkeypatch, world: Path, judge, run: Path, lora: str = LORA) -> None:
    dtype = "trainer.model_init_kwargs={dtype: bfloat16}"
    train(monkeypatch, *arguments(world, judge, run, **FOUR), lora, dtype, "save_models_at=[2]")


def resume_from(earlier: Path, run: Path, *steps: int) -> Path:
    """Copy checkpoints into a new run folder, as if the run had been killed right after the last of them."""
    for step in steps:
        shutil.copytree(earlier / "checkpoints" / f"checkpoint-{step}", run / "checkpoints" / f"checkpoint-{step}")
    return run


def test_adapters_are_trained_saved_and_resumed_to_the_bit(world, judge, tmp_path, monkeypatch):
    import torch
    from safetensors.torch import load_file

    run = tmp_path / "run"
    train_adapters(monkeypatch, world, judge, run)
    names = {"model", "model_at_2", "adapter", "adapter_at_2"}
    assert read_manifest(run)["outputs"].keys() == names
    adapters = {name: load_file(run / name / "adapter_model.safetensors") for name in ("adapter", "adapter_at_2")}
    moments = torch.load(run / "checkpoints" / "checkpoint-4" / "optimizer.pt", weights_only=True)["state"].values()
    for tensors in (*adapters.values(), *({"m": state["exp_avg"]} for state in moments)):
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert len(moments) == len(adapters["adapter"]) == 2 * 31  # Adam holds the adapters and nothing else
    for name, tensor in adapters["adapter"].items():
        assert torch.any(tensor != adapters["adapter_at_2"][name]), name  # each one learns
    before, after = (dict(load_model(str(f), {}).named_parameters()) for f in (world / "qwen", run / "model"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("proj.weight") or ".in_proj_" in name for name in changed)
    assert "Trained: LoRA adapters, r 4, alpha 32, on all-linear" in (run / "model" / "README.md").read_text()

    resumed = resume_from(run, tmp_path / "resumed", 2)
    train_adapters(monkeypatch, world, judge, resumed)
    assert read_curve(resumed) == read_curve(run)
    for name in names:
        file = "model.safetensors" if name.startswith("model") else "adapter_model.safetensors"
        assert (resumed / name / file).read_bytes() == (run / name / file).read_bytes(), name

    message = r"checkpoint-4 belongs to another model: trained are adapters \(lora\), not all weights"
    with fails(message):
        train_adapters(monkeypatch, world, judge, resume_from(run, tmp_path / "all", 4), "lora={}")
    with fails("checkpoint-4 belongs to another model: r 4, not 8"):
        train_adapters(monkeypatch, world, judge, resume_from(run, tmp_path / "rank", 4), LORA.replace("r: 4", "r: 8"))
