"""Tests a plan against a real run: a small run on vLLM, then a plan for the same documents."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

from autodata.config import load
from autodata.plan.plan import make_plan, parse
from autodata.plan.workload import from_run
from autodata.recipes.generation import GenerateRecipe
from autodata.run.folder import require_finished
from autodata.types import Role

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
RECIPE = "recipes/demo/generate.yaml"


@pytest.fixture(scope="module")
def run(server, tmp_path_factory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "documents").mkdir()
    for document in sorted(Path("recipes/demo/documents").iterdir())[:4]:
        shutil.copy(document, folder / "documents")
    arguments = [RECIPE, server, f"documents.path={folder / 'documents'}", "domain.max_rounds=3"]
    command = [sys.executable, "-m", "autodata.generate", *arguments, f"run={folder / 'run'}"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "run", arguments


def options(run: tuple[Path, list[str]]) -> argparse.Namespace:
    return parse([*run[1], "--like", str(run[0])])


def test_a_plan_is_near_to_what_happened(run, capsys):
    measured = require_finished(str(run[0]), "")["working_s"]
    plan = make_plan(load(GenerateRecipe, run[1]), options(run))
    predicted = fmean(plan.seconds)
    with capsys.disabled():
        print(f"\nplan: predicted / measured = {predicted:.1f} s / {measured:.1f} s = {predicted / measured:.2f}")
    assert 0.5 < predicted / measured < 2


def test_replayed_documents_have_the_calls_and_tokens_of_the_run(run):
    counts = json.loads((run[0] / "manifest.json").read_text())["counts"]
    calls = [c for story in from_run(load(GenerateRecipe, run[1]), run[0]).stories for c in story.calls]
    assert len(calls) == counts["calls"]
    assert sum(c.prompt for c in calls) == pytest.approx(counts["prompt_tokens"])
    assert sum(c.completion for c in calls) == pytest.approx(counts["completion_tokens"])
    assert {c.role for c in calls} == {Role.CHALLENGER, Role.WEAK_SOLVER, Role.STRONG_SOLVER}
