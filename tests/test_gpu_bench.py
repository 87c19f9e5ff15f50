"""Tests bench/gpu.sh on a CPU with small models, and the page of its numbers."""

import json
import os
import subprocess

import pytest
import yaml

from bench.gpu.page import PARTS, NoGpu, read_records, store, write_page
from tests.helpers.training_world import REPO

RECORD = {"hardware": "NVIDIA H200, 151 GB", "driver": "595.1", "versions": {"torch": "2.13.0", "vllm": "0.31.0"},
          "commit": "abc", "date": "2026-12-01", "command": "bench/gpu.sh grpo",
          "numbers": {"steps": 32, "learns": "yes"}}  # fmt: skip


def test_the_page_is_made_from_its_numbers():
    stored = json.loads((REPO / "docs" / "gpu.json").read_text())
    assert (REPO / "docs" / "gpu.md").read_text() == write_page(stored)


def test_a_number_without_a_measurement_is_a_dash_beside_its_command():
    page = write_page({})
    total = sum(len(part["numbers"]) for part in PARTS.values())
    assert page.count("| – |") == total
    assert f"**{total} of {total} numbers" in page
    assert all(f"command `bench/gpu.sh {part}`" in page for part in PARTS)


def test_a_measured_number_stands_with_hardware_versions_command_and_date():
    page = write_page({"grpo": RECORD})
    assert "| steps | 32 |\n" in page and "| learns | yes |\n" in page
    section = page.partition("## GRPO")[2].partition("## ")[0]
    for text in (
        "NVIDIA H200, 151 GB",
        "driver 595.1",
        "torch 2.13.0, vllm 0.31.0",
        "2026-12-01",
        "bench/gpu.sh grpo",
    ):
        assert text in section
    assert "| mean reward in the last quarter | – |" in section  # this record lacks it


def test_numbers_of_a_cpu_do_not_get_into_the_page():
    with pytest.raises(NoGpu, match="lora ran on CPU"):
        store({"lora": RECORD | {"hardware": "CPU", "driver": None}})


def test_an_unknown_part_is_refused():
    done = subprocess.run(["bash", "bench/gpu.sh", "training"], cwd=REPO, text=True, capture_output=True)
    assert done.returncode == 2
    assert "unknown part training; choose from generate grpo lora memory evaluate" in done.stderr


def test_the_script_has_the_parts_of_the_page():
    script = (REPO / "bench" / "gpu.sh").read_text()
    assert f"all=({' '.join(yaml.safe_load((REPO / 'bench' / 'gpu' / 'numbers.yaml').read_text()))})" in script


@pytest.mark.slow
@pytest.mark.vllm
def test_the_script_measures_every_number_of_the_page_on_a_cpu():
    runs = REPO / "runs" / "gpu-small"
    command = ["bash", "bench/gpu.sh", "generate", "lora", "memory"]
    done = subprocess.run(command, cwd=REPO, text=True, capture_output=True, env={**os.environ, "SIZE": "small"})
    records = read_records(runs)
    for part in command[2:]:
        assert f"{part}: done" in done.stdout, (runs / f"{part}.log").read_text()[-4000:]
        assert list(records[part]["numbers"]) and set(records[part]["numbers"]) == set(PARTS[part]["numbers"])
    assert records["lora"]["numbers"]["moved_share"] > 0.9
    assert records["generate"]["numbers"]["calls_per_s"] > 0
