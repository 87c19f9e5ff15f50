"""Tests the guides: runs those of their commands that need no GPU, cluster or key, and compares their numbers."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.scripted_endpoint import serve_scripted

REPO = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read_blocks(page: str) -> list[list[str]]:
    return [block.splitlines() for block in BLOCK.findall((REPO / page).read_text())]


def call(line: str, folder: Path, status: int = 0) -> str:
    """Run a line of a guide in a user's folder, with this Python."""
    line = re.sub(r"^(python|\S*/python) ", f"{sys.executable} ", line)
    line = re.sub(r"^autodata ", f"{sys.executable} -m autodata ", line)
    environment = os.environ | {"PYTHONPATH": str(REPO), "AUTODATA_PYTHON": sys.executable, "COLUMNS": "200"}
    environment |= {"OPENAI_API_KEY": "sk-not-a-real-key"}
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == status, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """An empty folder of a user, from which the checkout's recipes can be reached."""
    (tmp_path / "recipes").symlink_to(REPO / "recipes")
    return tmp_path


def test_the_numbers_of_the_guide_for_one_gpu_are_those_of_its_dry_run(folder):
    page = (REPO / "docs/with-one-gpu.md").read_text()
    models, *lines = [line for line in read_blocks("docs/with-one-gpu.md")[2] if not line.startswith(("#", "export"))]
    dry_run = next(line for line in lines if line.endswith("--dry-run"))
    speed = re.search(r"--speed \S+?(?=`)", page)[0]
    shown = call(f"{models}\n{dry_run} {speed}".replace("\npython", f"\n{sys.executable}"), folder)
    shown = shown.replace("*", "")  # the marks of what is assumed
    hours = {
        row[0]: row[1] for row in re.findall(r"^\| \d+ \| (\S+ \S+) \|(?:[^|]*\|){4} ([\d.]+) \|", shown, re.MULTILINE)
    }
    stated = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+)(?: each| \(7 days\))? \|$", page, re.MULTILINE))
    assert [hours[f"{step} runs/cs/{run}"] for step, run in (
        ("generate", "agentic"), ("generate", "cot"), ("eval", "eval_base"), ("grpo", "grpo"))
    ] == [*stated.values()][:4]  # fmt: skip
    assert f"{[*stated.values()][4]} GPU-hours" in shown and "(7 days)" in shown
    assert re.search(r"Disk: (\d+) GB", shown)[1] in page


def test_the_memory_in_the_guide_for_one_gpu_is_that_of_the_plan(folder):
    page = (REPO / "docs/with-one-gpu.md").read_text()
    shown = call(re.search(r"`(python -m autodata.plan recipes/cs/grpo.yaml [^`]+)`", page)[1], folder)
    sums = re.search(r"│ sum +│ ([\d.]+) +│ ([\d.]+) ", shown)
    assert f"| sum | {float(sums[1]):.1f} | {float(sums[2]):.1f} |" in page


PLANS = re.findall(r"^python -m autodata\.plan .+$", (REPO / "docs/plan.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", PLANS)
def test_the_hours_in_the_page_of_the_plan_are_those_that_its_commands_print(folder, line):
    printed = re.search(r"wall-clock.*", call(line, folder))[0]
    hours = re.findall(r"│ (\d+ h \d\d min|\d+ min \d\d s)", printed)
    assert hours
    assert [time for time in hours if time not in (REPO / "docs/plan.md").read_text()] == []


def test_the_ladder_of_a_cluster_starts_with_dry_runs_that_work():
    lines = [line for line in read_blocks("docs/on-a-cluster.md")[0] if line.startswith("bash slurm/reproduce.sh")]
    assert len(lines) == 3
    for line in lines[:2]:
        assert "To do in all" in call(
            f"{line.partition('#')[0].replace('--dry-run', '')} documents.limit=50 --dry-run", REPO
        )
    hours = re.search(r"\| `table2` \| [^|]+ \| ([\d,]+) \|", (REPO / "docs/reproduce.md").read_text())[1]
    assert f"{hours} GPU-hours for Table 2" in (REPO / "docs/on-a-cluster.md").read_text()


def test_the_steps_of_the_skill_work_with_made_up_replies(folder):
    printed = ""
    with serve_scripted() as url:
        models = f"recipes/models/scripted.yaml models.endpoints.scripted.base_url={url}"
        for line in read_blocks("skills/autodata/SKILL.md")[0][:6]:
            line = line.replace("RECIPE", "recipes/cs/generate.yaml").replace("MODELS", f"{models} key=value")
            line = line.replace("key=value", "documents.path=recipes/cs/documents", 1).replace(" key=value", "")
            printed += call(line, folder)
    assert "runs/first/report.html" in printed
    assert "made up" in (folder / "runs/first/report.html").read_text()
