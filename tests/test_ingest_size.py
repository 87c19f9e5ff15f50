"""Tests what large corpora need: pieces instead of files, rows that are read once, and a join in parallel."""

import datetime
import os
from pathlib import Path

import pytest
from filelock import FileLock

from autodata.corpora import ingest, pieces, pipeline, sources
from autodata.corpora.record import Drop
from autodata.corpora.rows import Row
from autodata.run.folder import read_manifest
from autodata.run.records import RunError
from tests.helpers.commands import fails
from tests.helpers.make_samples import SAMPLES, make_papers_row, pack
from tests.test_ingest import SHORT, read_table, run, tokenizer

pytestmark = pytest.mark.slow

__all__ = ["run", "tokenizer"]  # fixtures
PAPERS = f"papers={SAMPLES / 'papers'}"


def read_result(folder: Path) -> tuple[list[dict], list[dict], str]:
    """Return the documents and the dropped rows in order, and the report."""
    documents = [row for shard in sorted((folder / "documents").iterdir()) for row in read_table(shard)]
    return documents, read_table(folder / "dropped"), (folder / "report.md").read_text()


@pytest.mark.parametrize("source", ["s2orc", "pile_of_law", "own"])
def test_the_number_of_tasks_changes_no_byte_of_a_document(run, tmp_path, monkeypatch, source):
    more = (PAPERS, SHORT) if source == "s2orc" else ()
    run(source, SAMPLES / source, *more)
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)  # every row is a piece
    monkeypatch.setattr(sources, "_TASK_FILES", 1)
    run(source, SAMPLES / source, f"run={tmp_path / 'many'}", *more)
    documents, dropped, report = read_result(tmp_path / "many")
    expected, expected_dropped, expected_report = read_result(tmp_path / "run")
    assert documents == expected
    assert sorted(dropped, key=str) == sorted(expected_dropped, key=str)
    assert report == expected_report
    assert len(list((tmp_path / "many" / "documents").iterdir())) == len(documents)


def forbid(*_: object) -> None:
    raise AssertionError("the corpus was read again")


def test_a_changed_filter_reads_no_file_again(run, tmp_path, monkeypatch):
    keep = f"keep_rows={tmp_path / 'rows'}"
    run("s2orc", SAMPLES / "s2orc", PAPERS, SHORT, keep)
    monkeypatch.setattr(pipeline.Source, "read", forbid)
    monkeypatch.setattr(pipeline, "read_values", forbid)
    changed = ("s2orc.licences=[CC]", "near_duplicates=false", "quality.languages=[en]")
    run("s2orc", SAMPLES / "s2orc", PAPERS, SHORT, keep, f"run={tmp_path / 'changed'}", *changed)
    manifest = read_manifest(tmp_path / "changed")
    assert manifest["kept"] == 4
    assert manifest["dropped"]["licence not in the list"] == 7
    assert manifest["dropped"]["not JSON"] == 1  # dropped when the rows were read
    assert len(manifest["sources"]) == 4


@pytest.mark.parametrize("change", ["one_in=2", "s2orc.min_year=2021", "another file"])
def test_a_change_of_what_selects_rows_reads_the_corpus(run, tmp_path, monkeypatch, change):
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "a.jsonl").write_bytes(pack([make_papers_row(n) for n in range(1, 15)]))
    arguments = ["s2orc", SAMPLES / "s2orc", SHORT, f"papers={papers}", f"keep_rows={tmp_path / 'rows'}"]
    run(*arguments)
    monkeypatch.setattr(pipeline.Source, "read", forbid)
    if change == "another file":
        (papers / "b.jsonl").write_bytes(pack([make_papers_row(99)]))
    else:
        arguments.append(change)
    with pytest.raises(AssertionError, match="read again"):
        run(*arguments, f"run={tmp_path / 'changed'}")


def test_the_join_goes_on_where_it_was_stopped(run, tmp_path, monkeypatch):
    papers = tmp_path / "papers"
    papers.mkdir()
    for start in (1, 6, 11):
        rows = [make_papers_row(n) for n in range(start, start + 5)] + [make_papers_row(1, 2030)]
        (papers / f"{start:02d}.jsonl").write_bytes(pack(rows))
    monkeypatch.setattr(sources, "_TASK_FILES", 1)
    read, stop = [], ["11.jsonl"]

    def read_values(folder, names):
        read.extend(names)
        if names == stop:
            raise OSError(28, "No space left on device")
        return sources.read_values(folder, names)

    monkeypatch.setattr(pipeline, "read_values", read_values)
    arguments = ("s2orc", SAMPLES / "s2orc", f"papers={papers}", SHORT)
    with fails("No space left on device"):
        run(*arguments)
    stop.clear()
    manifest = run(*arguments)
    assert read == ["01.jsonl", "06.jsonl", "11.jsonl", "11.jsonl"]
    assert manifest["papers"] == {"rows": 18, "without corpusid": 0, "eligible": 15, "duplicates": 3, "damaged": 0}
    documents = {row["id"]: row["fields"] for row in read_table(tmp_path / "run" / "documents")}
    assert '"year": 2023' in documents["s2orc-1"]  # the first row of a paper counts, whatever task reads it


def test_a_corpus_that_changes_after_a_stop_is_read_anew(run, tmp_path, monkeypatch):
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("the first text")
    publish = ingest._publish
    monkeypatch.setattr(ingest, "_publish", forbid)  # all stages end, and then the command is stopped
    with pytest.raises(AssertionError):
        run("own", texts)
    (texts / "a.txt").write_text("the other text")  # as long as before
    os.utime(texts / "a.txt", (1, 1))
    monkeypatch.setattr(ingest, "_publish", publish)
    run("own", texts)
    assert [row["text"] for row in read_table(tmp_path / "run" / "documents")] == ["the other text"]


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ({"a": "\ud800 half a pair"}, None),
        ({"n": 2**80}, {"n": str(2**80)}),  # an integer that JSON readers round keeps its digits
        ({"nested": [{"b": None}], "ü": 1.5}, None),
    ],
)
def test_a_row_is_kept_as_it_is(tmp_path, rows, kept):
    with pieces.PieceWriter(tmp_path) as writer:
        writer.keep(Row("a/b.jsonl", 7, rows, "latin-1"), 3)
    (piece,) = pieces.list_pieces(tmp_path)
    (row,) = pieces.read_piece(piece)
    assert (row.file, row.line, row.encoding) == ("a/b.jsonl", 7, "latin-1")
    assert row.value == (kept or rows)


def test_what_json_does_not_have_is_null_and_depth_has_a_limit(tmp_path):
    nested: dict = {}
    for _ in range(600):
        nested = {"a": nested}
    with pieces.PieceWriter(tmp_path) as writer:
        writer.keep(Row("a", 1, {"when": datetime.datetime(2020, 1, 1), "raw": b"x", "nan": float("nan"), "n": 1}), 0)
        with pytest.raises(Drop, match="nested too deeply"):
            writer.keep(Row("a", 2, nested), 0)
    (row,) = pieces.read_piece(pieces.list_pieces(tmp_path)[0])
    assert row.value == {"when": None, "raw": None, "nan": None, "n": 1}


def test_pieces_come_in_the_order_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 1)
    for rank in (1, 0):
        with pieces.PieceWriter(tmp_path) as writer:
            for line in range(12):
                writer.keep(Row("a", line, {"rank": rank}), rank)
    rows = [row for piece in pieces.list_pieces(tmp_path) for row in pieces.read_piece(piece)]
    assert [(row.value["rank"], row.line) for row in rows] == [(rank, line) for rank in (0, 1) for line in range(12)]


def test_a_damaged_piece_names_what_to_delete(tmp_path):
    with pieces.PieceWriter(tmp_path) as writer:
        writer.keep(Row("a", 1, {"text": "words " * 1_000}), 0)
    (piece,) = pieces.list_pieces(tmp_path)
    piece.write_bytes(piece.read_bytes()[:-4])
    with pytest.raises(RunError, match=f"delete the folder {tmp_path}"):
        list(pieces.read_piece(piece))


def test_two_commands_never_write_the_same_rows(tmp_path):
    (tmp_path / "rows").mkdir()
    lock = FileLock(tmp_path / "rows" / ".lock")
    with lock, pytest.raises(RunError, match="another command writes"), pieces.hold(tmp_path / "rows", {}):
        pass
