"""Starts vLLM servers as child processes, waits until they are ready, and stops them."""

import asyncio
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from autodata.command import require_package
from autodata.config import RecipeError
from autodata.recipes.models import Endpoint, Models
from autodata.serving.embedded import describe_missing, is_folder, is_offline, resolve_weights
from autodata.serving.llm import list_used
from autodata.serving.measured import EndpointError
from autodata.serving.probes import probe
from autodata.serving.wire.connection import make_headers
from autodata.types import Role, UserError


class ServerError(UserError):
    """A server did not start or died; the message holds the last lines of its log."""


class RunningServer:
    """One running vLLM process."""

    def __init__(self, name: str, endpoint: Endpoint, log: Path, address: str = "127.0.0.1"):
        require_package("vllm", "serve")
        self.name, self.endpoint, self.log = name, endpoint, log
        try:
            port = choose_port(endpoint.server.port)
        except OSError:
            key = f"models.endpoints.{name}.server.port={endpoint.server.port}"
            advice = "choose another, or leave the key out to use any free port"
            raise ServerError(f"{key} is in use; {advice}") from None
        endpoint.base_url = f"http://{address}:{port}/v1"
        environment = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command_line(endpoint, "127.0.0.1" if address == "127.0.0.1" else "0.0.0.0", port),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment | endpoint.server.env,
                start_new_session=True,  # Ctrl-C must not reach it: calls in flight are finished first
                preexec_fn=die_with_parent,
            )

    def wait_until_ready(self) -> None:
        """Wait until the model is listed and generates a token. Raises ServerError."""
        limit, start = self.endpoint.server.ready_timeout_s, time.monotonic()
        while time.monotonic() - start < limit:
            self.check()
            try:
                return probe(self.endpoint)
            except EndpointError:
                time.sleep(1)
        raise self._describe(f": not ready after {limit:.0f} s; raise server.ready_timeout_s or read")

    def check(self) -> None:
        """Raise ServerError if the process has died."""
        if self.process.poll() is not None:
            error = self._describe(f" died (exit code {self.process.returncode}); end of")
            missing = _describe_missing(self.endpoint)
            raise ServerError(f"{error}\n{missing}") if missing else error

    def stop(self) -> None:
        """Stop the whole process group: first with SIGTERM, then with SIGKILL."""
        with suppress(ProcessLookupError):  # the group has ended
            for signal_number, patience in ((signal.SIGTERM, 15), (signal.SIGKILL, 5)):
                os.killpg(self.process.pid, signal_number)
                deadline = time.monotonic() + patience
                while time.monotonic() < deadline:
                    self.process.poll()
                    os.killpg(self.process.pid, 0)
                    time.sleep(0.1)

    def last_line(self) -> str:
        """Return the end of the log, which says how far the server has loaded."""
        return self._tail(1)[-200:]

    def _describe(self, problem: str) -> ServerError:
        return ServerError(f"server of models.endpoints.{self.name}{problem} {self.log}:\n{self._tail()}")

    def _tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


@contextmanager
def running(models: Models, roles: Iterable[Role], folder: Path) -> Iterator[list[RunningServer]]:
    """Start the servers that `roles` need, set each base_url, and stop them at the end. Logs are kept in `folder`."""
    servers: list[RunningServer] = []
    try:
        used = {} if models.replay else list_used(models, roles)
        for endpoint in used.values():
            make_headers(endpoint)  # a missing key must not wait until servers have loaded
        _check_addresses(used)
        start = time.monotonic()
        for name, endpoint in used.items():
            if endpoint.server and not endpoint.base_url:
                servers.append(RunningServer(name, endpoint, folder / f"server_{name}.log"))
                print(f"starting {endpoint.model} on {endpoint.base_url} (log: {servers[-1].log})", flush=True)
                if endpoint.server.shares_gpus:
                    # vLLM measures how much memory it finds free and uses itself, so no other server may load then.
                    servers[-1].wait_until_ready()
        for server in servers:
            server.wait_until_ready()
        if servers:
            print(f"ready after {time.monotonic() - start:.0f} s", flush=True)
        yield servers
    finally:
        for server in servers:
            server.stop()


def _check_addresses(used: Mapping[str, Endpoint]) -> None:
    """Check before any server starts that each endpoint answers, or has a server and weights. Raises RecipeError."""
    for name, endpoint in used.items():
        if endpoint.base_url:
            # A wrong URL or name must fail now and not in the middle of the night.
            probe(endpoint, is_patient=True)
        elif not endpoint.server:
            advice = "set base_url (for a running server) or server.weights (to start one)"
            raise RecipeError(f"models.endpoints.{name}: {advice}")
        elif (is_folder(endpoint.server.weights) or is_offline(endpoint.server.env)) and (
            missing := _describe_missing(endpoint)  # a server would take a minute to say less
        ):
            raise RecipeError(f"models.endpoints.{name}.{missing}")


def _describe_missing(endpoint: Endpoint) -> str:
    """Say what to do about a server's weights if they are not on this machine; else nothing."""
    server = endpoint.server
    missing = describe_missing(server.weights, endpoint.revision, server.env)
    return f"server.weights={server.weights}: {missing}" if missing else ""


async def watch(servers: list[RunningServer]) -> None:
    """Run until a server dies, then raise ServerError."""
    while True:
        for server in servers:
            server.check()
        await asyncio.sleep(1)


def command_line(endpoint: Endpoint, host: str, port: int) -> list[str]:
    """Make the command of an endpoint's vLLM server; `vllm serve` itself refuses to run from the CPU package."""
    weights = resolve_weights(endpoint.server.weights)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", weights]
    command += ["--served-model-name", endpoint.model, "--host", host, "--port", str(port)]
    if endpoint.revision and not Path(weights).is_dir():
        command += ["--revision", endpoint.revision]
    for flag, value in endpoint.server.flags.items():
        if isinstance(value, bool):
            command.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            command += [f"--{flag}", json.dumps(value) if isinstance(value, dict | list) else str(value)]
    return command


def choose_port(wanted: int | None = None) -> int:
    """Find a free port of this machine, or check the wanted one. Raises OSError if the wanted port is in use."""
    with socket.create_server(("127.0.0.1", wanted or 0)) as listener:
        return listener.getsockname()[1]


def die_with_parent() -> None:
    """Let this process end with its parent, even if that is killed; elsewhere than on Linux, do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
