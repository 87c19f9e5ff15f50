"""Holds acceptance on the scripted worlds to what it was before the prompts and checks of the loop were rewritten."""

import pytest

from tests.helpers.scripted_worlds import play_all

# Documents that end accepted, of how many, and rounds: the same at commit 2c0a110 (docs/performance.md).
BEFORE = {"cs": (4, 5, 22), "legal": (2, 3, 12), "science": (2, 3, 18)}


@pytest.mark.slow
@pytest.mark.parametrize("orchestrator", ["fixed", "agent"])
@pytest.mark.parametrize("domain", BEFORE)
def test_acceptance_does_not_fall(domain, orchestrator, tmp_path):
    played = [one.trajectory for one in play_all(domain, orchestrator, tmp_path)]
    accepted = sum(trajectory.accepted is not None for trajectory in played)
    rounds = sum(len(trajectory.rounds) for trajectory in played)
    assert (accepted, len(played), rounds) == BEFORE[domain]
    assert not any(trajectory.refused for trajectory in played)
