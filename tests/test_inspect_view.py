"""Tests the logs of an evaluation in inspect_ai's own viewer, in a real browser."""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.helpers.fake_server import fake_server
from tests.test_principia_bench import ROWS, arguments, evaluate, play, write

pytestmark = pytest.mark.browser
_PATIENCE_S = 60


@contextmanager
def inspect_view(logs: Path) -> Iterator[str]:
    """Starts the viewer by the command of the README and returns its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    inspect = str(Path(sys.executable).with_name("inspect"))
    command = [inspect, "view", "start", "--log-dir", str(logs), "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + _PATIENCE_S
            while not _answers(url):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_the_logs_show_every_answer(tmp_path, monkeypatch):
    path = write(tmp_path / "b.jsonl", *ROWS)
    with fake_server(play) as server:
        evaluate(monkeypatch, *arguments(path, tmp_path / "run", server.url))
    with inspect_view(tmp_path / "run" / "logs") as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        page.get_by_text("principia_bench").first.click(timeout=_PATIENCE_S * 1000)
        expect(page.get_by_text("Integrate 2x.").first).to_be_visible(timeout=_PATIENCE_S * 1000)
        browser.close()
