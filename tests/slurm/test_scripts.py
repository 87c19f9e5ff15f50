"""Tests the other scripts of slurm/ on a real Slurm."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from autodata.cluster import jobs
from autodata.run.folder import read_manifest
from autodata.run.records import hash_path
from tests.helpers.make_samples import SAMPLES
from tests.helpers.training_world import make_dataset
from tests.slurm.cluster import Cluster, until
from tests.slurm.test_campaign import REPO, SMALL_NODES, find_servers

pytestmark = pytest.mark.slurm


def call(cluster: Cluster, *command: str, **environment: str) -> str:
    """Run a command in the repository, as a user of the cluster does."""
    venv = {"AUTODATA_PYTHON": str(REPO / ".venv/bin/python")}
    done = subprocess.run(command, cwd=REPO, env=cluster.env | venv | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def submit(cluster: Cluster, log: Path, *arguments: str, **environment: str) -> str:
    return call(cluster, "sbatch", "--parsable", f"--output={log}", "--mem=2G", *arguments, **environment)


def test_an_ingest_as_a_job_that_submits_its_arrays(cluster: Cluster, tmp_path):
    job = submit(
        cluster,
        tmp_path / "log",
        "slurm/ingest.sh",
        "recipes/ingest/ingest_pile_of_law.yaml",
        f"path={SAMPLES / 'pile_of_law'}",
        f"run={tmp_path / 'run'}",
        "keep_rows=null",
        "slurm.memory_gb=1",
    )
    assert cluster.wait(job, 120) == "COMPLETED", (tmp_path / "log").read_text()
    assert read_manifest(tmp_path / "run")["kept"] == 2


def serve_stand_ins() -> dict[str, str]:
    """Return the environment of a campaign whose servers stand in for vLLM."""
    return {
        "AUTODATA_PYTHON": str(REPO / ".venv/bin/python"),
        "AUTODATA_ADDRESS": "127.0.0.1",
        **SMALL_NODES,
        "PYTHONPATH": f"{REPO / 'tests/slurm/stand_in'}:{REPO}",
    }


def test_an_evaluation_serves_a_checkpoint_and_gives_its_servers_back(cluster: Cluster, tmp_path):
    checkpoint, run = tmp_path / "model", tmp_path / "run"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    job = submit(
        cluster,
        tmp_path / "log",
        "slurm/eval.sh",
        "recipes/cs/eval_base.yaml",
        "tests/slurm/two_endpoints.yaml",
        f"run={run}",
        f"dataset={make_dataset(tmp_path / 'data')}",
        f"evaluated={{weights: {checkpoint}, endpoint: small}}",
        "label=model",
        "models.judge.endpoint=small",
        **serve_stand_ins(),
    )
    assert cluster.wait(job, 120) == "COMPLETED", (tmp_path / "log").read_text()
    results = json.loads((run / "results.json").read_text())
    assert {task: result["k"] for task, result in results.items()} == {"cot_test": 3, "agentic_test": 3}
    assert all(result["unscored"] == 0 for result in results.values())
    evaluated = read_manifest(run)["evaluated"]
    assert (evaluated["weights"], evaluated["revision"]) == (str(checkpoint), hash_path(checkpoint))
    until(lambda: not cluster.squeue(), 60, cluster.squeue)


def test_two_evaluations_share_the_server_of_their_judge(cluster: Cluster, tmp_path):
    dataset, words = make_dataset(tmp_path / "data"), []
    for name in ("first", "second"):
        checkpoint = tmp_path / name / "model"
        checkpoint.mkdir(parents=True)
        (checkpoint / "model.safetensors").write_text(name)
        words += ["--and", "recipes/cs/eval_base.yaml", "tests/slurm/two_endpoints.yaml"]
        words += [f"run={tmp_path / name / 'run'}", f"dataset={dataset}", "label=model", "models.judge.endpoint=small"]
        words.append(f"evaluated={{weights: {checkpoint}, endpoint: small}}")
    job = call(
        cluster,
        *("bash", "slurm/eval.sh", "--parsable", f"--output={tmp_path / 'log'}"),
        *words[1:],
        **serve_stand_ins(),
    )
    assert cluster.wait(job, 180) == "COMPLETED", (tmp_path / "log").read_text()
    started = re.findall(r"submitted server job \d+: 1 × (\w+)", (tmp_path / "log").read_text())
    assert sorted(started) == ["evaluated", "evaluated", "small"]
    for name in ("first", "second"):
        results = json.loads((tmp_path / name / "run" / "results.json").read_text())
        assert {task: result["unscored"] for task, result in results.items()} == {"cot_test": 0, "agentic_test": 0}
        assert read_manifest(tmp_path / name / "run")["evaluated"]["weights"] == str(tmp_path / name / "model")
    until(lambda: not cluster.squeue(), 60, cluster.squeue)


def test_graders_of_prbench_have_servers_of_their_own(cluster: Cluster, tmp_path):
    """The servers of both graders and of the evaluated model are jobs, which end with the evaluation."""
    run, log = tmp_path / "run", tmp_path / "log"
    job = call(
        cluster,
        *("bash", "slurm/eval.sh", "--parsable", f"--output={log}"),
        *("recipes/scale/small/prbench_base.yaml", "tests/slurm/graders.yaml", f"run={run}", "prbench.limit=2"),
        **serve_stand_ins(),
    )
    assert cluster.wait(job, 180) == "COMPLETED", log.read_text()
    started = re.findall(r"submitted server job (\d+): 1 × (\w+)", log.read_text())
    assert sorted(endpoint for _, endpoint in started) == ["first", "second", "small"]
    graders = json.loads((run / "prbench.json").read_text())["prbench_legal"]["graders"]
    assert {name: (result["scored"], result["unresolved"]) for name, result in graders.items()} == {
        "first": (2, 0),
        "second": (2, 0),
    }
    assert graders["first"]["met_by_category"] != graders["second"]["met_by_category"], "each asked its own server"
    until(lambda: not cluster.squeue(), 60, cluster.squeue)
    assert not find_servers(cluster)


def test_one_job_with_a_gpu_starts_the_servers_that_share_it(cluster: Cluster, tmp_path):
    """The packages here are built for the CPU, so the log of a job with a GPU begins with a warning."""
    servers = [f"models.endpoints.{name}" for name in ("weak", "small")]
    job = submit(
        cluster,
        tmp_path / "log",
        "--gpus-per-node=1",
        "slurm/run.sh",
        "autodata.generate",
        "recipes/demo/generate.yaml",
        "tests/slurm/two_endpoints.yaml",
        f"run={tmp_path / 'run'}",
        "documents.limit=2",
        *(
            f"{server}.server.{key}"
            for server in servers
            for key in ("shares_gpus=true", "on_cpu=false", "weights=embedded")
        ),
        *(f"{server}.api_key_env=VLLM_API_KEY" for server in servers),
        **serve_stand_ins() | {"VLLM_API_KEY": "key"},
    )
    assert cluster.wait(job, 120) == "COMPLETED", (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert log.startswith("warning: this job has GPUs, but torch"), log
    assert len(re.findall(r"^starting \w+ on http", log, re.MULTILINE)) == 2
    ledger = read_manifest(tmp_path / "run")["ledger"]
    assert all(cost["gpu_seconds"] > 0 for cost in ledger.values() if cost["calls"])
    assert sum(cost["gpu_seconds"] for cost in ledger.values()) <= read_manifest(tmp_path / "run")["elapsed_s"]


def test_a_search_for_prompts_with_its_servers(cluster: Cluster, tmp_path):
    job = submit(
        cluster,
        tmp_path / "log",
        "slurm/meta.sh",
        "recipes/meta/skills.yaml",
        "tests/slurm/two_endpoints.yaml",
        f"run={tmp_path / 'run'}",
        "mutation=none",
        "iterations=2",
        "splits={training: 2, validation: 3, test: 2}",
        "domain.max_rounds=1",
        **serve_stand_ins(),
    )
    assert cluster.wait(job, 120) == "COMPLETED", (tmp_path / "log").read_text()
    assert json.loads((tmp_path / "run" / "results.json").read_text())["iterations"] == 2
    until(lambda: not cluster.squeue(), 60, cluster.squeue)


def test_a_cancelled_job_whose_processes_still_run_is_waited_for(cluster: Cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    job = cluster.submit("trap '' TERM; while true; do sleep 0.1; done", "--job-name=ending", "--mem=100M")
    cluster.wait_for(job, "RUNNING")
    assert jobs.find_ending() == []
    cluster.cancel(job)
    until(lambda: [(j.name, j.id) for j in jobs.find_ending()] == [("ending", job)], 10, cluster.squeue)
    assert jobs.find(["ending"]) == []
    after = cluster.submit("true", f"--dependency=afterany:{job}", "--mem=100M")
    assert cluster.states(after) == ["PENDING"]
    assert cluster.wait(after) == "COMPLETED"
    assert cluster.states(job) == ["CANCELLED"]


def test_the_nodes_that_have_enough_gpus_are_counted(cluster: Cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    assert [jobs.count_nodes(1, ""), jobs.count_nodes(1, "main"), jobs.count_nodes(2, "")] == [6, 6, 0]
    cluster.run("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
    assert jobs.count_nodes(1, "") == 5
    cluster.run("scontrol", "update", "nodename=n1", "state=resume")
    cluster.until_idle()


def test_the_site_decides_partition_and_account(cluster: Cluster, tmp_path):
    printed = call(cluster, "bash", "-c", "export SBATCH_ACCOUNT= SBATCH_PARTITION=main; . slurm/common.sh; env")
    assert "SBATCH_PARTITION=main" in printed
    assert "SBATCH_ACCOUNT=" not in printed
