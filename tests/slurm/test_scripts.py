"""Tests the other scripts of slurm/ on a real Slurm."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from autodata.run.folder import read_manifest
from autodata.run.records import hash_path
from autodata.serving.leases import read_leases
from tests.helpers.make_samples import SAMPLES
from tests.helpers.training_world import make_arguments, make_dataset, make_qwen
from tests.slurm.cluster import Cluster, until
from tests.slurm.test_campaign import REPO

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
        "slurm.memory_gb=1",
    )
    assert cluster.wait(job, 120) == "COMPLETED", (tmp_path / "log").read_text()
    assert read_manifest(tmp_path / "run")["kept"] == 2


def test_every_node_of_a_training_knows_its_rank(cluster: Cluster, tmp_path):
    stand_in = tmp_path / "python"  # prints how it was called
    stand_in.write_text('#!/bin/sh\necho "called: $@"\n')
    stand_in.chmod(0o755)
    log = tmp_path / "log"
    job = submit(
        cluster,
        log,
        "--nodes=3",
        "--gpus-per-node=1",
        "slurm/train.sh",
        "recipes/cs/grpo.yaml",
        "run=a b",
        AUTODATA_PYTHON=str(stand_in),
        AUTODATA_ACCELERATE="recipes/accelerate/x.yaml",
    )
    assert cluster.wait(job) == "COMPLETED", log.read_text()
    lines = re.findall(r"called: (.*)", log.read_text())
    assert sorted(re.search(r"--machine_rank (\d)", line)[1] for line in lines) == ["0", "1", "2"]
    assert {line.replace(re.search(r"--machine_rank \d ", line)[0], "") for line in lines} == {
        "-m accelerate.commands.launch --config_file recipes/accelerate/x.yaml --num_processes 3 --num_machines 3 "
        f"--main_process_ip n1 --main_process_port {20000 + int(job)} training/grpo.py recipes/cs/grpo.yaml run=a b"
    }


def test_a_training_with_its_judge(cluster: Cluster, tmp_path):
    """The judge's servers stand in for vLLM; they end when the training is finished."""
    model, dataset, log = make_qwen(tmp_path / "qwen"), make_dataset(tmp_path / "data"), tmp_path / "log"
    values = [v for v in make_arguments(model, dataset, "", tmp_path / "run", max_steps=1) if "base_url" not in v]
    values += ["models.endpoints.judge.server.weights=none"]
    environment = serve_stand_ins()
    judge = submit(cluster, tmp_path / "judge.log", "slurm/judge.sh", "tests/grpo.yaml", *values, **environment)
    until(lambda: read_leases(tmp_path / "run" / "serving" / "leases"), 60, cluster.squeue)
    job = submit(
        cluster,
        log,
        "--gpus-per-node=0",
        "slurm/train.sh",
        "tests/grpo.yaml",
        *values,
        AUTODATA_ACCELERATE="recipes/accelerate/cpu.yaml",
    )
    assert cluster.wait(job, 180) == "COMPLETED", log.read_text()
    assert read_manifest(tmp_path / "run")["judgements"] > 0
    assert cluster.wait(judge, 60) == "COMPLETED", (tmp_path / "judge.log").read_text()
    until(lambda: not cluster.squeue(), 60, cluster.squeue)


def serve_stand_ins() -> dict[str, str]:
    """Return the environment of a campaign whose servers stand in for vLLM."""
    return {
        "AUTODATA_PYTHON": str(REPO / ".venv/bin/python"),
        "AUTODATA_ADDRESS": "127.0.0.1",
        "AUTODATA_GPUS_PER_NODE": "1",
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
        *(f"{server}.server.{key}" for server in servers for key in ("shares_gpus=true", "on_cpu=false")),
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


def test_a_chain_runs_in_order_and_ends_where_a_step_fails(cluster: Cluster, tmp_path):
    steps = (
        "run autodata.config recipes/demo/generate.yaml",
        "run autodata.config recipes/demo/none.yaml",
        "run autodata.config recipes/demo/dataset.yaml",
    )
    printed = call(cluster, "bash", "slurm/pipeline.sh", *steps, SBATCH_OUTPUT=str(tmp_path / "%j"))
    first, second, third = re.findall(r"job (\d+)", printed)
    assert [cluster.wait(job) for job in (first, second, third)] == ["COMPLETED", "FAILED", "CANCELLED"]
    assert "recipes/demo" in (tmp_path / first).read_text()


def test_the_site_decides_partition_and_account(cluster: Cluster, tmp_path):
    printed = call(cluster, "bash", "-c", "export SBATCH_ACCOUNT= SBATCH_PARTITION=main; . slurm/common.sh; env")
    assert "SBATCH_PARTITION=main" in printed
    assert "SBATCH_ACCOUNT" not in printed
