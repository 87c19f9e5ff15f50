"""Runs one replica: starts its vLLM process, restarts it when it dies, and ends it."""

import threading
import time
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import httpx

from autodata.cluster.fleet import limit_start
from autodata.recipes.models import Endpoint
from autodata.serving.leases import State
from autodata.serving.limits import ServerLoad
from autodata.serving.measured import EndpointError
from autodata.serving.probes import check_canary, probe_replica
from autodata.serving.vllm import RunningServer, ServerError, choose_port
from autodata.types import Role

_POLL_S = 1.0
_CANARY_S = 60.0  # between two checks of a ready replica's answers
_RESTARTS = 5  # how often a server that died is started again; most die in their first minutes


class Replica(threading.Thread):
    """Runs one replica. Its lease shows `state`, `url` and `detail`."""

    def __init__(self, name: str, endpoint: Endpoint, roles: Sequence[Role], log: Path, address: str):
        super().__init__(name=name, daemon=True)
        self.state, self.url, self.detail = State.STARTING, "", ""
        self._endpoint, self._roles, self._log, self._address = endpoint, roles, log, address
        self._port: int | None = None
        self._drain, self._end = threading.Event(), threading.Event()

    def drain(self) -> None:
        """Finish the calls in flight, then end."""
        self._drain.set()

    def stop(self) -> None:
        """End now."""
        self._end.set()
        self.join()

    def run(self) -> None:
        """Serve, and start again a server that died. `start` calls this."""
        try:
            for _ in range(1 + _RESTARTS):
                if not self._is_ending():
                    self._serve_once()
        finally:
            self.state = State.ENDED

    def _serve_once(self) -> None:
        """Run one vLLM process, until it dies or the replica is to end."""
        endpoint = deepcopy(self._endpoint)
        endpoint.server.port = endpoint.server.port or self._choose_port()
        self.state, self.url = State.STARTING, ""
        server = None
        try:
            server = RunningServer(self.name, endpoint, self._log, self._address)
            self._wait_until_ready(server, endpoint)
            if not self._is_ending():
                self.state, self.url, self.detail = State.READY, endpoint.base_url or "", ""
            self._watch(server, endpoint)
            self.state = State.DRAINING
            while not self._end.is_set() and count_requests(self.url) > 0:
                server.check()
                self._end.wait(_POLL_S)
        except (ServerError, EndpointError, OSError) as problem:
            self.state, self.detail = State.STARTING, str(problem)[-500:]
            self._end.wait(_POLL_S)
        finally:
            if server:
                server.stop()

    def _choose_port(self) -> int:
        """Choose the port of the server that died, if it is free: a training knows its judge by this address."""
        try:
            self._port = choose_port(self._port)
        except OSError:
            self._port = choose_port()
        return self._port

    def _is_ending(self) -> bool:
        return self._drain.is_set() or self._end.is_set()

    def _wait_until_ready(self, server: RunningServer, endpoint: Endpoint) -> None:
        """Wait until every probe passes. Raises ServerError, EndpointError."""
        deadline = time.monotonic() + limit_start(endpoint.server)
        while not self._is_ending():
            server.check()
            self.detail = server.last_line()
            try:
                probe_replica(endpoint, self._roles)
                return
            except EndpointError as problem:
                if time.monotonic() > deadline:
                    raise
                self.detail = f"{server.last_line()} | {problem}"[-500:]
            self._end.wait(_POLL_S)

    def _watch(self, server: RunningServer, endpoint: Endpoint) -> None:
        """Watch the server until the replica is to end. Raises ServerError if it died, EndpointError for noise."""
        last_check = time.monotonic()
        while not self._is_ending():
            server.check()
            if time.monotonic() - last_check > _CANARY_S:
                check_canary(endpoint)
                last_check = time.monotonic()
            self._end.wait(_POLL_S)


def count_requests(url: str) -> int:
    """Return how many calls a server has, running and waiting; 0 if it does not say."""
    try:
        text = httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=10).raise_for_status().text
    except httpx.HTTPError:
        return 0
    load = ServerLoad.read([text])
    return load.running + load.waiting
