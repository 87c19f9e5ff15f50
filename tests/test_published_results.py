"""Tests RUNS.md: each result has a pack, or raw scores from which a command computes its numbers again."""

import re
import shlex
import sys

import pytest

from autodata.config import REPO
from autodata.eval.study.write import main
from autodata.replay.register import HEADER
from tests.helpers.commands import find_failure

ROWS = [line for line in (REPO / "RUNS.md").read_text().splitlines() if line.startswith("| ")][1:]
COMPUTED = [row for row in ROWS if "docs/packs/" not in row]
NUMBER = re.compile(r"[+-]?\d\.\d{3} \[[+-]?\d\.\d{3}, [+-]?\d\.\d{3}\]")


def test_every_row_has_every_column_and_its_evidence():
    assert len(ROWS) > len(COMPUTED) > 0
    for row in ROWS:
        assert row.count(" | ") == len(HEADER) - 1
        assert all((REPO / path).exists() for path in re.findall(r"\]\(([^)]+)\)", row))


@pytest.mark.slow  # seconds: resamples the scores of the whole study
@pytest.mark.parametrize("row", COMPUTED, ids=lambda row: row.split(":")[0][2:40])
def test_a_result_without_a_pack_comes_from_its_raw_scores(row, tmp_path, monkeypatch, capsys):
    folder, command = re.search(r"\[(docs/[^]]+)\]\(\1\): `([^`]+)`", row).groups()
    python, _, module, *words = shlex.split(command)
    assert (python, module) == ("python", "autodata.eval.study")
    monkeypatch.chdir(REPO)
    monkeypatch.setattr(sys, "argv", [module, *words, f"output={tmp_path}"])
    assert find_failure(main) == ""
    results = (tmp_path / "results.md").read_text()
    assert results == (REPO / folder / "results.md").read_text()
    numbers = NUMBER.findall(row)
    assert len(numbers) > 2
    assert [number for number in numbers if number not in results] == []
