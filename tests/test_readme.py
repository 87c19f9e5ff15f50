"""Follows the README to the letter in a clean clone: its commands are read from the page and run as a user would."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from autodata.__main__ import MODULES
from tests.helpers.fake_server import fake_server
from tests.test_with_an_api_key import play

REPO = Path(__file__).parent.parent
README = (REPO / "README.md").read_text()
SEE, API, GPU, CLUSTER = re.findall(r"```bash\n(.+?)```", README, re.DOTALL)
PAGES_COMMANDS = (REPO / "docs/commands.md").read_text()


def list_commands(block: str) -> list[str]:
    """List the commands of a block without their comments."""
    return [line.partition("   #")[0].strip() for line in block.strip().splitlines()]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """Return a clean clone of what is committed, with this checkout's environment in it."""
    folder = tmp_path_factory.mktemp("clone") / "autodata"
    subprocess.run(["git", "clone", "-q", str(REPO), str(folder)], check=True)
    (folder / ".venv").symlink_to(REPO / ".venv")
    return folder


def run(command: str, folder: Path, code: int = 0) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "SLURM"))}
    environment |= {"PYTHONPATH": str(folder), "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}", "COLUMNS": "200"}
    environment |= {"OPENAI_API_KEY": "sk-not-a-real-key"}
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_each_ladder_has_five_commands_and_the_first_look_three():
    assert [len(list_commands(block)) for block in (SEE, API, GPU, CLUSTER)] == [3, 5, 5, 5]


@pytest.mark.slow
def test_the_published_runs_are_replayed_in_a_clean_clone(clone):
    first, replay, demo = list_commands(SEE)
    assert first.startswith("git clone REPOSITORY") and demo == "make demo"
    run("touch .venv/.ready", clone)  # the environment is there already
    assert "equal" in run(replay, clone)


@pytest.mark.slow
def test_the_ladder_of_an_api_key_works_at_an_imitation_of_the_provider(clone):
    setup, *commands = list_commands(API)
    assert setup.startswith("make setup && source .venv/bin/activate && export OPENAI_API_KEY=")
    with fake_server(play) as server:
        at = [f"models.endpoints.{size}_model" for size in ("small", "large")]
        served = shlex.join(
            [f"{key}.{value}" for key in at for value in (f"base_url={server.url}", "lists_models=false")]
        )
        asks = ("autodata doctor", "autodata generate")
        printed = [run(f"{line} {served}" if line.startswith(asks) else line, clone) for line in commands]
    assert "fail " not in printed[0] and "$" in printed[1]
    assert "2 of 2 documents have an accepted candidate" in printed[2]
    assert (clone / "runs/first/report.html").is_file()


@pytest.mark.slow
def test_the_ladder_of_one_gpu_says_that_there_is_none(clone):
    setup, doctor, plan, generate, _ = list_commands(GPU)
    assert setup.startswith("make setup GPU=1")
    assert "GPU" in run(doctor, clone, code=1)
    assert "GPU-hours" in run(plan, clone)
    assert "run=runs/first" in generate


@pytest.mark.slow
def test_the_ladder_of_a_cluster_can_be_planned_without_one(clone):
    setup, small, plan, submit, status = list_commands(CLUSTER)
    assert setup.startswith("make setup GPU=1 DRIVER=")
    assert submit == plan.removesuffix(" --dry-run")
    assert "11" in run(f"{small} --dry-run", clone)
    assert "hf download" in run(plan, clone)
    assert status == "autodata status runs/reproduce/table2"


def test_every_command_of_the_program_stands_on_the_page_of_commands():
    assert set(re.findall(r"^\| `autodata ([\w-]+)", PAGES_COMMANDS, re.MULTILINE)) == set(MODULES)
