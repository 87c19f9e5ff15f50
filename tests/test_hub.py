"""Tests the download from the hub, against a hub on loopback whose connections break."""

import sys
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.hf_api import RepoFile

from autodata.corpora import hub
from autodata.corpora.remote import s2_api
from tests.helpers.commands import fails
from tests.helpers.fake_hub import FakeHub, Repo, fake_hub

REPO = Path(__file__).parent.parent
NAME = "pile-of-law/pile-of-law"
FILES = {f"data/train.courtlisteneropinions.{n}.jsonl.xz": bytes([n]) * 300_000 for n in range(4)}
ENTRY = {
    "path": "data/train.tos.jsonl.xz",
    "size": 5,
    "oid": "0",
    "lfs": {"size": 5, "oid": "1" * 64, "pointerSize": 1},
}
OTHERS = {"data/train.tos.jsonl.xz": b"terms", "README.md": b"read me"}


@pytest.fixture
def server(monkeypatch):
    with fake_hub("") as server:
        server.repos["dataset", NAME] = Repo("dataset", False, FILES | OTHERS, 1)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(s2_api, "sleep", lambda seconds: None)
        yield server


@pytest.fixture
def call(monkeypatch, tmp_path):
    def go(*arguments: str) -> None:
        recipe = str(REPO / "recipes" / "ingest" / "hub_pile_of_law.yaml")
        monkeypatch.setattr(sys, "argv", ["hub", recipe, f"to={tmp_path / 'corpus'}", *arguments])
        hub.main()

    return go


def list_gets(server: FakeHub) -> list[str]:
    return sorted(r.rpartition("/")[2] for r in server.requests if r.startswith("GET") and "/resolve/" in r)


def read(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "corpus" / name).read_bytes() for name in FILES}


def test_the_files_of_the_recipe_and_no_others(server, call, tmp_path, capsys):
    call()
    assert read(tmp_path) == FILES
    assert not (tmp_path / "corpus" / "README.md").exists()
    assert "files: 4, still to download: 4 (1,200,000 bytes)" in capsys.readouterr().out
    server.requests.clear()
    call()
    assert list_gets(server) == []
    assert "still to download: 0" in capsys.readouterr().out


def test_a_download_goes_on_where_the_connection_broke(server, call, tmp_path):
    name = "data/train.courtlisteneropinions.2.jsonl.xz"
    server.breaks = {name: 100_000}  # once, after so many bytes
    call("workers=1")
    assert read(tmp_path) == FILES
    assert server.ranges == ["bytes=100000-"]


def test_the_next_command_goes_on_where_the_last_one_ended(server, call, tmp_path):
    server.breaks, server.falls = {"data/train.courtlisteneropinions.2.jsonl.xz": 100_000}, True
    with fails("the server sent no data"):
        call("workers=1", "retries=1")
    server.down = False
    call("workers=1")
    assert read(tmp_path) == FILES
    assert server.ranges == ["bytes=100000-", "bytes=100000-"]  # the first one was answered with 503


def test_bytes_that_are_not_those_of_the_list_are_deleted(server, call, tmp_path, monkeypatch):
    name = "data/train.tos.jsonl.xz"
    monkeypatch.setattr(hub.HfApi, "list_repo_tree", lambda *_, **__: [RepoFile(**ENTRY)])
    with fails("not the file that the hub lists, so deleted"):
        call(f"files=['{name}']")
    assert not (tmp_path / "corpus" / name).exists()


@pytest.mark.parametrize("name", ["../data/x.xz", "/etc/x.xz", "data/../../x.xz", "data/x.xz.part"])
def test_a_name_that_leads_elsewhere_is_refused(server, call, monkeypatch, name):
    monkeypatch.setattr(hub.HfApi, "list_repo_tree", lambda *_, **__: [RepoFile(**ENTRY | {"path": name})])
    with fails("cannot be used as a file name"):
        call("files=['*']")


def test_a_file_of_another_length_is_fetched_again(server, call, tmp_path):
    call()
    name = "data/train.courtlisteneropinions.1.jsonl.xz"
    (tmp_path / "corpus" / name).write_bytes(b"cut off")
    server.requests.clear()
    call()
    assert read(tmp_path) == FILES
    assert list_gets(server) == [name.rpartition("/")[2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["files=['data/train.nothing.*']"], r"no file of pile-of-law/pile-of-law matches data/train.nothing"),
        (["files=[]"], "name one or more patterns"),
        (["workers=0"], "workers=0: must be 1 or more"),
        (["retries=-1"], "retries=-1: must be 0 or more"),
        (["timeout_s=0"], "timeout_s=0.0: must be above 0"),
        (["repo=nobody/nothing"], "repo=nobody/nothing: RepositoryNotFoundError; check the name, or set HF_TOKEN"),
    ],
)
def test_errors_name_what_to_change(server, call, arguments, message):
    with fails(message):
        call(*arguments)


def test_a_hub_that_is_down_is_an_error(server, call):
    server.down = True
    with fails("the hub sent no list of files"):
        call()


def test_offline_is_named(server, call, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with fails("HF_HUB_OFFLINE is set"):
        call()


def test_files_that_cannot_fit_are_refused_before_the_first_byte(server, call, monkeypatch):
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 5})())
    with fails("1,200,000 bytes to download and 5 free"):
        call()
    assert list_gets(server) == []
