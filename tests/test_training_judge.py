"""Tests where a training finds its judge and how long the judge's servers are kept up."""

import os
import threading

import pytest

from autodata.cluster import hold, shared
from autodata.config import RecipeError
from autodata.recipes.models import Endpoint, Models, RoleConfig, Server
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from autodata.serving.leases import Lease, State, write_lease


def models() -> Models:
    return Models(
        {"kimi": Endpoint("k", server=Server("w")), "weak": Endpoint("w", server=Server("w"))},
        judge=RoleConfig("kimi"),
    )


def write(run, endpoint: str, state: State) -> None:
    lease = Lease(endpoint, 0, "7", "k", f"http://n1/{endpoint}/v1", state, 1, 0.0)
    write_lease(run / "serving" / "leases", lease)


def test_the_judge_of_the_runs_campaign_is_taken_with_its_key(tmp_path, monkeypatch):
    from training.run import find_judge

    monkeypatch.setenv(shared.VARIABLE, "")
    settings = models()
    write(tmp_path, "weak", State.READY)
    write(tmp_path, "kimi", State.READY)
    find_judge(settings, tmp_path)
    assert settings.endpoints["kimi"].base_url == "http://n1/kimi/v1"
    assert settings.endpoints["kimi"].api_key_env == shared.VARIABLE
    assert os.environ[shared.VARIABLE]
    assert settings.endpoints["weak"].base_url is None  # nothing calls it


def test_a_judge_that_does_not_get_ready_is_an_error(tmp_path):
    from training.run import find_judge

    write(tmp_path, "kimi", State.STARTING)
    with pytest.raises(RecipeError, match=r"models\.endpoints\.kimi: no replica was ready after 0 s"):
        find_judge(models(), tmp_path, patience_s=0)


@pytest.mark.parametrize("given", ["http://there/v1", None])
def test_without_a_campaign_nothing_changes(tmp_path, given):
    from training.run import find_judge

    settings = models()
    settings.endpoints["kimi"].base_url = given
    find_judge(settings, tmp_path)
    assert settings.endpoints["kimi"].base_url == given
    find_judge(Models(), tmp_path)


def test_servers_are_held_until_the_run_is_finished(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hold, "_POLL_S", 0.01)
    monkeypatch.setattr("sys.argv", ["hold", "recipes/cs/grpo.yaml", "recipes/models/paper.yaml", f"run={tmp_path}"])
    waiting = threading.Thread(target=hold.main)
    waiting.start()
    with Run(str(tmp_path), "grpo", GrpoRecipe(run=str(tmp_path)), {}) as run:
        run.start()
        waiting.join(0.1)
        assert waiting.is_alive()
        run.finish([])
    waiting.join(10)
    assert not waiting.is_alive()
    assert "is finished" in capsys.readouterr().out
