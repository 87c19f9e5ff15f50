"""Tests the tutorial that makes a domain: its blocks are run in their order, in an empty folder of a user."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from autodata.run.records import read_records
from autodata.types import TRAJECTORY
from tests.helpers.scripted_endpoint import serve_scripted

REPO = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+)|( background))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run_line(line: str, folder: Path, url: str) -> str:
    """Run a line of the tutorial as its reader would; only the port of the scripted server is another one."""
    if "scripted.yaml" in line:
        line += f" models.endpoints.scripted.base_url={url}"
    line = re.sub(r"^python ", f"{sys.executable} ", line)
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPO)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}"
    return done.stdout


@pytest.fixture
def url():
    with serve_scripted() as address:
        yield address


@pytest.mark.slow
def test_every_block_of_the_tutorial_works(tmp_path, url):
    (tmp_path / "recipes").symlink_to(REPO / "recipes")
    blocks = BLOCK.findall((REPO / "docs" / "add-a-domain.md").read_text())
    assert len(blocks) == 8
    printed = ""
    for _, file, is_server, text in blocks:
        if file:
            (tmp_path / file).write_text(text)
        elif is_server:
            assert text == "python -m autodata scripted\n"
        else:
            printed += "".join(run_line(line, tmp_path, url) for line in text.splitlines())
    assert "Your material is one RFC." in printed
    assert "MADE UP" in printed
    trajectories = read_records(tmp_path / "runs/try/trajectories.jsonl", TRAJECTORY)
    assert len(trajectories) == 2
    inputs = read_manifest(tmp_path / "runs/try")["inputs"]
    assert (inputs["domain.name"], inputs["domain.max_rounds"]) == ("rfc", 6)
    assert inputs["domain.source_words"][0] == "RFC"
    assert "made up" in (tmp_path / "runs/try/report.html").read_text()
