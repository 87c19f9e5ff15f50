"""Tests ingest of a user's own texts: PDFs, rows with licences, and files that are no texts."""

from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from autodata.corpora import own, pdf
from autodata.corpora.record import Drop
from autodata.corpora.rows import BadRow, Row
from autodata.corpora.text.encodings import normalize
from autodata.recipes.corpora import OwnFilters
from tests.helpers.make_samples import SAMPLES, make_pdf


def test_the_text_of_a_pdf(tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(make_pdf(["A first line", "and a second"]))
    (row,) = own.read(tmp_path / "a.pdf", "x/a.pdf")
    assert row == Row("x/a.pdf", 1, {"text": "A first line\nand a second\n"})
    assert own.parse(row, OwnFilters(licence="CC0")).licence == "CC0"
    assert own.parse(row, OwnFilters()).id == "x/a.pdf"


def test_pdfs_that_have_no_text_to_give(tmp_path: Path, monkeypatch):
    (tmp_path / "cut.pdf").write_bytes(make_pdf(["line"] * 50)[:300])
    writer = PdfWriter(clone_from=PdfReader(SAMPLES / "own" / "page.pdf"))
    writer.encrypt("secret")
    writer.write(tmp_path / "locked.pdf")
    bad_rows = {p.name: next(iter(own.read(p, p.name))) for p in sorted(tmp_path.iterdir())}
    assert {name: row.reason for name, row in bad_rows.items()} == {
        "cut.pdf": "not a readable PDF",
        "locked.pdf": "PDF is locked with a password",
    }
    monkeypatch.setattr(pdf, "WALL_SECONDS", 0.001)
    with pytest.raises(Drop, match="too much time"):
        pdf.read_pdf(SAMPLES / "own" / "page.pdf")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 5, "text": "t", "licence": "CC0"}, ("5", "CC0")),
        ({"text": "t", "license": "MIT"}, ("a.jsonl:3", "MIT")),
        ({"text": "t"}, ("a.jsonl:3", "mine")),
    ],
)
def test_ids_and_licences(row, expected):
    record = own.parse(Row("a.jsonl", 3, row), OwnFilters(licence="mine"))
    assert (record.id, record.licence) == expected
    assert "licence" not in record.fields


@pytest.mark.parametrize(
    ("row", "filters", "reason"),
    [
        ({"text": "four"}, OwnFilters(min_chars=4, max_chars=4), None),
        ({"text": "four"}, OwnFilters(min_chars=5), "too short"),
        ({"text": "four"}, OwnFilters(max_chars=3), "too long"),
        ({"text": " \0 "}, OwnFilters(), "empty"),
        ({"id": [], "text": "t"}, OwnFilters(), "`id` is neither text nor a number"),
        ({"title": "t"}, OwnFilters(), "neither a string `text` nor the strings `problem_statement` and `answer`"),
    ],
)
def test_which_rows_are_dropped(row, filters, reason):
    if reason is None:
        assert own.parse(Row("a.jsonl", 1, row), filters).text == "four"
        return
    with pytest.raises(Drop) as raised:
        own.parse(Row("a.jsonl", 1, row), filters)
    assert raised.value.reason == reason


def test_what_cannot_be_opened_is_said(tmp_path: Path, monkeypatch):
    assert next(own.read(tmp_path / "gone.txt", "gone.txt")) == BadRow(
        "gone.txt", 1, "file cannot be read: No such file or directory"
    )
    monkeypatch.setattr(own, "MAX_TEXT_BYTES", 3)
    (tmp_path / "a.txt").write_text("four")
    assert "split it" in next(own.read(tmp_path / "a.txt", "a.txt")).reason


def test_normal_form():
    assert normalize("e\u0301\r\na\rb\x00\x85\ud800 ") == "é\na\nb…"
