"""Tests that completions are judged while vLLM beside the trainer generates others, and that nothing else changes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from tests.helpers.colocate import make_llama
from tests.helpers.fake_server import Scripted, fake_server, judge_by_hash
from tests.helpers.training_runs import count_asked
from tests.helpers.training_world import REPO, make_arguments, make_dataset

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
TRAINER = {
    "use_vllm": True,
    "vllm_max_model_length": 1024,
    "vllm_importance_sampling_mode": "token_truncate",
    "max_completion_length": 48,
    "eval_strategy": "steps",
    "eval_steps": 2,
}


def answer_slowly(body: dict, count: int) -> Scripted:
    return replace(judge_by_hash(body, count), delay_s=0.5)


def train(
    folder: Path, name: str, *values: str, steps: int = 2, flags: tuple[str, ...] = ()
) -> tuple[list[dict], int]:
    """Train; return the log of the probe, the steps and the evaluation, and the number of judgements asked for."""
    with fake_server(answer_slowly) as judge:
        trainer = TRAINER | {"max_steps": steps}
        arguments = make_arguments(folder / "llama", folder / "data", judge.url, folder / name, **trainer)
        command = [sys.executable, "-m", "tests.helpers.colocate", *flags, "tests/grpo.yaml", *arguments]
        subprocess.run([*command, "evaluate=[cot_test]", *values], check=True, cwd=REPO)
        asked = count_asked(judge)
    cost = read_manifest(folder / name)["ledger"]["judge"]
    assert (cost["calls"], cost["replayed"]) == (asked, 0)
    curves = json.loads((folder / name / "curve.json").read_text())
    return [curves["probe"], *curves["train"], *curves["watched"]["cot_test"]], asked


def drop_times(log: list[dict]) -> list[dict]:
    times = "judge/", "step_time", "_runtime", "_per_second"
    return [{key: value for key, value in entry.items() if not any(t in key for t in times)} for entry in log]


def test_the_training_is_the_same_but_judges_during_the_generation(tmp_path):
    import torch
    from safetensors.torch import load_file

    make_llama(tmp_path / "llama")
    make_dataset(tmp_path / "data")
    (early, asked), (late, asked_late) = train(tmp_path, "early"), train(tmp_path, "late", flags=("--late",))
    assert drop_times(early) == drop_times(late)
    assert asked == asked_late == 8 + 2 * 8 + 2 * 3
    weights, others = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("early", "late"))
    assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
    for before, after in zip(early[1:3], late[1:3], strict=True):
        assert before["judge/seconds"] > before["judge/waited_s"]  # it began before the step waited for it
        assert after["judge/seconds"] <= after["judge/waited_s"]
        assert before["sampling/sampling_logp_difference/mean"] < 0.01  # vLLM had the weights of the step


def test_vllm_samples_from_the_adapters_of_the_step(tmp_path):
    """A large learning rate makes the policy of each step another one, so that stale weights would show."""
    make_llama(tmp_path / "llama", spread=0.3)
    make_dataset(tmp_path / "data")
    adapters = ["lora={r: 4, lora_alpha: 32, target_modules: all-linear}", "trainer.learning_rate=0.05"]
    log, _ = train(tmp_path, "run", *adapters, steps=3)
    differences = [entry["sampling/sampling_logp_difference/mean"] for entry in log[1:4]]
    entropies = [entry["entropy"] for entry in log[1:4]]
    assert max(differences) < 1.5 * differences[0]  # that of the first step is only vLLM's rounding
    assert max(entropies) - min(entropies) > 0.01
