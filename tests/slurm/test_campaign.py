"""Tests slurm/generate.sh on a real Slurm through the faults that servers on a cluster meet.

The servers stand in for vLLM. Each case ends with the examples of an undisturbed run, and with no job and no process
left.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autodata.serving.leases import Lease, State, read_leases
from tests.slurm.cluster import Cluster, until
from tests.test_generate import examples_of, write_documents

REPO = Path(__file__).parent.parent.parent
STAND_IN = REPO / "tests" / "slurm" / "stand_in"
# The nodes of the test cluster have one GPU, which several jobs' CPUs and memory must leave room beside.
SMALL_NODES = {
    "AUTODATA_GPUS_PER_NODE": "1",
    "AUTODATA_CPUS_PER_GPU": "2",
    "AUTODATA_MEMORY_GB_PER_GPU": "4",
    "AUTODATA_WHOLE_NODES": "0",
}
pytestmark = pytest.mark.slurm


class Campaign:
    """One run of slurm/generate.sh as a job."""

    def __init__(self, cluster: Cluster, folder: Path, *arguments: str, array: str = "", **environment: str):
        self.cluster, self.run = cluster, folder / "run"
        self.environment = {
            **SMALL_NODES,
            "AUTODATA_ADDRESS": "127.0.0.1",
            "AUTODATA_STALE_S": "12",
            "AUTODATA_PYTHON": str(REPO / ".venv/bin/python"),
            "PYTHONPATH": f"{STAND_IN}:{REPO}",
            "AUTODATA_OWNER_PATIENCE_S": "40",
            "AUTODATA_DRAIN_S": "20",
        } | environment
        self.documents = write_documents(folder / "docs", 8)
        self.arguments = (
            "recipes/demo/generate.yaml",
            "tests/slurm/two_endpoints.yaml",
            f"run={self.run}",
            f"documents.path={self.documents}",
            "domain.max_rounds=4",
            "documents_in_flight=4",
            *arguments,
        )
        self.log = folder / "client.log"
        self.job = self.submit("slurm/generate.sh", *self.arguments, array=array)

    def submit(self, script: str, *arguments: str, array: str = "") -> str:
        options = [f"--array={array}"] if array else []
        command = [
            "sbatch",
            "--parsable",
            f"--output={self.log}",
            "--cpus-per-task=1",
            "--mem=2G",
            *options,
            str(REPO / script),
            *arguments,
        ]
        done = subprocess.run(
            command, env=self.cluster.env | self.environment, cwd=REPO, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def explain(self) -> str:
        logs = "\n".join(f"{p.name}:\n{p.read_text()[-1500:]}" for p in sorted(self.run.glob("serving/*.log")))
        client = self.log.read_text()[-3000:] if self.log.exists() else ""
        return f"{self.cluster.squeue()}\n{client}\n{logs}\n{read_leases(self.run / 'serving/leases')}"

    def until(self, done: Callable[[], object], timeout: float = 90) -> None:
        until(done, timeout, self.explain)

    def leases(self, endpoint: str) -> list[Lease]:
        return [lease for lease in read_leases(self.run / "serving" / "leases") if lease.endpoint == endpoint]

    def ready(self, endpoint: str) -> list[Lease]:
        return [lease for lease in self.leases(endpoint) if lease.state == State.READY]

    def until_working(self) -> None:
        """Wait until some calls are in the journal and more are to come."""
        self.until(lambda: self.log.exists() and self.ready("weak") and (self.run / "journal.sqlite").exists())
        time.sleep(2)

    def finish(self, timeout: float = 120) -> list[bytes]:
        """Wait for the job, check that nothing is left behind, and return the examples."""
        state = self.cluster.wait(self.job, timeout)
        assert state == "COMPLETED", self.explain()
        self.until(lambda: not self.cluster.squeue(), 30)
        self.until(lambda: not find_servers(self.cluster), 30)
        return examples_of(self.run)


def find_servers(cluster: Cluster) -> list[int]:
    """List the living processes of campaigns and of their jobs."""
    return [pid for pid in cluster.processes() if "SLURM_JOB_NAME=autodata-" in read_environment(pid)]


def read_environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""  # it has ended


def is_of(job: str, pid: int) -> bool:
    return f"SLURM_JOB_ID={job}\0" in read_environment(pid)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory) -> list[bytes]:
    campaign = Campaign(cluster, tmp_path_factory.mktemp("undisturbed"))
    examples = campaign.finish()
    assert len(examples) >= 3
    return examples


def test_an_undisturbed_run(undisturbed):
    assert undisturbed


def test_a_replica_is_killed(cluster: Cluster, undisturbed, tmp_path):
    campaign = Campaign(cluster, tmp_path, STAND_IN_DELAY_S="0.3")
    campaign.until_working()
    port = re.search(r":(\d+)/v1", campaign.ready("weak")[0].url)[1]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in find_servers(cluster)}
    (server,) = [pid for pid, line in lines.items() if f"--port\0{port}" in line and "api_server" in line]
    os.kill(server, signal.SIGKILL)
    assert campaign.finish() == undisturbed


def test_a_node_goes_down(cluster: Cluster, undisturbed, tmp_path):
    campaign = Campaign(cluster, tmp_path, STAND_IN_DELAY_S="0.3")
    campaign.until_working()
    client, *servers = (
        cluster.show(id)[0]["NodeList"] for id in [campaign.job, *(w.job for w in campaign.ready("weak"))]
    )
    node = next(server for server in servers if server != client)
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    assert campaign.finish() == undisturbed
    cluster.until_idle()


def test_the_client_is_requeued_before_its_time_is_over(cluster: Cluster, undisturbed, tmp_path):
    campaign = Campaign(cluster, tmp_path, STAND_IN_DELAY_S="0.3")
    campaign.until_working()
    servers = {lease.job for lease in campaign.ready("weak")}
    cluster.run("scancel", "--batch", "--signal=USR1", campaign.job)
    campaign.until(lambda: cluster.states(campaign.job) == ["PENDING"])
    campaign.until(lambda: not [pid for pid in find_servers(cluster) if is_of(campaign.job, pid)])
    time.sleep(5)  # the node reports the end of the first run; one that comes late would end the second
    cluster.run("scontrol", "update", f"jobid={campaign.job}", "starttime=now")  # Slurm lets it wait for two minutes
    assert campaign.finish() == undisturbed
    assert cluster.show(campaign.job)[0]["Restarts"] == "1"
    started = re.findall(r"server job (\d+)", campaign.log.read_text())
    assert len(started) == 3, "the servers of the first run were found again"
    assert servers <= set(started)


def test_a_successor_takes_over_before_the_time_is_over(cluster: Cluster, undisturbed, tmp_path):
    campaign = Campaign(
        cluster,
        tmp_path,
        "models.endpoints.weak.server.ready_timeout_s=10",
        STAND_IN_DELAY_S="2",
        AUTODATA_SERVER_TIME="00:04:00",
    )
    campaign.until(lambda: campaign.ready("weak"))
    old = campaign.ready("weak")[0].job
    cluster.run("scontrol", "update", f"jobid={old}", "timelimit=2")
    assert campaign.finish(240) == undisturbed
    assert len(re.findall(r"server job \d+: 1 × weak", campaign.log.read_text())) == 3
    assert cluster.states(old) == ["COMPLETED"]  # drained before its time limit


def test_an_array_of_shards_is_the_run_when_it_is_merged(cluster: Cluster, undisturbed, tmp_path):
    """One shard is killed and submitted again by itself."""
    campaign = Campaign(cluster, tmp_path, "documents.shard=%a/2", array="1-2", STAND_IN_DELAY_S="0.3")
    campaign.until(lambda: (campaign.run / "shards/2_of_2/journal.sqlite").exists())
    time.sleep(2)
    cluster.cancel("--signal=KILL", "--full", f"{campaign.job}_2")
    assert cluster.wait(f"{campaign.job}_2", 60) in ("FAILED", "CANCELLED")
    again = campaign.submit("slurm/generate.sh", *campaign.arguments, array="2")
    assert (cluster.wait(f"{campaign.job}_1", 120), cluster.wait(again, 120)) == ("COMPLETED", "COMPLETED")
    campaign.job = campaign.submit("slurm/run.sh", "autodata.merge", *campaign.arguments[:-1])
    assert campaign.finish() == undisturbed


def test_cancelling_leaves_nothing(cluster: Cluster, tmp_path):
    campaign = Campaign(cluster, tmp_path, STAND_IN_DELAY_S="0.3")
    other = cluster.submit("sleep 300", "--mem=100M")
    campaign.until_working()
    cluster.cancel(campaign.job)
    assert cluster.wait(campaign.job, 60) == "CANCELLED"
    campaign.until(lambda: not find_servers(cluster), 40)
    campaign.until(lambda: len(cluster.squeue().splitlines()) == 1, 40)
    assert cluster.states(other) == ["RUNNING"]  # nobody else's job was touched
    cluster.cancel(other)


def test_a_server_job_that_was_killed_leaves_a_stale_lease(cluster: Cluster, undisturbed, tmp_path):
    campaign = Campaign(cluster, tmp_path, STAND_IN_DELAY_S="0.3")
    campaign.until_working()
    job = campaign.ready("weak")[0].job
    servers = [pid for pid in find_servers(cluster) if is_of(job, pid)]
    (server,) = [pid for pid in servers if "autodata.cluster.serve" in Path(f"/proc/{pid}/cmdline").read_text()]
    os.kill(server, signal.SIGKILL)
    assert campaign.finish() == undisturbed
    assert any(lease.job == job for lease in campaign.ready("weak"))  # nobody was left to say that it ended


def test_a_probe_that_fails_is_an_error_with_its_reason(cluster: Cluster, tmp_path):
    campaign = Campaign(cluster, tmp_path, "models.endpoints.weak.server.ready_timeout_s=10", STAND_IN_CANARY="noise")
    campaign.until(
        lambda: any("expected 'Paris'" in lease.detail for lease in read_leases(campaign.run / "serving/leases"))
    )
    assert not campaign.ready("weak")
    cluster.cancel(campaign.job)
    campaign.until(lambda: not cluster.squeue(), 60)
