"""The Slurm cluster that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing, running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A real Slurm of six nodes, each with a GPU that exists only in its configuration."""
    if reason := missing():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("slurm"), nodes=6, gpus=1) as started:
        yield started
