"""Fixtures of the fault tests. AUTODATA_FAULTS_SEED seeds the schedules, AUTODATA_FAULTS_EXAMPLES is their number."""

import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase

from tests.faults.driver import Driver
from tests.faults.scene import PLAYS, Outcome, scene

SEED = int(os.environ.get("AUTODATA_FAULTS_SEED", "0"))
EXAMPLES = int(os.environ.get("AUTODATA_FAULTS_EXAMPLES", "1"))


def pytest_report_header() -> str:
    return f"faults: AUTODATA_FAULTS_SEED={SEED} AUTODATA_FAULTS_EXAMPLES={EXAMPLES} (schedules of each kind)"


def scheduled(test: Callable[..., None]) -> Callable[..., None]:
    """Runs a test with schedules drawn from the seed and prints a schedule that fails."""
    drawn = hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    return pytest.mark.slow(hypothesis.seed(SEED)(drawn(test)))


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    started = Driver()
    yield started
    started.close()


@pytest.fixture(scope="session")
def undisturbed(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    outcomes = {}
    for play in PLAYS:
        with scene(tmp_path_factory.mktemp("straight"), play, driver) as straight:
            assert straight.finish() == 1
            outcomes[play] = straight.outcome()
            straight.check(outcomes[play])
        assert len(outcomes[play].examples) >= 2
        assert set(outcomes[play].requests.values()) == {1}
    return outcomes
