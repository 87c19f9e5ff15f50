"""Fixtures for all tests, and their grouping by subject when pytest runs several workers."""

import asyncio
import gc
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import httpcore2
import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from autodata import config
from autodata.recipes.reading import domain_folder, layers
from autodata.serving.journal import Journal
from autodata.serving.llm import Client
from autodata.serving.request import Request
from autodata.serving.wire import retries
from autodata.types import Reply
from tests.helpers.fake_server import fake_server
from tests.helpers.recipes import keep_files, keep_merged, models_at

settings.register_profile("without a deadline", deadline=None)  # no test asserts a time
settings.load_profile("without a deadline")


def pytest_collection_finish() -> None:
    """Excludes the objects that exist before the first test from garbage collection, since they stay to the end."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


# Test files that share a fixture or a library; files whose names begin with the same word are grouped anyway.
_SUBJECTS = {
    "all recipes": ("roles", "structure", "evaluated", "config"),
    "inspect_ai": ("eval", "prbench", "principia", "intervals"),
}


class _BySubject(LoadFileScheduling):
    """Gives files of one subject to one worker, which then imports their libraries and makes their fixtures once."""

    def _split_scope(self, nodeid: str) -> str:
        path, word = re.match(r"(.*?)/test_([a-z0-9]+)", nodeid).groups()
        if path.endswith("slurm"):
            return path  # one cluster at a time
        return next((subject for subject, words in _SUBJECTS.items() if word in words), f"{path}/{word}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Uses the grouping by subject unless --dist is given."""
    return _BySubject(config, log) if config.getvalue("dist") == "load" else None


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Caches the certificates: each HTTP client would take 20 ms to read them, and the tests make over a thousand."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _recipes_are_read_once() -> Iterator[None]:
    """Caches recipe files: loading one takes 100 ms, and the tests load a thousand, mostly the same ones."""
    read_yaml = keep_files(layers.read_yaml)
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (layers, domain_folder):
            monkeypatch.setattr(module, "read_yaml", read_yaml)
        monkeypatch.setattr(config, "_merge", keep_merged(config._merge))
        yield


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "backoff", lambda tries: 0.01)


@pytest.fixture(autouse=True)
def _signals_are_restored() -> Iterator[None]:
    """A job that is ending ignores further signals; a process that a later test starts would inherit that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def ask(journal: Journal):
    """Ask a scripted server: ask(script, *requests, **endpoint) → (replies, server, client)."""

    def run(script, *requests: Request, **endpoint: object) -> tuple[list[Reply], object, Client]:
        with fake_server(script) as server:
            client = Client(models_at(server.url, **endpoint), journal)

            async def go() -> list[Reply]:
                try:
                    return list(await asyncio.gather(*(client.ask(r) for r in requests)))
                finally:
                    await client.close()

            return asyncio.run(go()), server, client

    return run


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """slurm(name, script) replaces a Slurm command by a few lines of shell."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def make(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return make


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Starts one real vLLM for all slow tests, with the command that users have for that."""
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "autodata.servers", "recipes/demo/generate.yaml", f"run={folder}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout.readline, "")
        argument = next((line.strip() for line in lines if line.startswith("models.endpoints.")), None)
        assert argument, (folder / "server_small.log").read_text()[-3000:]
        yield argument
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
