"""Tests the tutorial that adds a domain, block by block, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autodata.run.records import read_records
from autodata.types import TRAJECTORY
from tests.helpers.fake_server import fake_server, play_skills

REPO = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_line(line: str, folder: Path, url: str) -> None:
    """Run a line of the tutorial with a scripted server."""
    if "autodata.generate" in line:
        line += f" models.endpoints.small.base_url={url} models.endpoints.small.model=fake"
    line = re.sub(r"^python ", f"{sys.executable} ", line)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}"


@pytest.mark.slow
def test_every_block_of_the_tutorial_works(tmp_path):
    for name in ("autodata", "recipes", "docs"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    blocks = BLOCK.findall((REPO / "docs" / "add-a-domain.md").read_text())
    assert len(blocks) == 7
    with fake_server(play_skills) as server:
        for _, file, text in blocks:
            if file:
                (tmp_path / file).write_text(text)
                continue
            for line in text.splitlines():
                run_line(line, tmp_path, server.url)
        requests = str(server.requests)
    assert "An answer counts if it begins right." in requests
    trajectories = read_records(tmp_path / "runs/stem/trajectories.jsonl", TRAJECTORY)
    assert len(trajectories) == 6
    assert (tmp_path / "runs/stem/report.html").stat().st_size > 10_000
