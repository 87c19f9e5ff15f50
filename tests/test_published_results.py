"""Tests RUNS.md: each result has a pack, or raw scores from which a command computes its numbers again."""

import csv
import json
import re
import shlex
import sys
import zipfile

import pytest

from autodata.config import REPO
from autodata.eval.study.write import main
from autodata.replay.register import HEADER
from autodata.run.folder import MANIFEST
from autodata.serving.costs import LEDGER, add
from tests.helpers.commands import find_failure

ROWS = [line for line in (REPO / "RUNS.md").read_text().splitlines() if line.startswith("| ")][1:]
COMPUTED = [row for row in ROWS if "docs/packs/" not in row]
NUMBER = re.compile(r"[+-]?\d\.\d{3} \[[+-]?\d\.\d{3}, [+-]?\d\.\d{3}\]")


def test_every_row_has_every_column_and_its_evidence():
    assert len(ROWS) > len(COMPUTED) > 0
    for row in ROWS:
        assert row.count(" | ") == len(HEADER) - 1
        assert all((REPO / path).exists() for path in re.findall(r"\]\(([^)]+)\)", row))


@pytest.mark.parametrize("row", [row for row in ROWS if row not in COMPUTED], ids=lambda row: row[2:40])
def test_a_row_names_the_commit_and_the_tokens_of_its_pack(row):
    """Its scores are those that a replay gives, which is compared with the pack."""
    cells = dict(zip(HEADER, row.strip("| ").split(" | "), strict=True))
    with zipfile.ZipFile(REPO / re.search(r"\]\((docs/packs/[^)]+)\)", row)[1]) as pack:
        manifests = [json.loads(pack.read(name)) for name in pack.namelist() if name.endswith(MANIFEST)]
        commit = json.loads(pack.read("pack.json"))["git_commit"]
    ledger = add(LEDGER.validate_python(manifest.get("ledger") or {}) for manifest in manifests)
    assert cells["commit"] == commit[:12], "the commit of a changed checkout says nothing"
    assert cells["tokens"] == f"{sum(cost.tokens for cost in ledger.values()):,}"


@pytest.mark.parametrize(("folder", "own"), [("docs/study", {}), ("docs/study/refreshed", {"refreshed": "agentic"})])
def test_tokens_for_the_data_are_those_of_the_studys_costs(folder, own):
    """Of an arm that goes on from another one, RUNS.md counts both, and says how many it spent itself."""
    with (REPO / folder / "costs.csv").open() as file:
        tokens = {(line["seed"], line["arm"]): int(line["tokens"]) for line in csv.DictReader(file)}
    row = next(row for row in COMPUTED if f"({folder})" in row)
    counted = {key: count for key, count in tokens.items() if not own or key[1] in own}
    assert f"| {sum(counted.values()):,} for the data" in row
    for (seed, arm), count in counted.items():
        assert arm not in own or f"{count - tokens[seed, own[arm]]:,} of them in these runs" in row


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
