from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing, running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    """A real Slurm of two nodes with eight GPUs each, which only the scheduler believes in."""
    if reason := missing():
        pytest.skip(reason)
    with running(tmp_path_factory.mktemp("slurm")) as started:
        yield started
