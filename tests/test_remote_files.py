"""Tests corpora at addresses that fsspec reads, with file systems that need no network."""

import gzip
import sys

import fsspec
import pytest

from autodata.config import RecipeError
from autodata.corpora.documents import find_files
from autodata.corpora.remote import files
from autodata.corpora.remote.files import Remote, list_files
from autodata.corpora.rows import BadRow, read_rows
from autodata.run.records import RunError
from tests.helpers.make_samples import SAMPLES
from tests.test_ingest import SHORT, read_table, run, tokenizer

pytestmark = pytest.mark.slow

__all__ = ["run", "tokenizer"]  # fixtures


@pytest.fixture
def store():
    """A file system in memory, with the samples."""
    memory = fsspec.filesystem("memory")
    for path in SAMPLES.rglob("*"):
        if path.is_file():
            memory.pipe(f"/corpora/{path.relative_to(SAMPLES).as_posix()}", path.read_bytes())
    yield memory
    memory.rm("/corpora", recursive=True)


def test_a_corpus_in_a_store_gives_the_same_documents(run, store, tmp_path):
    run("s2orc", SAMPLES / "s2orc", f"papers={SAMPLES / 'papers'}", SHORT)
    manifest = run(
        "s2orc", "memory://corpora/s2orc", "papers=memory://corpora/papers", SHORT, f"run={tmp_path / 'remote'}"
    )
    assert manifest["kept"] == 11
    assert read_table(tmp_path / "remote" / "documents") == read_table(tmp_path / "run" / "documents")


def test_texts_pdfs_and_parquet_files_in_a_store(run, store, tmp_path):
    run("own", SAMPLES / "own")
    run("own", "memory://corpora/own", f"run={tmp_path / 'remote'}")
    assert read_table(tmp_path / "remote" / "documents") == read_table(tmp_path / "run" / "documents")


def test_each_file_behind_links_is_listed_once_under_a_visible_name(tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root / "real", other / "y"):
        folder.mkdir(parents=True)
    for file in (root / "real" / "0.txt", other / "1.txt", other / "y" / "2.txt"):
        file.write_text("text")
    (root / "a").symlink_to(other / "y")
    (root / "b").symlink_to(other)
    (root / ".old").symlink_to(other)
    (root / "also_real").symlink_to(root / "real")
    (other / "y" / "loop").symlink_to(other)
    (root / "above").symlink_to(tmp_path)
    assert list(list_files(str(root), "path")) == ["a/2.txt", "b/1.txt", "real/0.txt"]
    (root / "a").unlink()
    assert list(list_files(str(root), "path")) == ["b/1.txt", "b/y/2.txt", "real/0.txt"]
    (root / "b").unlink()  # only a hidden link is left
    assert list(list_files(str(root), "path")) == ["real/0.txt"]
    (root / ".kept").mkdir()
    (root / ".kept" / "3.txt").write_text("text")
    (root / "shown").symlink_to(".kept")
    assert list(list_files(str(root), "path")) == ["real/0.txt", "shown/3.txt"]


def test_files_are_listed_without_hidden_ones_and_with_their_version(store, tmp_path):
    store.pipe("/corpora/s2orc/.cache/x.gz", b"")
    listed = list_files("memory://corpora/s2orc/", "path")
    assert list(listed) == [
        "pes2o/pes2o_v3-0000.json.gz",
        "s2orc/20230905_0000.gz",
        "s2orc_2020/pdf_parses_0.jsonl.gz",
        "s2orc_v2/20260917_0000.gz",
    ]
    before = listed["s2orc/20230905_0000.gz"]
    store.pipe("/corpora/s2orc/s2orc/20230905_0000.gz", b"another")
    assert list_files("memory://corpora/s2orc", "path")["s2orc/20230905_0000.gz"] != before
    (tmp_path / "a.gz").write_bytes(b"x")
    here, by_address = (list_files(folder, "path") for folder in (str(tmp_path), f"file://{tmp_path}"))
    assert here["a.gz"][0] == by_address["a.gz"][0] == 1


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere/at-all", "no file there"),
        ("nonsense://bucket/x", "cannot be listed"),
    ],
)
def test_an_address_without_files_is_named(address, message):
    with pytest.raises(RecipeError, match=f"papers={address}.*{message}"):
        list_files(address, "papers")


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(RecipeError, match=r"path=s3://bucket/x: .*s3fs.*install it"):
        list_files("s3://bucket/x", "path")


@pytest.mark.parametrize(("kind", "advice"), [("s3", "AWS_ACCESS_KEY_ID"), ("hf", "HF_TOKEN")])
def test_missing_credentials_are_named(monkeypatch, kind, advice):
    def refuse(address: str):
        raise PermissionError("Forbidden\nrequest id 1")

    monkeypatch.setattr(files.fsspec, "url_to_fs", refuse)
    with pytest.raises(RecipeError, match=rf"cannot be listed \(PermissionError: Forbidden\); .*{advice}"):
        list_files(f"{kind}://bucket/x", "path")


class BreaksOff:
    """A remote file whose connection breaks after some bytes."""

    def __init__(self, data: bytes):
        self.left = data

    def open(self) -> "BreaksOff":
        return self

    def read(self, count: int) -> bytes:
        if not self.left:
            raise TimeoutError("no bytes for 60 s")
        data, self.left = self.left[:count], self.left[count:]
        return data

    def close(self) -> None:
        pass


def test_a_connection_that_breaks_is_an_error_and_no_damaged_file(monkeypatch):
    packed = gzip.compress(b'{"a": 1}\n' * 5)
    monkeypatch.setattr(files.fsspec, "open", lambda url, mode: BreaksOff(packed[:-8]))
    with pytest.raises(RunError, match=r"s3://b/x.jsonl.gz: cannot be read \(TimeoutError.*run the same"):
        list(read_rows(Remote("s3://b/x.jsonl.gz")))


def test_a_damaged_file_in_a_store_loses_only_what_is_damaged(store):
    store.pipe("/corpora/cut.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 5)[:-8])
    *rows, last = read_rows(Remote("memory://corpora/cut.jsonl.gz"))
    assert last == BadRow("cut.jsonl.gz", len(rows) + 1, "file is cut off or damaged")


def test_folders_behind_links_are_listed_once(tmp_path):
    corpus, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    for folder in (corpus / "below", elsewhere):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text("x")
    links = {"linked": elsewhere, "again": elsewhere, "loop": corpus, "up": tmp_path, "inside": corpus / "below"}
    for name, target in links.items():
        (corpus / name).symlink_to(target)
    (elsewhere / "back").symlink_to(corpus)
    assert list(list_files(str(corpus), "path")) == ["again/a.txt", "below/a.txt"]
    assert [name for _, name in find_files(corpus)] == ["again/a.txt", "below/a.txt"]
