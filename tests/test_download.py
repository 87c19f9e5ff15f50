"""Tests the downloader against a real HTTP server on loopback that fails in the ways such servers do."""

import gzip
import hashlib
import json
import logging
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from autodata.corpora import download
from autodata.corpora.remote import s2_api
from tests.helpers.commands import fails

REPO = Path(__file__).parent.parent
KEY = "k3y-that-nobody-may-see"
CONTENT = gzip.compress(b"a row\n" * 200_000, 0)  # 1.2 MB: more than one chunk
TLS = ssl.create_default_context()  # created once, because it is slow and nothing here is encrypted


class World:
    """The server's files by name, and a script of status codes or faults for each path."""

    def __init__(self) -> None:
        self.files = {"part_0.gz": CONTENT, "part_1.gz": gzip.compress(b"another\n")}
        self.faults: dict[str, list[object]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.etags: dict[str, str] = {}
        self.listings = 0
        self.url = ""

    def etag(self, name: str) -> str:
        return self.etags.get(name) or f'"{hashlib.md5(self.files[name]).hexdigest()}"'

    def paths(self, beginning: str) -> list[str]:
        return [path for path, _ in self.seen if path.startswith(beginning)]


class Handler(BaseHTTPRequestHandler):
    world: World

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.world.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        fault = next(iter(self.world.faults.get(path, [])), None)
        if fault is not None:
            self.world.faults[path].pop(0)
        if isinstance(fault, int):
            self._answer(fault, b"", {"retry-after": "123"} if fault == 429 else {})
        elif path.startswith("/files/"):
            self._send_file(path.removeprefix("/files/"), fault)
        elif "/dataset/" in path:
            self.world.listings += 1
            urls = [f"{self.world.url}/files/{n}?sig={self.world.listings}" for n in self.world.files]
            self._answer(200, json.dumps({"name": "s2orc_v2", "files": urls}).encode(), {})
        else:
            self._answer(200, json.dumps({"release_id": "2026-09-17"}).encode(), {})

    def _send_file(self, name: str, fault: object) -> None:
        data, etag = self.world.files[name], self.world.etag(name)
        if fault == "damaged":
            data = data[:-1] + b"?"
        byte_range = self.headers.get("range")
        start = int(byte_range[6:-1]) if byte_range and self.headers.get("if-range") == etag else 0
        if start >= len(data):
            self._answer(416, b"", {"content-range": f"bytes */{len(data)}"})
            return
        headers = {"etag": etag}
        if start:
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._answer(206 if start else 200, data[start:], headers, cut=fault == "cut")

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for key, value in (headers | {"content-length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(world: World) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"world": world}))
    world.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def world() -> Iterator[World]:
    script = World()
    with serving(script):
        yield script


@pytest.fixture
def fetch(world: World, tmp_path: Path, monkeypatch, capsys, caplog):
    """fetch(key=value…) returns the folder of the files; it checks that no output, log or file holds the key."""
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: TLS)
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="httpx")  # restores the value that the command sets
    monkeypatch.setattr(s2_api, "sleep", lambda seconds: waits.append(seconds))
    monkeypatch.setenv("S2_API_KEY", KEY)
    waits: list[float] = []

    def go(*arguments: str) -> Path:
        recipe = str(REPO / "recipes" / "ingest" / "download_s2orc.yaml")
        values = [f"to={tmp_path}", "datasets=[s2orc_v2]", f"base_url={world.url}/v1", "retries=2", *arguments]
        monkeypatch.setattr(sys, "argv", ["download", recipe, *values])
        try:
            download.main()
        finally:
            printed = capsys.readouterr()
            go.printed = printed.out
            shown = printed.out + printed.err + caplog.text
            shown += "".join(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("*") if p.is_file())
            assert KEY not in shown
            assert "sig=" not in shown
        return tmp_path / "2026-09-17" / "s2orc_v2"

    go.waits, go.to = waits, tmp_path
    return go


def check(folder: Path, world: World) -> None:
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.name != download.LIST} == world.files
    listed = json.loads((folder / download.LIST).read_bytes())
    assert listed == [
        {"name": n, "bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in sorted(world.files.items())
    ]


def test_all_files_and_nothing_a_second_time(world, fetch):
    check(fetch(), world)
    assert all(headers.get("x-api-key") == KEY for path, headers in world.seen if path.startswith("/v1"))
    assert not any(KEY in str(headers) for path, headers in world.seen if path.startswith("/files"))
    count = len(world.paths("/files"))
    check(fetch(), world)
    assert len(world.paths("/files")) == count == 2
    assert fetch.waits  # no more than one request a second to the API


def test_a_connection_that_breaks_goes_on_where_it_was(world, fetch):
    world.faults["/files/part_0.gz"] = ["cut"]
    check(fetch("files=2"), world)
    first, second = (h for p, h in world.seen if p.startswith("/files/part_0"))
    assert "range" not in first
    assert 0 < int(second["range"][6:-1]) < len(CONTENT)
    assert second["if-range"] == world.etag("part_0.gz")


def test_a_command_that_was_killed_goes_on(world, fetch, tmp_path):
    folder = tmp_path / "2026-09-17" / "s2orc_v2"
    folder.mkdir(parents=True)
    (folder / "part_0.gz.part").write_bytes(CONTENT[:700_000])
    (folder / "part_0.gz.part.tag").write_text(world.etag("part_0.gz"))
    check(fetch(), world)
    assert next(h for p, h in world.seen if p.startswith("/files/part_0"))["range"] == "bytes=700000-"


@pytest.mark.parametrize("part", [CONTENT, CONTENT + b"more"])
def test_a_part_that_is_whole_or_too_long(world, fetch, tmp_path, part):
    folder = tmp_path / "2026-09-17" / "s2orc_v2"
    folder.mkdir(parents=True)
    (folder / "part_0.gz.part").write_bytes(part)
    (folder / "part_0.gz.part.tag").write_text(world.etag("part_0.gz"))
    check(fetch(), world)


def test_a_file_that_changed_starts_anew(world, fetch, tmp_path):
    folder = tmp_path / "2026-09-17" / "s2orc_v2"
    folder.mkdir(parents=True)
    (folder / "part_0.gz.part").write_bytes(b"of another file")
    (folder / "part_0.gz.part.tag").write_text('"another"')
    check(fetch(), world)


def test_an_address_that_expired_is_asked_for_again(world, fetch):
    world.faults["/files/part_1.gz"] = [403]
    check(fetch(), world)
    assert world.listings == 2
    assert world.paths("/files/part_1.gz")[-1].endswith("sig=2")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(world, fetch, status):
    world.faults["/v1/release/latest"] = [status, status]
    world.faults["/files/part_0.gz"] = [status]
    check(fetch(), world)
    assert sum(waited >= 123 for waited in fetch.waits) == (3 if status == 429 else 0)  # as Retry-After says


@pytest.mark.parametrize(
    ("etag", "content", "message"),
    [
        ('"' + "0" * 32 + '"', CONTENT, "MD5"),
        ('"in-parts-2"', CONTENT[:-8] + b"\0" * 8, "incomplete or broken gzip file"),
        ('"in-parts-2"', CONTENT[:-8], "incomplete or broken gzip file"),
    ],
)
def test_a_file_that_stays_damaged_is_named_and_not_kept(world, fetch, etag, content, message):
    world.files, world.etags = {"part_0.gz": content}, {"part_0.gz": etag}
    with fails(rf"part_0\.gz: damaged at every download.*{message}"):
        fetch()
    assert len(world.paths("/files")) == 2
    assert not (fetch.to / "2026-09-17" / "s2orc_v2" / "part_0.gz").exists()


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"/v1/release/2026-09-17/dataset/s2orc_v2": [401]}, "set S2_API_KEY to your key"),
        ({"/v1/release/2026-09-17/dataset/s2orc_v2": [404]}, "check release and datasets"),
        ({"/v1/release/latest": [500, 500, 500]}, "HTTP 500, attempts: 3"),
        ({"/files/part_0.gz": [403, 403, 403]}, "refuses each new address"),
        ({"/files/part_0.gz": [410]}, "HTTP 410"),
        ({"/files/part_0.gz": ["cut"] * 3}, "attempts: 3"),
    ],
)
def test_errors_say_what_to_change(world, fetch, faults, message):
    world.faults = faults
    with fails(message):
        fetch()


@pytest.mark.parametrize("name", ["..", ".hidden", "a%2F..%2F..%2Fb%00", "%2e%2e"])
def test_names_that_would_lead_elsewhere(world, fetch, name):
    world.files = {name: b"x"}
    with fails("cannot be used as a file name"):
        fetch()


@pytest.mark.parametrize("name", ["download.json", "a.gz.part", "a.gz.part.tag", "download.json.new"])
def test_names_that_are_ours(world, fetch, name):
    world.files[name] = b"x"
    with fails("cannot be stored"):
        fetch()
    assert not world.paths("/files")


def test_two_files_of_one_name(world, fetch):
    world.files = {"a/x.gz": CONTENT, "b/x.gz": CONTENT}
    with fails(r"'x\.gz' 2 times"):
        fetch()
    assert not world.paths("/files")


def test_without_a_key(world, fetch, monkeypatch):
    monkeypatch.delenv("S2_API_KEY")
    world.faults["/v1/release/2026-09-17/dataset/s2orc_v2"] = [401]
    with fails("set S2_API_KEY"):
        fetch()
    assert not any("x-api-key" in headers for _, headers in world.seen)


def test_a_key_with_its_line_end(world, fetch, monkeypatch):
    monkeypatch.setenv("S2_API_KEY", f"{KEY}\r\n")
    check(fetch(), world)


def test_a_key_that_is_none(world, fetch, monkeypatch):
    monkeypatch.setenv("S2_API_KEY", f"{KEY}\n{KEY}")
    with fails("S2_API_KEY: contains characters"):
        fetch()
    assert not world.seen


def test_a_part_of_unknown_origin_is_not_used(world, fetch, tmp_path):
    folder = tmp_path / "2026-09-17" / "s2orc_v2"
    folder.mkdir(parents=True)
    (folder / "part_0.gz.part").write_bytes(b"of who knows what")
    check(fetch(), world)
    assert "range" not in next(h for p, h in world.seen if p.startswith("/files/part_0"))


def test_a_file_damaged_once_is_fetched_again(world, fetch):
    world.faults["/files/part_0.gz"] = ["damaged"]
    check(fetch(), world)
    assert len(world.paths("/files/part_0.gz")) == 2


def test_only_the_first_files(world, fetch):
    folder = fetch("files=1")
    assert sorted(p.name for p in folder.iterdir()) == [download.LIST, "part_0.gz"]
    assert "files: 1, still to download: 1" in fetch.printed


def test_a_disk_without_room(fetch, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with fails(r"part_0\.gz: no room for the .* bytes of this file; free space"):
        fetch()


def test_a_list_that_cannot_be_read(fetch, tmp_path):
    folder = tmp_path / "2026-09-17" / "s2orc_v2"
    folder.mkdir(parents=True)
    (folder / download.LIST).write_text("[{")
    with fails("cannot be read; delete it"):
        fetch()


@pytest.mark.parametrize(
    "argument", ["files=0", "files=-1", "retries=-1", "requests_per_second=0", "timeout_s=0", "datasets=[]",
                 "base_url=api.example", "base_url='http://[::1/v1'"],
)  # fmt: skip
def test_values_that_cannot_be(world, fetch, argument):
    with fails(argument.partition("=")[0]):
        fetch(argument)
    assert not world.seen


def test_nobody_listens(fetch):
    with fails("ConnectError, attempts: 3"):
        fetch("base_url=http://127.0.0.1:9")
