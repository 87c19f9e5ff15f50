"""Trains with TRL itself, one step each, on rows and rewards that this project has exported."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autodata import dataset, export
from autodata.config import REPO
from autodata.serving.embedded import resolve_weights
from autodata.types import Criterion, Round, Verdict
from tests.helpers.commands import find_failure
from tests.helpers.fake_runs import attempts, candidate, demo_recipe, trajectory, write_run

pytestmark = pytest.mark.slow  # imports torch and trains
# What the pages leave to their reader, as small as can be.
ONE_STEP = {"max_steps": 1, "per_device_train_batch_size": 2, "use_cpu": True, "bf16": False, "report_to": "none",
            "save_strategy": "no", "logging_steps": 1}  # fmt: skip
GROUP = {"num_generations": 2, "max_completion_length": 4}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Write a random model of two small layers with the embedded model's tokenizer and chat template."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(resolve_weights("embedded"))
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes, **ends)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Export a data set in every format; return its folder."""
    folder, recipe = tmp_path_factory.mktemp("exported"), demo_recipe()
    run = write_run(folder / "agentic", recipe, *(trajectory(f"d{i}", make_round(i)) for i in range(4)))
    (folder / "dataset.yaml").write_text(
        "decontaminate: []\nfilters: {reference_answer: false}\ntest_fraction: 0.25\n"
    )
    call(dataset, folder / "dataset.yaml", f"run={folder / 'd'}", f"arms.agentic={run}")
    formats = [*export.FORMATS, export.ENVIRONMENT]
    call(export, folder / "d", "--name", "exported_tasks", "--as", *formats)
    return folder / "d/export"


def make_round(number: int) -> Round:
    """Make a question of the domain that code judges, which both solvers answer rightly and wrongly."""
    rubric = (Criterion("The answer is “stone”.", 1),)
    proposal = candidate(f"stone {number}\nThe first word is", rubric=rubric)
    given = [
        replace(a, answer="stone”" if a.judgement.score else "wood”") for a in attempts(rubric, (False,), (True,))
    ]
    return Round(1, proposal, None, tuple(given), tuple(given), Verdict(True))


def call(command, *arguments: object) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        assert find_failure(command.main) == ""


def run_snippet(text: str, model: Path, **settings: object) -> dict:
    """Run lines of a page with the small model, and each trainer for one step."""
    words = ", ".join(f"{name}={value!r}" for name, value in (ONE_STEP | settings).items())
    text = text.replace("owner/model", str(model))
    assert "Config(" in text
    names: dict = {}
    exec(re.sub(r"(\w+Config\()([^)]*)\)", rf"\1\2, {words})", text), names)
    return names


def test_the_page_of_sft_and_dpo_trains(exported, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    snippet = (REPO / "docs/evidence.md").read_text().split("```python\n")[1].split("```")[0]
    names = run_snippet(snippet.replace("runs/demo/dataset/export", str(exported)), model)
    for trainer in (names["sft"], names["dpo"]):
        assert trainer.state.global_step == 1
        assert next(log["loss"] for log in trainer.state.log_history if "loss" in log) > 0


def test_grpo_learns_from_the_exported_prompts_and_reward(exported, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(exported / "environment")
    page = (exported / "environment/README.md").read_text().split("```python\n")[1].split("```")[0]
    names = run_snippet(page.replace("URL", "http://127.0.0.1:9"), model, **GROUP)
    log = next(log for log in names["trainer"].state.log_history if "reward" in log)
    assert names["trainer"].state.global_step == 1
    ends = {row["prompt"].rpartition("\n")[2] for row in names["rows"]}
    assert ends == {"The first word is “"}, "the model goes on where the prompt ends"
    assert log["rewards/rubric_reward/mean"] == log["reward"] == 0.0, "random tokens are no answer, and are judged"
    ids = [row["id"] for row in names["rows"]][:1] * 2
    assert names["reward"](completions=["stone” it is", "wood”"], id=ids) == [1.0, 0.0]
