"""Reproduces small tables on a real Slurm, from documents to Markdown: with the embedded model, and through deaths.

Trainings are real in both. Where jobs are killed, the servers stand in for vLLM, so that every reply depends on its
request alone and the tables must agree to the byte.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from autodata.cluster.resources import Site
from autodata.reproduce import follow
from autodata.reproduce.record import StepRecord, read_record
from autodata.reproduce.slurm.by_hand import ByHand
from tests.slurm.cluster import Cluster, until
from tests.slurm.test_campaign import REPO, SMALL_NODES, STAND_IN
from tests.slurm.test_scripts import call

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1_500)]
# Two steps without probe and evaluation. A penalty for answers that are cut off gives each group unequal rewards.
TRAINING = ("trainer.max_steps=2", "trainer.save_steps=1", "trainer.eval_strategy='no'", "trainer.eval_on_start=false")
TRAINING += ("evaluate=[]", "min_examples=1", "preflight.probe=0", "reward.cut_off=penalise", "samples=1")
SITE = {
    "AUTODATA_ADDRESS": "127.0.0.1",
    "AUTODATA_GPUS_PER_NODE": "1",
    "AUTODATA_SERVER_OPTIONS": "--mem=4G",
    "AUTODATA_OWNER_PATIENCE_S": "120",
    "OMP_NUM_THREADS": "1",
}
ENVIRONMENT = "models.endpoints.small.server.env"
ON_TWO_CORES = (f"{ENVIRONMENT}.OMP_NUM_THREADS='1'", f"{ENVIRONMENT}.OMP_WAIT_POLICY=PASSIVE")
# On nodes of one GPU, each arm wants four of the six.
ON_FOUR_NODES = ("models.endpoints.small.server.on_cpu=false", "models.endpoints.small.server.replicas=4")
STAND_INS = (f"{ENVIRONMENT}.PYTHONPATH='{STAND_IN}:{REPO}'", f"{ENVIRONMENT}.STAND_IN_DELAY_S='0.2'")
# What is killed, in the order of the steps, and the file of its run that shows that it is in the middle of its work.
KILLED = {
    "ingest": "",
    "generate small/agentic": "journal.sqlite",
    "dataset": "",
    "verify": "",
    "grpo small/grpo_cot": "checkpoints/checkpoint-1",
    "eval small/prbench_cot": "journal.sqlite",
    "tables": "",
}
# Short jobs wait to be released, because submitting the others takes longer than they do.
HOLD = {"AUTODATA_INGEST_OPTIONS": "--hold", "AUTODATA_RUN_OPTIONS": "--hold"}
AT_MOST_S = 600


class Table:
    """A small table, and the command that makes it."""

    def __init__(self, cluster: Cluster, folder: Path, *values: str, name: str = "table2"):
        self.cluster, self.runs, self.name = cluster, folder / "runs", name
        self.words = [f"recipes/tables/{name}.yaml", "--scale", "small", f"runs={self.runs}"]
        self.words += [f"corpus={write_corpus(folder)}", *values]
        self.folder = self.runs / "reproduce" / f"{name}_small"

    def reproduce(self, **environment: str) -> str:
        return call(self.cluster, "bash", "slurm/reproduce.sh", *self.words, **(SITE | environment))

    def until(self, done: Callable[[], object]) -> None:
        until(done, AT_MOST_S, self.explain)

    def explain(self) -> str:
        logs = sorted(self.folder.glob("*.log"), key=lambda log: log.stat().st_mtime)
        return self.cluster.squeue() + "".join(f"\n{log.name}:\n{log.read_text()[-1500:]}" for log in logs[-5:])

    def find(self, name: str) -> StepRecord:
        """Return the first step with such a name, in which the runs' folder is left out."""
        steps = read_record(self.folder).steps.values()
        return next(entry for entry in steps if entry.name.replace(f"{self.runs}/", "").startswith(name))

    def kill(self, name: str, sign: str) -> str:
        """Kill all processes of a step's job once it runs and there is this file; return the job's number."""
        entry = self.find(name)
        self.release(name, sign)
        self.until(lambda: self.cluster.states(entry.job) == ["RUNNING"])
        self.until(lambda: (Path(entry.target) / sign).exists() or not sign)
        self.cluster.cancel("--signal=KILL", "--full", entry.job)
        ended = self.cluster.wait(entry.job)  # a job of one process counts as cancelled
        assert ended in ("FAILED", "CANCELLED"), f"{name}: {ended}\n{self.explain()}"
        return entry.job

    def release(self, name: str, sign: str) -> None:
        if not sign:
            self.cluster.run("scontrol", "release", self.find(name).job)

    def finish(self) -> str:
        """Wait for all jobs and return the table, without the runs' folder."""
        self.until(lambda: not self.cluster.squeue())
        standings = follow.look(self.folder)[1]
        assert {standing.state for standing in standings} == {"finished"}, self.explain()
        return (self.runs / f"small/tables/{self.name}.md").read_text().replace(str(self.runs), "runs")


def write_corpus(folder: Path, count: int = 5) -> Path:
    (folder / "corpus").mkdir()
    for path in sorted((REPO / "recipes/demo/documents").iterdir())[:count]:
        (folder / "corpus" / path.name).write_bytes(path.read_bytes())
    return folder / "corpus"


@pytest.fixture(autouse=True)
def asked_from_here(cluster: Cluster, monkeypatch) -> None:
    """Let this process ask the cluster for its jobs, as autodata.status does."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))


@pytest.mark.vllm
def test_a_table_from_documents_to_markdown(cluster: Cluster, tmp_path):
    table = Table(cluster, tmp_path, *TRAINING, *ON_TWO_CORES)
    table.reproduce()
    text = table.finish()
    assert re.findall(r"^\| (SmolLM2[^|]*?) \| \d", text, re.MULTILINE) == [
        "SmolLM2-135M",
        "SmolLM2-135M + RL on CoT data",
        "SmolLM2-135M + RL on agentic data",
    ]
    assert "no finished run" not in text
    assert "submitted" not in table.reproduce()  # nothing is left to do


def test_a_job_of_each_kind_is_killed_and_the_table_is_the_same(cluster: Cluster, tmp_path_factory):
    undisturbed = Table(cluster, tmp_path_factory.mktemp("undisturbed"), *TRAINING, *STAND_INS, name="table4")
    undisturbed.reproduce()
    expected = undisturbed.finish()
    table = Table(cluster, tmp_path_factory.mktemp("killed"), *TRAINING, *STAND_INS, name="table4")
    table.reproduce(**HOLD)
    assert (
        table.find("eval small/prbench_cot").job == table.find("eval small/prbench_agentic").job
    )  # their judge is one
    for name, sign in KILLED.items():
        job = table.kill(name, sign)
        table.reproduce(**HOLD)
        assert table.find(name).job != job
        table.release(name, sign)
    assert table.finish() == expected


def test_an_arm_without_room_beside_the_other_waits_for_its_end(cluster: Cluster, tmp_path):
    """Side by side, each arm could hold three of six nodes and wait for a fourth."""
    table = Table(cluster, tmp_path, *STAND_INS, *ON_FOUR_NODES, name="table1")
    table.reproduce(**SMALL_NODES)
    assert "no finished run" not in table.finish()
    first, second = (cluster.show(table.find(f"generate small/{arm}").job)[0] for arm in ("agentic", "cot"))
    assert first["EndTime"] <= second["StartTime"]


def test_slurm_knows_how_a_campaign_was_called_by_hand(cluster: Cluster):
    recipe, models = "recipes/legal/generate.yaml", "recipes/models/paper.yaml"
    call = (str(REPO / "slurm/generate.sh"), recipe, models, "documents.limit=5")
    job = cluster.run("sbatch", "--parsable", "--hold", f"--chdir={REPO}", "--array=1-2", *call)
    try:
        (campaign,) = {found.name: found for found in ByHand.find((), Site()).counted if found.job == job}.values()
        assert (campaign.name, campaign.cost.gpus) == ("generate runs/legal/agentic (by hand)", 48)
        assert not [found for found in ByHand.find((job,), Site()).counted if found.job == job]
    finally:
        cluster.cancel(job)
