"""Tests ingest of a user's own texts: PDFs, rows with licences, and files that are no texts."""

import gzip
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from autodata.corpora import own
from autodata.corpora.record import Drop
from autodata.corpora.rows import BadRow, Row
from autodata.corpora.text import pdf
from autodata.corpora.text.encodings import normalize
from autodata.corpora.text.layout import HEADS, WORDS
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


CC = {"license": "CC-BY-4.0"}


@pytest.mark.parametrize(
    ("row", "licence"),
    [
        ({"metadata": CC}, "CC-BY-4.0"),
        ({"meta": {"licence": "MIT"}}, "MIT"),
        ({"metadata": '{"license": "CC0"}'}, "CC0"),
        ({"license": ["MIT", "Apache-2.0"]}, "MIT; Apache-2.0"),
        ({"license": {"name": "MIT"}}, "MIT"),
        ({"license": "MIT", "metadata": CC}, "MIT"),
        ({"license": None, "metadata": CC}, "CC-BY-4.0"),
        ({"license": " ", "metadata": {"year": 2024}}, "mine"),
        ({"metadata": "{broken"}, "mine"),
    ],
)
def test_a_licence_is_found_where_records_have_it(row, licence):
    assert own.parse(Row("a.jsonl", 1, {"text": "t"} | row), OwnFilters(licence="mine")).licence == licence


def test_the_columns_of_text_id_and_licence_can_be_named():
    row = Row("a.jsonl", 1, {"doc": {"body": "words", "key": 7}, "text": "no", "rights": "CC0", "a.b": "with a dot"})
    columns = OwnFilters(text_column="doc.body", id_column="doc.key", licence_column="rights")
    record = own.parse(row, columns)
    assert (record.id, record.text, record.licence) == ("7", "words", "CC0")
    assert own.parse(row, OwnFilters(text_column="a.b")).text == "with a dot"
    with pytest.raises(Drop, match="no string `title`"):
        own.parse(row, OwnFilters(text_column="title"))


@pytest.mark.parametrize(("identity", "expected"), [(None, "a.jsonl:1"), (7.0, "7"), ("x\x00y", "xy"), ("ﬁ", "fi")])
def test_ids_of_any_kind(identity, expected):
    assert own.parse(Row("a.jsonl", 1, {"id": identity, "text": "t"}), OwnFilters()).id == expected


def test_a_parsed_paper_is_a_text():
    row = {"paper_id": "0a1b", "metadata": {"title": "On Caches"}, "body_text": [{"section": "One", "text": "Words."}]}
    assert own.parse(Row("a.json", 1, row), OwnFilters()).text == "# On Caches\n\n## One\n\nWords."


PAGE = """<!doctype html><html><head><title>T</title><style>p {}</style></head><body><nav>Menu</nav>
<h1>Caches</h1><p>First   line<br>second &amp; more.</p><!-- no --><ul><li>one</li><li>two</li></ul>
<pre>a
  b</pre><script>x()</script></body></html>"""


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("a.html", PAGE.encode(), "# Caches\n\nFirst line\nsecond & more.\n\n- one\n\n- two\n\na\n  b"),
        ("u.htm", '<meta charset="utf-16"><p>Größe 10<sup>6</sup>.<sup>1</sup></p>'.encode(), "Größe 10^6.[1]"),
        ("b.htm", '<meta charset="koi8-r"><p>кэш</p>'.encode("koi8-r"), "кэш"),
        ("c.rst", b"Title\n=====", "Title\n====="),
        ("d.tex", rb"\section{A}", r"\section{A}"),
        ("README", b"read me", "read me"),
        ("e.txt.gz", gzip.compress(b"packed", mtime=0), "packed"),
        ("f.MD", b"# A", "# A"),
        ("g.txt", b"the court\x92s fac-\ntors", "the court’s factors"),
        ("h.txt", "UTF-16 too".encode("utf-16"), "UTF-16 too"),
    ],
)
def test_texts_of_every_kind(tmp_path: Path, name, data, text):
    assert own.can_read(name)
    (tmp_path / name).write_bytes(data)
    (row,) = own.read(tmp_path / name, name)
    record = own.parse(row, OwnFilters())
    assert (record.id, record.text) == (name, text)


@pytest.mark.parametrize("name", ["a.docx", "a.png", "Makefile", "a.pdf.gz", "a.parquet.gz", "a.gz"])
def test_what_is_not_read(name):
    assert not own.can_read(name)


def test_files_left_out_are_counted_by_ending():
    names = ["a.docx", "b/c.DOCX", "x.tar.gz", "Makefile"]
    assert own.count_endings(names) == {".docx": 2, ".tar.gz": 1, "no ending": 1}


def test_a_pdf_of_several_pages_is_one_text_without_heads():
    pages = [f"On Caches {n}\n\npage {'x' * n} has fac-\ntors of {'y' * n} in the" for n in (1, 2, 3)]
    record = own.parse(Row("a.pdf", 1, {"text": "\f".join(pages)}), OwnFilters())
    assert "On Caches" not in record.text
    assert record.text.count("has factors of y") == 3
    assert record.changes == {HEADS: 3, WORDS: 3}


@pytest.mark.parametrize(
    ("row", "filters", "reason"),
    [
        ({"text": "four"}, OwnFilters(min_chars=4, max_chars=4), None),
        ({"text": "four"}, OwnFilters(min_chars=5), "too short"),
        ({"text": "four"}, OwnFilters(max_chars=3), "too long"),
        ({"text": " \0 "}, OwnFilters(), "empty"),
        ({"id": [], "text": "t"}, OwnFilters(), "`id` is neither text nor a number"),
        ({"id": True, "text": "t"}, OwnFilters(), "`id` is neither text nor a number"),
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


@pytest.mark.parametrize(
    ("value", "identity"), [(None, "a.jsonl:3"), ("", "a.jsonl:3"), (" ", "a.jsonl:3"), (0, "0"), (1e3, "1000")]
)
def test_a_row_without_an_id_is_named_by_its_place(value, identity):
    assert own.identify(Row("a.jsonl", 3, {"id": value}), OwnFilters()) == identity


def test_what_cannot_be_opened_is_said(tmp_path: Path, monkeypatch):
    assert next(own.read(tmp_path / "gone.txt", "gone.txt")) == BadRow(
        "gone.txt", 1, "file cannot be read: No such file or directory"
    )
    monkeypatch.setattr(own, "MAX_TEXT_BYTES", 3)
    (tmp_path / "a.txt").write_text("four")
    assert "split it" in next(own.read(tmp_path / "a.txt", "a.txt")).reason


def test_normal_form():
    assert normalize("e\u0301\r\na\rb\x00\x85\ud800 ") == "é\na\nb…"


def test_large_integer_ids_stay_exact(tmp_path):
    first, second = 338953138925153547590470800371487866880, 338953138925153547590470800371487866881
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"id": {n}, "text": "words", "x": 1.5}}\n' for n in (first, second, (1 << 64) - 1)))
    ids = [own.parse(row, OwnFilters()).id for row in own.read(file, "rows.jsonl")]
    assert ids == [str(first), str(second), str((1 << 64) - 1)]


def test_ligatures_do_not_hide_a_divided_word():
    record = own.parse(Row("a.jsonl", 1, {"text": "the \ufb01-\nnal state and dif-\n\ufb01cult cases"}), OwnFilters())
    assert (record.text, record.changes) == ("the final state and difficult cases", {WORDS: 2})


def test_a_page_is_utf_8_if_it_can_be_whatever_it_states(tmp_path: Path):
    head = '<meta charset="iso-8859-1">'
    (tmp_path / "new.html").write_bytes(f"{head}<p>schön</p>".encode())
    (tmp_path / "old.html").write_bytes(f"{head}<p>schön</p>".encode("latin-1"))
    rows = [next(iter(own.read(tmp_path / name, name))) for name in ("new.html", "old.html")]
    assert [(row.value["text"], row.encoding) for row in rows] == [("schön", ""), ("schön", "iso-8859-1")]


@pytest.mark.parametrize("holder", ["metadata", "meta"])
def test_names_in_the_metadata_are_kept_because_they_can_be_opted_out(holder):
    metadata = {"url": "https://example.org/1", "doi": 5, "title": "x"}
    fields = own.parse(Row("a.jsonl", 1, {"text": "x", holder: metadata}), OwnFilters()).fields
    assert fields == {"url": "https://example.org/1"}
    fields = own.parse(Row("a.jsonl", 1, {"text": "x", "url": "mine", holder: metadata}), OwnFilters()).fields
    assert fields == {"url": "mine"}
