"""Tests slurm/generate.sh on a real Slurm, with real vLLM servers and the embedded model."""

import re

import pytest

from autodata.run.folder import read_manifest
from tests.slurm.cluster import Cluster
from tests.slurm.test_campaign import REPO, Campaign, find_servers
from tests.test_generate import examples_of

pytestmark = [pytest.mark.slurm, pytest.mark.vllm, pytest.mark.timeout(1_500)]


def test_two_weak_replicas_and_one_server_for_the_other_roles(cluster: Cluster, tmp_path):
    campaign = Campaign(
        cluster,
        tmp_path,
        "tests/slurm/embedded.yaml",
        "documents.path=recipes/demo/documents",
        "documents.limit=4",
        "domain.max_rounds=12",
        PYTHONPATH=str(REPO),
    )
    assert cluster.wait(campaign.job, 1_200) == "COMPLETED", campaign.explain()
    assert read_manifest(campaign.run)["counts"]["calls"] > 50
    assert len(examples_of(campaign.run)) >= 1
    assert len({lease.job for lease in campaign.leases("weak")}) == 2
    campaign.until(lambda: not cluster.squeue() and not find_servers(cluster), 60)
    logs = "".join(p.read_text() for p in campaign.run.glob("serving/weak-*-0.log"))
    answered = re.findall(r"POST /v1/chat/completions HTTP/1.1. 200", logs)
    assert len(answered) > 10  # the probes are fewer
