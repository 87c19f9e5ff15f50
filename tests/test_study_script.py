"""Tests the script of the study: every command that it runs is recorded, and its recipe must load."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from autodata.recipes.evaluated import list_words
from autodata.recipes.generation import ARMS as GENERATED
from tests.helpers.recipes import REPO, load_committed

pytestmark = pytest.mark.slow

ARMS = ("agentic", "best_of_n", "cot", "pass_rate")
COMMANDS = (
    "autodata.servers",
    "autodata.generate",
    "autodata.dataset",
    "autodata.eval.run",
    "autodata.eval.study",
    "training/grpo.py",
    "autodata.report",
)
RECORDER = """#!/usr/bin/env bash
printf '%q ' "$@" >>calls
echo >>calls
case "$*" in *autodata.servers*)
    echo models.endpoints.small.base_url=http://127.0.0.1:1/v1
    exec sleep 60 ;;
esac
"""


@pytest.fixture
def play(tmp_path):
    """Run the script with programs that only record how they are called; return its commands with their arguments."""

    def run(*seeds: str, gpu: str = "", script: str = "run.sh") -> list[tuple[str, list[str]]]:
        shutil.copytree(REPO / "recipes", tmp_path / "recipes", dirs_exist_ok=True)
        for folder in (".venv", ".venv-gpu"):
            for name in ("python", "accelerate"):
                path = tmp_path / folder / "bin" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(RECORDER)
                path.chmod(0o755)
        command = ["bash", f"recipes/study/{script}", "runs/study", *seeds]
        subprocess.run(
            command, cwd=tmp_path, check=True, env=os.environ | {"GPU": gpu}, capture_output=True, timeout=60
        )
        calls = [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]
        (tmp_path / "calls").unlink()
        return [split_call(call) for call in calls]

    return run


def split_call(call: list[str]) -> tuple[str, list[str]]:
    """Return the command of a call and its arguments."""
    at = next(i for i, word in enumerate(call) if word in COMMANDS)
    return call[at], call[at + 1 :]


@pytest.mark.parametrize("gpu", ["", "1"])
def test_every_command_of_the_study_has_a_recipe_that_loads(play, gpu):
    calls = play("0", "3", gpu=gpu)
    assert {command for command, _ in calls} == set(COMMANDS)
    assert calls[-1] == ("autodata.report", ["runs/study"])
    for _, arguments in calls[:-1]:
        load_committed(*arguments)


def test_the_analysis_takes_the_seeds_of_earlier_calls_too(play, tmp_path):
    (tmp_path / "runs/study/seed_10").mkdir(parents=True)
    ((_, arguments),) = [call for call in play("3", "0") if call[0] == "autodata.eval.study"]
    assert load_committed(*arguments).seeds == [0, 3, 10]


def test_all_arms_of_a_seed_differ_only_in_their_data(play):
    calls = play("3")
    trained = [load_committed(*arguments) for command, arguments in calls if command == "training/grpo.py"]
    assert [Path(recipe.run).name for recipe in trained] == [f"grpo_{arm}" for arm in ARMS]
    assert [recipe.arms for recipe in trained] == [["agentic"], ["best_of_n"], ["cot"], ["cot"]]
    assert [bool(recipe.pass_rate) for recipe in trained] == [False, False, False, True]
    for key in ("trainer", "train_examples", "prompts_per_step", "evaluate_dataset", "reward", "model"):
        assert len({str(getattr(recipe, key)) for recipe in trained}) == 1, key
    assert trained[0].trainer["seed"] == 3


def test_every_evaluation_names_the_arm_that_its_model_was_trained_on(play):
    """Else it is refused: the examples of the arm pass_rate are those of cot."""
    calls = play("3")
    trained = [load_committed(*arguments) for command, arguments in calls if command == "training/grpo.py"]
    asked = [load_committed(*arguments) for command, arguments in calls if command == "autodata.eval.run"][1:]
    for training, evaluation in zip(trained, asked, strict=True):
        words = f" {' '.join(list_words(evaluation.label))} "
        named = [arm for arm in GENERATED if f" {arm.replace('_', ' ')} " in words]
        assert named == training.arms, evaluation.label
        assert evaluation.evaluated.weights == f"{training.run}/model"


@pytest.mark.parametrize("gpu", ["", "1"])
def test_the_follow_up_trains_two_halves_and_asks_the_first_half_for_new_data(play, gpu):
    calls = play("3", script="refresh.sh", gpu=gpu)
    loaded = [(command, load_committed(*arguments)) for command, arguments in calls[:-1]]
    (first, second), (data,) = (
        [r for c, r in loaded if c == name] for name in ("training/grpo.py", "autodata.generate")
    )
    model = f"{first.run}/model"
    assert data.models.endpoints[data.models.weak_solver.endpoint].server.weights == model
    assert data.models.endpoints[data.models.strong_solver.endpoint].server.weights == "embedded"
    assert second.model == model
    whole = load_committed("recipes/study/grpo.yaml")
    assert first.train_examples + second.train_examples == whole.train_examples
    assert first.trainer["max_steps"] + second.trainer["max_steps"] == whole.trainer["max_steps"]
    assert first.trainer["seed"] == second.trainer["seed"] == data.seed == 3
    evaluated = next(r for c, r in loaded if c == "autodata.eval.run")
    assert evaluated.evaluated.weights == f"{second.run}/model"


def test_a_gpu_changes_who_computes_and_nothing_else(play):
    on_cpu = play("0")
    on_gpu = play("0", gpu="1")
    added = {word for (_, here), (_, there) in zip(on_cpu, on_gpu, strict=True) for word in set(there) ^ set(here)}
    assert {Path(name).stem for name in added} == {"gpu", "gpu_training"}


def test_held_out_documents_are_no_training_documents():
    read = {
        name: [json.loads(line) for line in (REPO / f"recipes/study/documents/{name}.jsonl").read_text().splitlines()]
        for name in ("train", "dev", "test")
    }
    assert {name: len(rows) for name, rows in read.items()} == {"train": 64, "dev": 16, "test": 40}
    sentences = [s for rows in read.values() for row in rows for s in row["text"].split(". ")]
    assert len(sentences) == len(set(sentences))
