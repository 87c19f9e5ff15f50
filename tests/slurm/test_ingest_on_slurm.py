"""Tests the ingest command as job arrays of a real Slurm."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from tests.slurm.cluster import Cluster, until
from tests.test_ingest_restart import REPO, command, outputs, undisturbed, write_shards

__all__ = ["undisturbed"]  # a fixture
pytestmark = pytest.mark.slurm
ON_SLURM = ("executor=slurm", "slurm.memory_gb=1")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Write three shards: enough for arrays, and few because every task imports for seconds."""
    folder = tmp_path_factory.mktemp("corpus")
    write_shards(folder, 3, 60)
    return folder


def test_the_same_bytes_as_on_one_machine(cluster: Cluster, corpus, undisturbed, tmp_path):
    done = subprocess.run(
        command(corpus, tmp_path / "run", *ON_SLURM), cwd=REPO, env=cluster.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + cluster.squeue()
    assert outputs(tmp_path / "run") == outputs(undisturbed)
    assert not cluster.squeue()


def test_a_command_that_was_killed_waits_for_the_job_it_left(cluster: Cluster, corpus, undisturbed, tmp_path):
    run = tmp_path / "run"
    first = subprocess.Popen(command(corpus, run, *ON_SLURM), cwd=REPO, env=cluster.env)
    until((run / "work" / "logs" / "read" / "job").exists, 60, cluster.squeue)
    first.send_signal(signal.SIGKILL)
    first.wait()
    job = (run / "work" / "logs" / "read" / "job").read_text()
    subprocess.run(command(corpus, run, *ON_SLURM), cwd=REPO, env=cluster.env, check=True)
    assert outputs(run) == outputs(undisturbed)
    assert cluster.states(job)  # the array of the first command, no second one
    names = cluster.run("squeue", "--noheader", "--states=all", "--array", "--format=%F %j").splitlines()
    reads = {int(number) for number, name in map(str.split, names) if name == "ingest-read"}
    assert max(reads) == int(job)


def wait_for_papers(run: Path, cluster: Cluster) -> str:
    """Wait until the first stage is submitted, and return its job."""
    pattern = "work/kept/papers-*/logs/papers/job"
    until(lambda: list(run.glob(pattern)), 60, cluster.squeue)
    return next(run.glob(pattern)).read_text()


def test_a_job_that_is_cancelled_is_an_error_with_its_number(cluster: Cluster, tmp_path):
    write_shards(tmp_path, 2, 10)
    run = tmp_path / "run"
    arguments = (*ON_SLURM, "slurm.options={begin: now+1hour}")
    started = subprocess.Popen(
        command(tmp_path, run, *arguments), cwd=REPO, env=cluster.env, stderr=subprocess.PIPE, text=True
    )
    job = wait_for_papers(run, cluster)
    cluster.cancel(job)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 1
    assert f"Slurm job {job} ended with 1 of 1 tasks unfinished" in errors
    assert not read_manifest(run)["finished"]


def test_stopping_the_command_cancels_its_job(cluster: Cluster, tmp_path):
    write_shards(tmp_path, 2, 10)
    run = tmp_path / "run"
    started = subprocess.Popen(
        command(tmp_path, run, *ON_SLURM, "slurm.options={begin: now+1hour}"),
        cwd=REPO,
        env=cluster.env,
        stderr=subprocess.DEVNULL,
    )
    wait_for_papers(run, cluster)
    assert cluster.squeue()
    time.sleep(0.5)  # it waits for the job by now
    os.kill(started.pid, signal.SIGINT)
    started.wait(30)
    until(lambda: not cluster.squeue(), 30, cluster.squeue)
