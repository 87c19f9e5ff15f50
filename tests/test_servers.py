"""Tests the vLLM servers that a command starts: probes, flags, failures and shutdown."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from copy import deepcopy
from types import SimpleNamespace

import pytest

from autodata.config import RecipeError
from autodata.recipes.models import Endpoint, Models, RoleConfig, Server
from autodata.serving import vllm
from autodata.serving.measured import EndpointError
from autodata.serving.vllm import RunningServer, ServerError, command_line, running, watch
from autodata.types import Role

pytestmark = pytest.mark.slow

FAKE = """
import sys
from tests.helpers.fake_server import FakeServer, completion
print("serving", flush=True)
FakeServer(lambda body, count: completion("x", "length"), int(sys.argv[1])).serve_forever()
"""


def models(**server: object) -> Models:
    return Models({"e": Endpoint("fake", server=Server("embedded", **server))}, weak_solver=RoleConfig("e"))


@pytest.fixture(autouse=True)
def _look_often(monkeypatch):
    """Polls a server every 20 ms instead of every second."""
    monkeypatch.setattr(vllm, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda s: time.sleep(s / 50)))


@pytest.fixture
def fake_command(monkeypatch):
    monkeypatch.setattr(vllm, "command_line", lambda endpoint, host, port: [sys.executable, "-c", FAKE, str(port)])


@pytest.fixture
def dying_command(monkeypatch):
    code = "print('loading'); print('out of memory, sorry'); raise SystemExit(3)"
    monkeypatch.setattr(vllm, "command_line", lambda endpoint, host, port: [sys.executable, "-c", code])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_is_started_probed_and_stopped(fake_command, tmp_path):
    recipe = models()
    with running(recipe, Role, tmp_path) as started:
        assert recipe.endpoints["e"].base_url.startswith("http://127.0.0.1:")
        pid = started[0].process.pid
        assert is_alive(pid)
    assert started[0].process.poll() is not None
    assert "serving" in (tmp_path / "server_e.log").read_text()


def start(folder, weights: str, offline: str) -> None:
    recipe = models(env={"HF_HUB_OFFLINE": offline})
    recipe.endpoints["e"].server.weights = weights
    with running(recipe, Role, folder):
        pass


def test_no_server_starts_for_weights_that_cannot_be_there(fake_command, tmp_path):
    with pytest.raises(
        RecipeError, match=r"^models\.endpoints\.e\.server\.weights=owner/absent: .*`hf download owner/"
    ):
        start(tmp_path, "owner/absent", "1")
    with pytest.raises(RecipeError, match="weights=runs/no/model: no such folder"):
        start(tmp_path, "runs/no/model", "0")
    assert not list(tmp_path.iterdir())


def test_a_server_that_dies_without_its_weights_says_how_to_fetch_them(dying_command, tmp_path):
    with pytest.raises(ServerError, match=r"sorry\nserver\.weights=owner/absent: .*`hf download owner/absent`"):
        start(tmp_path, "owner/absent", "0")


def test_it_is_stopped_when_the_work_fails(fake_command, tmp_path):
    with pytest.raises(KeyboardInterrupt), running(models(), Role, tmp_path) as started:
        raise KeyboardInterrupt
    assert started[0].process.poll() is not None


@pytest.mark.parametrize(("shares", "expected"), [(True, [0, 1]), (False, [0, 0])])
def test_servers_that_share_a_gpu_start_one_after_the_other(shares, expected, monkeypatch, tmp_path):
    recipe, ready = models(shares_gpus=shares), []
    recipe.endpoints["other"], recipe.judge = deepcopy(recipe.endpoints["e"]), RoleConfig("other")

    def command(endpoint, host, port):
        """Note how many of the servers that were started before answer now."""
        ready.append(sum(answers(e) for e in recipe.endpoints.values() if e.base_url and e is not endpoint))
        return [sys.executable, "-c", FAKE, str(port)]

    monkeypatch.setattr(vllm, "command_line", command)
    with running(recipe, Role, tmp_path) as started:
        assert len(started) == 2
        assert all(map(answers, recipe.endpoints.values()))
    assert ready == expected


def answers(endpoint: Endpoint) -> bool:
    try:
        vllm.probe(endpoint)
    except EndpointError:
        return False
    return True


def test_nothing_is_started_if_a_later_endpoint_is_wrong(fake_command, tmp_path):
    recipe = models()
    recipe.endpoints["other"], recipe.judge = Endpoint("fake"), RoleConfig("other")
    with pytest.raises(RecipeError, match=r"models\.endpoints\.other: set base_url"):
        running(recipe, Role, tmp_path).__enter__()
    assert not list(tmp_path.iterdir())


def test_only_what_the_roles_need_is_started(fake_command, tmp_path):
    with running(models(), [Role.JUDGE], tmp_path) as started:
        assert started == []


def test_a_server_that_dies_while_starting_shows_its_last_lines(dying_command, tmp_path):
    with pytest.raises(ServerError, match=r"models\.endpoints\.e died \(exit code 3\)(?s:.*)out of memory, sorry"):
        running(models(), Role, tmp_path).__enter__()


def test_a_server_that_dies_later_ends_the_work(fake_command, tmp_path):
    with running(models(), Role, tmp_path) as started:
        os.killpg(started[0].process.pid, signal.SIGKILL)
        started[0].process.wait()
        with pytest.raises(ServerError, match="died"):
            asyncio.run(watch(started))


def test_a_server_that_is_never_ready_names_the_key(monkeypatch, tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(vllm, "command_line", lambda endpoint, host, port: sleeper)
    with pytest.raises(ServerError, match=r"not ready after 1 s; raise server\.ready_timeout_s"):
        running(models(ready_timeout_s=1.0), Role, tmp_path).__enter__()


def test_a_port_in_use_names_the_key(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=rf"models\.endpoints\.e\.server\.port={port} is in use"):
            running(models(port=port), Role, tmp_path).__enter__()


def test_an_endpoint_without_url_or_server_names_both_keys(tmp_path):
    recipe = Models({"e": Endpoint("fake")}, weak_solver=RoleConfig("e"))
    with pytest.raises(RecipeError, match="set base_url"):
        running(recipe, Role, tmp_path).__enter__()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal")
@pytest.mark.slow
def test_no_server_outlives_a_command_that_was_killed(tmp_path):
    code = (
        "import pathlib, sys, time\nfrom autodata.serving import vllm\nfrom tests.test_servers import FAKE, models\n"
        "vllm.command_line = lambda e, host, port: [sys.executable, '-c', FAKE, str(port)]\n"
        "server = vllm.RunningServer('e', models().endpoints['e'], pathlib.Path(sys.argv[1]))\n"
        "print(server.process.pid, flush=True)\ntime.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
        parent.wait()
        end = time.monotonic() + 10
        while is_alive(child) and time.monotonic() < end:
            time.sleep(0.05)
        assert not is_alive(child)


def test_flags_go_verbatim_to_vllm():
    flags = {"dtype": "float32", "enforce-eager": True, "enable-chunked-prefill": False, "limit": {"a": 1}}
    line = command_line(Endpoint("name", revision="r", server=Server("owner/model", flags=flags)), "127.0.0.1", 7)
    text = " ".join(line[3:])
    assert text == (
        "--model owner/model --served-model-name name --host 127.0.0.1 --port 7 --revision r --dtype float32 "
        '--enforce-eager --no-enable-chunked-prefill --limit {"a": 1}'
    )


def test_a_running_server_is_a_real_process(fake_command, tmp_path):
    server = RunningServer("e", models().endpoints["e"], tmp_path / "log")
    server.stop()
    assert server.process.poll() is not None
