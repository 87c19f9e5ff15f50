"""Reproduces a small table on a real Slurm with the embedded model, from documents to Markdown, also after deaths."""

import re
from pathlib import Path

import pytest

from autodata.reproduce import follow
from autodata.reproduce.record import read_record
from tests.slurm.cluster import Cluster, until
from tests.slurm.test_scripts import call

pytestmark = [pytest.mark.slurm, pytest.mark.vllm, pytest.mark.long, pytest.mark.timeout(3_000)]
TABLE = ("recipes/tables/table2.yaml", "--scale", "small")
SHORT = ("samples=1", "proposals=4", "trainer.max_steps=4", "trainer.save_steps=2", "trainer.eval_steps=4")
SITE = {"AUTODATA_ADDRESS": "127.0.0.1", "AUTODATA_GPUS_PER_NODE": "1", "AUTODATA_SERVER_OPTIONS": "--mem=4G"}
AT_MOST_S = 2400  # six servers and two trainings share two cores


def reproduce(cluster: Cluster, runs: Path, **environment: str) -> str:
    return call(cluster, "bash", "slurm/reproduce.sh", *TABLE, *SHORT, f"runs={runs}", **SITE, **environment)


def read_table(runs: Path) -> str:
    return (runs / "small" / "tables" / "table2.md").read_text()


def wait_until_idle(cluster: Cluster) -> None:
    until(lambda: not cluster.squeue(), AT_MOST_S, cluster.squeue)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster, tmp_path_factory) -> Path:
    runs = tmp_path_factory.mktemp("undisturbed")
    reproduce(cluster, runs)
    wait_until_idle(cluster)
    return runs


def test_a_table_from_documents_to_markdown(cluster: Cluster, undisturbed: Path):
    table = read_table(undisturbed)
    assert re.findall(r"^\| (SmolLM2[^|]*?) \|", table, re.MULTILINE) == [
        "SmolLM2-135M",
        "SmolLM2-135M + RL on CoT data",
        "SmolLM2-135M + RL on agentic data",
    ]
    assert "no finished run" not in table
    _, standings = follow.look(undisturbed / "reproduce" / "table2_small")
    assert {standing.state for standing in standings} == {"finished"}
    assert "submitted" not in reproduce(cluster, undisturbed)  # nothing is left to do


@pytest.mark.parametrize("kind", ["ingest", "generate", "dataset", "grpo", "eval", "tables"])
def test_a_job_that_is_killed_is_submitted_again_by_the_same_command(
    cluster: Cluster, undisturbed: Path, tmp_path_factory, kind
):
    """All kinds go on with the same runs, so that every run is made once."""
    runs = tmp_path_factory.getbasetemp() / "killed"
    reproduce(cluster, runs)
    entry = next(e for e in read_record(runs / "reproduce" / "table2_small").steps.values() if e.name.startswith(kind))
    until(lambda: cluster.states(entry.job) != ["PENDING"], AT_MOST_S, cluster.squeue)
    cluster.cancel(entry.job)
    wait_until_idle(cluster)  # Slurm cancels all that needs the dead job
    reproduce(cluster, runs)
    if kind == "tables":
        wait_until_idle(cluster)
        assert read_table(runs).replace(str(runs), "") == read_table(undisturbed).replace(str(undisturbed), "")
