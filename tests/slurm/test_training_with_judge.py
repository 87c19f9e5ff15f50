"""Tests slurm/train.sh on a real Slurm: a training and its judge share a job, start together and end together.

The judge's servers stand in for vLLM. Where accelerate stands in as well, the training is a process that waits.
"""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from autodata.serving.leases import State, read_leases
from tests.helpers.training_world import make_arguments, make_dataset, make_qwen
from tests.slurm.cluster import Cluster, until
from tests.slurm.test_campaign import REPO, STAND_IN, find_servers, is_of
from tests.slurm.test_scripts import call, serve_stand_ins

pytestmark = pytest.mark.slurm

ACCELERATE = """
import os, pathlib, sys, time
wait = pathlib.Path(os.environ["STAND_IN_WAIT"])
call = " ".join([*sys.argv[1:], "at", str(os.environ.get("CUDA_VISIBLE_DEVICES"))])
wait.with_name(f"called-{os.getpid()}").write_text(call)
while wait.exists():
    time.sleep(0.1)
"""


class Training:
    """One call of slurm/train.sh."""

    def __init__(self, cluster: Cluster, folder: Path, *values: str, **environment: str):
        self.cluster, self.folder, self.run = cluster, folder, folder / "run"
        self.values = [value for value in values if "base_url" not in value]
        # Only the servers stand in for vLLM: a training imports the real one.
        self.environment = serve_stand_ins() | {"PYTHONPATH": str(REPO)} | environment
        self.job = self.submit()

    def submit(self) -> str:
        self.log = self.folder / f"log-{len(list(self.folder.glob('log-*')))}"
        words = ["--parsable", f"--output={self.log}", "tests/grpo.yaml", *self.values]
        return call(self.cluster, "bash", "slurm/train.sh", *words, **self.environment)

    def read_log(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def read_calls(self) -> list[str]:
        """Return how each process called the accelerate that stands in; the job's log may mix the lines of two."""
        return [file.read_text() for file in self.folder.glob("called-*")]

    def until(self, done, timeout: float = 90) -> None:
        until(done, timeout, lambda: f"{self.cluster.squeue()}\n{self.read_log()}\n{self.leases()}")

    def leases(self) -> list:
        return read_leases(self.run / "serving" / "leases")

    def is_served(self) -> bool:
        return bool(self.leases()) and all(lease.state == State.READY for lease in self.leases())

    def find(self, part: str) -> list[int]:
        """List the processes of the job whose command line has this part."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in find_servers(self.cluster)}
        return [pid for pid, line in lines.items() if part in line and "srun" not in line and is_of(self.job, pid)]

    def finish(self, state: str) -> None:
        assert self.cluster.wait(self.job, 480) == state, self.read_log()
        self.until(lambda: not find_servers(self.cluster), 30)
        assert not self.cluster.squeue()


def make_values(folder: Path, model: str = "none", **trainer: object) -> list[str]:
    values = make_arguments(model, folder / "data", "", folder / "run", **trainer)
    server = f"{{weights: none, ready_timeout_s: 60, env: {{PYTHONPATH: '{STAND_IN}:{REPO}'}}}}"
    return [*values, f"models.endpoints.judge.server={server}"]


def stand_in(folder: Path, waits: bool = True) -> dict[str, str]:
    """Return the environment in which accelerate stands in, and runs for as long as the file `wait` exists."""
    package = folder / "stand_in" / "accelerate" / "commands"
    package.mkdir(parents=True)
    for file in (package.parent / "__init__.py", package / "__init__.py"):
        file.touch()
    (package / "launch.py").write_text(ACCELERATE)
    if waits:
        (folder / "wait").touch()
    return {"PYTHONPATH": f"{package.parents[1]}:{REPO}", "STAND_IN_WAIT": str(folder / "wait")}


def start_both(cluster: Cluster, folder: Path) -> Training:
    """Start a training that waits, and wait until its judge is ready."""
    training = Training(cluster, folder, *make_values(folder), **stand_in(folder))
    training.until(lambda: training.is_served() and training.read_calls())
    return training


def test_each_node_has_its_rank_and_the_judge_what_is_left(cluster: Cluster, tmp_path):
    """Two nodes train on their only GPU, and the two replicas of the judge have nodes of their own."""
    accelerate = tmp_path / "two.yaml"
    accelerate.write_text("num_processes: 2\n")
    values = [
        *make_values(tmp_path, use_cpu=False),
        "models.endpoints.judge.server.replicas=2",
        "trainer.run_name=a b",
    ]
    environment = {"AUTODATA_ACCELERATE": str(accelerate)} | stand_in(tmp_path, waits=False)
    training = Training(cluster, tmp_path, *values, **environment)
    training.finish("COMPLETED")
    assert cluster.show(training.job)[0]["NumNodes"] == "4"
    lines = training.read_calls()
    assert sorted(re.search(r"--machine_rank (\d)", line)[1] for line in lines) == ["0", "1"]
    (line,) = {line.replace(re.search(r"--machine_rank \d ", line)[0], "") for line in lines}
    assert line.startswith(f"--config_file {accelerate} --num_processes 2 --num_machines 2 --main_process_ip ")
    assert f"--main_process_port {20000 + int(training.job)} training/grpo.py tests/grpo.yaml" in line
    assert " trainer.run_name=a b " in line
    assert " models.endpoints.judge.leases=" in line
    assert line.endswith(" at 0")


def test_a_judge_that_ends_ends_the_training(cluster: Cluster, tmp_path):
    training = start_both(cluster, tmp_path)
    os.kill(training.find("autodata.cluster.serve")[0], signal.SIGKILL)
    training.finish("FAILED")
    assert "error: the judge ended, so the training is stopped" in training.read_log()


def test_a_training_that_ends_ends_its_judge(cluster: Cluster, tmp_path):
    training = start_both(cluster, tmp_path)
    os.kill(training.find("accelerate.commands.launch")[0], signal.SIGKILL)
    training.finish("FAILED")
    assert {lease.state for lease in training.leases()} == {State.ENDED}, "the judge was told to end"


def test_cancelling_a_training_leaves_nothing(cluster: Cluster, tmp_path):
    training = start_both(cluster, tmp_path)
    cluster.cancel(training.job)
    training.finish("CANCELLED")


def test_a_training_is_requeued_before_its_time_is_over(cluster: Cluster, tmp_path):
    training = start_both(cluster, tmp_path)
    cluster.run("scancel", "--batch", "--signal=USR1", training.job)
    training.until(lambda: cluster.states(training.job) == ["PENDING"])
    training.until(lambda: not find_servers(cluster), 30)
    assert {lease.state for lease in training.leases()} == {State.ENDED}
    (tmp_path / "wait").unlink()
    time.sleep(5)  # the node reports the end of the first run; one that comes late would end the second
    cluster.run("scontrol", "update", f"jobid={training.job}", "starttime=now")  # Slurm lets it wait for two minutes
    training.finish("COMPLETED")
    assert cluster.show(training.job)[0]["Restarts"] == "1"


def test_a_training_goes_on_after_its_judge_was_killed(cluster: Cluster, tmp_path):
    """The leases of the killed judge stay behind as ready; the second job waits for servers that live."""
    model, _ = make_qwen(tmp_path / "qwen"), make_dataset(tmp_path / "data")
    training = Training(cluster, tmp_path, *make_values(tmp_path, model, max_steps=3))
    training.until(lambda: (training.run / "checkpoints" / "checkpoint-1").exists(), 300)
    os.kill(training.find("autodata.cluster.serve")[0], signal.SIGKILL)
    training.finish("FAILED")
    assert any(lease.state == State.READY for lease in training.leases())
    training.job = training.submit()
    training.finish("COMPLETED")
    manifest = read_manifest(training.run)
    assert (manifest["steps"], manifest["judged_over"]["sessions"]) == (3, 2)
    training.job = training.submit()
    training.finish("COMPLETED")
    assert "up to date" in training.read_log()
    assert "server" not in training.read_log(), "a finished training needs no judge"
