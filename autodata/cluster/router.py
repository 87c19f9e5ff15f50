"""Runs vllm-router in front of the replicas of one endpoint: its URL stays the same when servers change."""

import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

import httpx

from autodata.cluster.signals import end_process
from autodata.command import require_package
from autodata.serving.vllm import choose_port
from autodata.types import UserError

_START_S = 60.0
_NO_LIMIT = "1000000"  # calls running or queued; the limit that matters is the client's own


class RouterError(UserError):
    """The router did not start; the message names its log."""


class Router:
    """One router process on this node, which is started when the first replica is ready."""

    def __init__(self, endpoint: str, policy: str, log: Path):
        self.endpoint = endpoint
        self._policy, self._log = policy, log
        self._process: subprocess.Popen[bytes] | None = None
        self.port = choose_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.workers: set[str] = set()  # the replicas that get calls

    def follow(self, urls: Collection[str]) -> None:
        """Send calls to exactly these replicas, given by their URLs. Starts the router again if it died."""
        workers = {url.removesuffix("/v1") for url in urls}
        if self._process is None or self._process.poll() is not None:
            if len(workers) < (2 if self._policy == "power_of_two" else 1):  # the router refuses to start with fewer
                return
            self._start(sorted(workers))
        for worker in workers - self.workers:
            if self._post("add_worker", worker):
                self.workers.add(worker)
        for worker in self.workers - workers:
            self._post("remove_worker", worker)
            self.workers.discard(worker)

    def stop(self) -> None:
        end_process(self._process, (signal.SIGTERM, 10.0), (signal.SIGKILL, None))

    def _start(self, workers: list[str]) -> None:
        """Start the router and wait until it answers. Raises RouterError."""
        require_package("vllm_router", "serve")
        self.workers = set(workers)
        command = [sys.executable, "-m", "vllm_router.launch_router", "--disable-retries", "--log-level", "warning"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--prometheus-port", str(choose_port())]
        command += ["--max-concurrent-requests", _NO_LIMIT, "--queue-size", _NO_LIMIT]
        command += ["--request-timeout-secs", "86400", "--health-check-interval-secs", "5"]
        command += ["--worker-startup-check-interval", "1", "--policy", self._policy, "--worker-urls", *workers]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/list_workers", timeout=2).raise_for_status()
                return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise RouterError(f"the router of {self.endpoint} (policy {self._policy}) did not start; see {self._log}")

    def _post(self, action: str, worker: str) -> bool:
        try:
            response = httpx.post(f"http://127.0.0.1:{self.port}/{action}", params={"url": worker}, timeout=30)
        except httpx.HTTPError:
            return False  # the next call of `follow` tries again
        return response.status_code == 200 or "already exists" in response.text
