"""Tests how slurm/site.env is read, and that the caller's environment wins over it, in scripts and in their jobs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from autodata.cluster.resources import read_options
from autodata.doctor.environment import read_site
from autodata.types import WrongCall

REPO = Path(__file__).parent.parent
SHOWN = ("AUTODATA_NODES", "AUTODATA_GPUS_PER_NODE", "AUTODATA_TRAIN_OPTIONS", "AUTODATA_ADDRESS", "SBATCH_PARTITION")


@pytest.fixture
def slurm_folder(tmp_path: Path) -> Path:
    """Makes a checkout whose site file is the example, as a user copies it, with a few lines more."""
    shutil.copytree(REPO / "slurm", tmp_path / "slurm", ignore=shutil.ignore_patterns("site.env"))
    example = (tmp_path / "slurm/site.env.example").read_text()
    more = 'export AUTODATA_TRAIN_OPTIONS="--qos=site"\nexport AUTODATA_ADDRESS=$NODE\n'
    (tmp_path / "slurm/site.env").write_text(example + more)
    return tmp_path


def show(folder: Path, inside_job: str = "", **environment: str) -> list[str]:
    """Show the variables that a script sees, or that one of its job sees, which runs on another node."""
    shown = "; ".join(f'echo "${{{name}-unset}}"' for name in SHOWN)
    job = f"set -euo pipefail; source slurm/common.sh; {shown}"
    command = f"set -euo pipefail; source slurm/common.sh; {inside_job} bash -c '{job}'" if inside_job else job
    environment = {"PATH": "/usr/bin:/bin", "NODE": "login", **environment}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_the_site_file_holds_where_the_caller_says_nothing(slurm_folder):
    assert show(slurm_folder) == ["", "8", "--qos=site", "login", "unset"]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"AUTODATA_NODES": "8"}, ["8", "8", "--qos=site", "login", "unset"]),
        ({"AUTODATA_GPUS_PER_NODE": "4"}, ["", "4", "--qos=site", "login", "unset"]),
        ({"AUTODATA_TRAIN_OPTIONS": ""}, ["", "8", "", "login", "unset"]),
        ({"AUTODATA_TRAIN_OPTIONS": "--a='$(b) \"c\"' --d"}, ["", "8", "--a='$(b) \"c\"' --d", "login", "unset"]),
        ({"SBATCH_PARTITION": "short"}, ["", "8", "--qos=site", "login", "short"]),
    ],
)
def test_what_the_caller_sets_wins_over_the_site_file(slurm_folder, given, seen):
    assert show(slurm_folder, **given) == seen
    assert show(slurm_folder, "NODE=login", **given) == seen  # in the job as well


def test_what_the_caller_does_not_set_is_computed_anew_on_the_node_of_a_job(slurm_folder):
    assert show(slurm_folder, "NODE=n7", AUTODATA_NODES="8") == ["8", "8", "--qos=site", "n7", "unset"]
    assert show(slurm_folder, "NODE=n7", AUTODATA_ADDRESS="10.0.0.1")[3] == "10.0.0.1"


def test_a_site_file_is_read_as_the_shell_reads_it_or_its_line_is_named(tmp_path):
    file = tmp_path / "site.env"
    file.write_text('export AUTODATA_TRAIN_OPTIONS="--qos=a \\\n  --exclusive"\nexport AUTODATA_NODES=3 # so many\n')
    site = read_site(file)
    assert read_options(site, "train") == ("--qos=a", "--exclusive")
    assert site["AUTODATA_NODES"] == "3"
    file.write_text('export AUTODATA_TRAIN_OPTIONS="--qos=a\n')
    with pytest.raises(
        WrongCall, match=r"site.env: export AUTODATA_TRAIN_OPTIONS=.*: No closing quotation; close the"
    ):
        read_site(file)
    with pytest.raises(WrongCall, match="AUTODATA_TRAIN_OPTIONS=--a='b: No closing quotation; correct it in slurm"):
        read_options({"AUTODATA_TRAIN_OPTIONS": "--a='b"}, "train")
