"""Tests reading and grouping of text files, from good documents to arbitrary bytes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import documents as reader
from autodata.corpora import own
from autodata.corpora.documents import DocumentsError, group_documents, read_corpus
from autodata.recipes.corpora import OwnFilters
from autodata.types import Document

pytestmark = pytest.mark.slow


def test_texts_in_the_encodings_of_practice(tmp_path: Path):
    text = "Die Prüfung der Brücke ergab größere Schäden, als man früher für möglich hielt. " * 3
    for name in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / f"{name}.txt").write_bytes(text.encode(name))
    corpus = read_corpus(str(tmp_path))
    assert [d.text for d in corpus.documents] == [text.strip()] * 4
    assert not corpus.skipped


def test_good_documents_beside_bad_ones(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(own, "MAX_TEXT_BYTES", 1_000)
    monkeypatch.setattr(reader, "_NO_FILTERS", OwnFilters(max_chars=1_000))
    (tmp_path / "a.txt").write_text("good one")
    (tmp_path / "b.txt").write_text("")
    (tmp_path / "c.md").write_bytes(b"\x7fELF\x00\x01\x00binary")
    (tmp_path / "d.txt").write_text("x" * 1_001)
    (tmp_path / "e.jsonl").write_bytes(
        b'{"id": "1", "text": "good two"}\n\n{"id": "1", "text": "twice"}\nnot json\n{"id": "2"}\n'
        b'{"id": [], "text": "t"}\n' + b'{"id": "3", "text": "' + b"y" * 5_000 + b'"}\n'
        b'{"id": "4", "text": "good three"}'
    )
    (tmp_path / "f.pdf").write_bytes(b"not one")
    corpus = read_corpus(str(tmp_path))
    assert [d.text for d in corpus.documents] == ["good one", "good two", "good three"]
    assert [where for where, _ in corpus.skipped] == [
        "b.txt",
        "c.md",
        "d.txt",
        *(f"e.jsonl:{n}" for n in (3, 4, 5, 6, 7)),
        "f.pdf",
    ]
    assert all(reason for _, reason in corpus.skipped)


def test_a_line_of_50_megabytes_does_not_stop_the_others(tmp_path: Path):
    with (tmp_path / "big.jsonl").open("wb") as file:
        file.write(b'{"id": "a", "text": "' + b"x" * 50_000_000 + b'"}\n{"id": "b", "text": "small"}\n')
    corpus = read_corpus(str(tmp_path))
    assert [d.id for d in corpus.documents] == ["b"]
    assert "big.jsonl:1" in corpus.skipped[0][0]


def test_nothing_to_read_names_the_path_and_why(tmp_path: Path):
    with pytest.raises(DocumentsError, match=r"no usable \.txt, \.md, \.pdf"):
        read_corpus(str(tmp_path))
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DocumentsError, match=r"empty\.txt: empty"):
        read_corpus(str(tmp_path))
    with pytest.raises(DocumentsError, match="no such file or folder"):
        read_corpus(str(tmp_path / "none"))


def test_the_limit_stops_early_and_order_is_by_name(tmp_path: Path):
    for name in "cab":
        (tmp_path / f"{name}.txt").write_text(name)
    assert [d.id for d in read_corpus(str(tmp_path), limit=2).documents] == ["a.txt", "b.txt"]


@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_document_or_a_reason(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("bytes")
    (folder / "a.txt").write_bytes(data)
    (folder / "b.jsonl").write_bytes(data)
    (folder / "c.txt").write_text("fine")
    corpus = read_corpus(str(folder))
    assert "fine" in [d.text for d in corpus.documents]
    assert all("\0" not in d.text for d in corpus.documents)


def test_a_record_keeps_its_other_values_and_a_problem_becomes_a_text(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"id": 7, "text": "t", "year": 1999, "open": true, "note": "a\\u0000b", "tags": ["x"], "none": null,'
        ' "preparation": "p"}\n'
        '{"topic": "Algebra", "problem_statement": "Which group?", "answer": "$S_3$", "answer_type": "object"}\n'
        '{"problem_statement": "Which?", "answer": "This"}\n'
        '{"problem_statement": "Which?", "answer": 5}\n{"text": null}\n[]\n{"id": "n", "n": ' + "9" * 5_000 + "}\n"
    )
    corpus = read_corpus(str(tmp_path))
    assert [(d.id, d.text) for d in corpus.documents] == [
        ("7", "t"),
        ("a.jsonl:2", "Topic: Algebra\nProblem: Which group?\nAnswer: $S_3$"),
        ("a.jsonl:3", "Problem: Which?\nAnswer: This"),
    ]
    assert corpus.documents[0].fields == {"year": 1999, "open": True, "note": "ab"}
    assert corpus.documents[1].fields["answer_type"] == "object"
    assert [where for where, _ in corpus.skipped] == [f"a.jsonl:{n}" for n in (4, 5, 6, 7)]
    assert "problem_statement" in corpus.skipped[0][1]


def test_groups_hold_every_document_once_and_follow_the_seed():
    documents = [Document(f"d{i}", f"text {i}", f"f:{i}") for i in range(10)]
    groups = group_documents(documents, 4, 0)
    assert [len(g.fields["members"]) for g in groups] == [4, 4, 2]
    assert sorted(m for g in groups for m in g.fields["members"]) == [d.id for d in documents]
    assert groups == group_documents(documents, 4, 0)
    assert {g.id for g in groups}.isdisjoint(g.id for g in group_documents(documents, 4, 1))
    first = groups[0]
    numbers = [m[1:] for m in first.fields["members"]]
    assert first.text == "\n\n".join(f"Sample {n}\ntext {i}" for n, i in enumerate(numbers, 1))
    assert first.source == "; ".join(f"f:{i}" for i in numbers)


def test_a_group_names_every_licence_of_its_members():
    licences = ("CC0", "MIT", "CC0", "")
    (group,) = group_documents(
        [Document(f"d{i}", "t", "f", {"licence": it} if it else {}) for i, it in enumerate(licences)], 4, 0
    )
    assert group.fields["licence"] == "CC0; MIT"


def test_groups_of_one_are_the_documents_themselves():
    documents = [Document(f"d{i}", "t", "f") for i in range(3)]
    assert group_documents(documents, 1, 0) == documents
