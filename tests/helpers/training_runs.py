"""Fixtures and helpers of the tests that train: a random model, a data set, a judge over HTTP, and the command."""

import json
import sys
from pathlib import Path

import pytest

from autodata.training import grpo
from tests.helpers.fake_server import fake_server, judge_by_hash
from tests.helpers.training_world import REPO, make_arguments, make_dataset, make_qwen

TOLD = ("loss", "reward", "reward_std", "grad_norm", "train/score", "completions/mean_length")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """Make a model and a data set."""
    folder = tmp_path_factory.mktemp("training")
    make_qwen(folder / "qwen")
    make_dataset(folder / "data")
    return folder


@pytest.fixture
def judge():
    with fake_server(judge_by_hash) as server:
        yield server


@pytest.fixture
def world_and_judge(world, judge):
    return world, judge


def arguments(world: Path, judge, run: Path, **trainer: object) -> list[str]:
    return make_arguments(world / "qwen", world / "data", judge.url, run, **trainer)


def train(monkeypatch, *values: str) -> None:
    """Run the command in this process."""
    monkeypatch.setattr(sys, "argv", ["grpo.py", str(REPO / "tests" / "grpo.yaml"), *values])
    grpo.main()


def read_curve(run: Path) -> list[dict[str, float]]:
    entries = json.loads((run / "curve.json").read_text())["train"]
    return [{key: entry[key] for key in (*TOLD, "step")} for entry in entries]


def count_asked(judge) -> int:
    """Count the requests for a judgement, without the probe of an endpoint."""
    return sum(body.get("max_tokens") != 1 for body in judge.requests)
