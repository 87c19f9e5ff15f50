"""Tests where a plan takes the speed of a server from: what the user states, finished runs, or priors.yaml."""

import asyncio
import json
from pathlib import Path

import pytest

from autodata.plan import server_speeds
from autodata.plan.queues import _tell_speed, make_station
from autodata.plan.server_speeds import choose, find_measured, fit_latest, serves_alike
from autodata.plan.speed import ReplicaSpeed, state
from autodata.recipes.models import Endpoint, Server
from autodata.serving.journal import Journal
from autodata.types import Outcome, Reply

pytestmark = pytest.mark.slow


def write_measured(folder: Path, steps: list[int], flags: str = "{a: 1}", finished: str = "2026-01-01") -> Path:
    """Write a finished run of 60 calls of model m; a token takes 0.01 s."""
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.sqlite")

    async def fill() -> None:
        for i in range(60):
            tokens = steps[i % len(steps)]
            reply = Reply(Outcome.ANSWERED, "x", "", "stop", "m", 100, tokens, latency_s=0.01 * tokens)
            await journal.put(str(i), reply)

    asyncio.run(fill())
    journal.close()
    (folder / "manifest.json").write_text(json.dumps({"finished": finished}))
    server = f"server: {{on_cpu: true, flags: {flags}}}"
    (folder / "recipe.yaml").write_text(f"models: {{endpoints: {{e: {{model: m, {server}}}}}}}\n")
    return folder


def served(flags: dict[str, object], model: str = "m", on_cpu: bool = True) -> Endpoint:
    return Endpoint(model, server=Server("w", on_cpu=on_cpu, flags=flags))


def test_the_latest_run_of_the_same_server_tells_its_speed(tmp_path):
    old = write_measured(tmp_path / "old", [20, 40, 80])
    new = write_measured(tmp_path / "deeper/new", [20, 40, 80], finished="2026-02-02")
    open_run = write_measured(tmp_path / "open", [20, 40, 80], finished="")
    assert find_measured(tmp_path) == [new, old]
    assert str(new) in fit_latest([new, old], served({"a": 1})).origin
    (open_run / "manifest.json").write_text("damaged")
    assert find_measured(tmp_path) == [new, old]
    assert find_measured(tmp_path / "nowhere") == []
    for other in (served({"a": 2}), served({"a": 1}, "n"), served({"a": 1}, on_cpu=False), Endpoint("m")):
        assert fit_latest([new, old], other) is None
    (new / "recipe.yaml").unlink()
    assert not serves_alike(tmp_path / "none", served({"a": 1}))


def test_calls_that_do_not_tell_tokens_from_prompts_give_no_speed_for_other_calls(tmp_path, monkeypatch):
    run = write_measured(tmp_path / "run", [20, 40, 80])
    useless = ReplicaSpeed(0.1, 0.0, 0.0, origin="fitted")
    monkeypatch.setattr(server_speeds, "_fit", lambda run, model: useless)
    assert fit_latest([run], served({"a": 1})) is None
    assert _tell_speed(make_station("e", served({}), useless)) == ("not told apart from prompts", "fitted")


def test_a_stated_speed_comes_first_and_an_assumed_one_last(tmp_path):
    run, endpoint = write_measured(tmp_path / "run", [20, 40, 80]), served({"a": 1})
    stated = state(1, 2, 3, "stated")
    assert choose({"e": endpoint}, {"e": stated}, None, [run])["e"].origin == "stated"
    assert choose({"e": endpoint}, {}, None, [run])["e"].origin.startswith("fitted to 60 calls of")
    assert choose({"e": endpoint}, {}, None)["e"] is None
    assert choose({"e": served({}, "Qwen/Qwen3.5-4B")}, {}, None, [run])["e"].origin == "chosen, unmeasured"
