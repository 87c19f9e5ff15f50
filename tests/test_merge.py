"""Tests that merged shards have the bytes of a whole run, or that the error names the problem."""

import json
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from autodata import generate, merge
from autodata.config import load
from autodata.corpora.documents import DocumentsError, take_shard
from autodata.recipes.generation import GenerateRecipe
from autodata.serving.journal import read_replies
from autodata.types import Document
from tests.helpers.commands import find_failure
from tests.helpers.fake_server import fake_server, play_skills
from tests.test_generate import arguments, write_documents

pytestmark = pytest.mark.slow

COUNT = 3


def call(module, args: list[str]) -> str:
    """Run a command in this process and return its output and its error."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setattr(sys, "argv", ["command", *args])
        failure = find_failure(module.main)
    return printed.getvalue() + failure


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Make a folder with a whole run and the shards 1/3, 2/3 and 3/3 of the same run."""
    folder = tmp_path_factory.mktemp("made")
    write_documents(folder / "docs", 7)
    with fake_server(play_skills) as server:
        call(generate, arguments(folder, server.url, run="whole"))
        request_count = len(server.requests)
        for number in range(1, COUNT + 1):
            call(generate, arguments(folder, server.url, f"documents.shard={number}/{COUNT}", run="parts"))
        assert len(server.requests) == 2 * request_count + COUNT - 1  # each command probes the server once
    return folder


@pytest.fixture
def folder(runs, tmp_path) -> Path:
    return shutil.copytree(runs, tmp_path / "made")


def join(folder: Path, *more: str) -> str:
    return call(merge, arguments(folder, "http://127.0.0.1:9/v1", *more, run="parts"))


def read(folder: Path) -> tuple[bytes, dict]:
    return (folder / "trajectories.jsonl").read_bytes(), json.loads((folder / "manifest.json").read_text())


def test_merged_shards_are_the_run_made_whole_and_are_counted_once(folder):
    printed = join(folder)
    whole, merged = read(folder / "whole"), read(folder / "parts")
    assert merged[0] == whole[0]
    assert [json.loads(line)["document_id"] for line in merged[0].splitlines()] == [f"doc{i}.txt" for i in range(7)]
    for key in ("inputs", "outputs", "counts", "summary", "models", "quarantined"):
        assert merged[1][key] == whole[1][key]
    assert {role: cost["calls"] for role, cost in merged[1]["ledger"].items()} == {
        role: cost["calls"] for role, cost in whole[1]["ledger"].items()
    }
    assert f"{whole[1]['counts']['calls']} calls" in printed
    contents = [
        sorted((r.content, r.model) for r, _ in read_replies(folder / run / "journal.sqlite"))
        for run in ("whole", "parts")
    ]
    assert contents[0] == contents[1]
    assert "up to date" in join(folder)


def test_a_merged_run_is_what_generate_would_have_made(folder):
    join(folder)
    with fake_server(play_skills) as server:
        assert "up to date" in call(generate, arguments(folder, server.url, run="parts"))
        assert not server.requests


def test_a_missing_shard_is_named(folder):
    (folder / "parts" / "shards" / f"2_of_{COUNT}").rename(folder / "away")
    assert f"no shard 2/{COUNT}" in join(folder)
    assert not (folder / "parts" / "trajectories.jsonl").exists()


def test_an_unfinished_shard_is_named(folder):
    path = folder / "parts" / "shards" / f"2_of_{COUNT}" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"finished": None}))
    assert f"2_of_{COUNT}: not finished" in join(folder)


def test_shards_of_other_inputs_are_refused(folder):
    printed = join(folder, "seed=9")
    assert f"1_of_{COUNT} was made from other inputs" in printed
    assert "seed: 0 → 9" in printed


def test_a_corpus_that_changed_is_refused(folder):
    (folder / "docs" / "doc0.txt").write_text("Something else stands here now, and nobody was asked about it.")
    assert "corpus:" in join(folder)


def test_a_shard_that_was_edited_is_refused(folder):
    path = folder / "parts" / "shards" / f"1_of_{COUNT}" / "trajectories.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert "this file changed after the shard was finished" in join(folder)


def test_shards_of_two_divisions_are_not_mixed(folder):
    (folder / "parts" / "shards" / "1_of_2").mkdir()
    assert f"shards of [2, {COUNT}] parts are in one folder" in join(folder)


def test_where_there_are_no_shards_the_message_says_how_to_make_them(tmp_path):
    write_documents(tmp_path / "docs")
    assert "documents.shard=1/n" in join(tmp_path)
    assert "leave it out" in join(tmp_path, "documents.shard=1/2")


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_shards_hold_every_document_once(count):
    documents = [Document(str(i), "", "") for i in range(7)]
    parts = [take_shard(documents, f"{i}/{count}") for i in range(1, count + 1)]
    assert sorted(d.id for part in parts for d in part) == [d.id for d in documents]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "8/8", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_what_is_no_shard_is_refused(shard):
    with pytest.raises(DocumentsError, match="write it as i/n"):
        take_shard([Document(str(i), "", "") for i in range(7)], shard)


def test_a_shard_has_a_folder_of_its_own_that_its_own_recipe_names_as_well():
    common = ["recipes/demo/generate.yaml", "documents.shard=3/16"]
    once = load(GenerateRecipe, [*common, "run=runs/x"])
    assert once.run == "runs/x/shards/3_of_16"
    assert load(GenerateRecipe, [*common, f"run={once.run}"]).run == once.run
