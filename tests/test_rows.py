"""Tests reading rows of compressed files: whole, cut off, damaged and hostile."""

import bz2
import gzip
import io
import json
import lzma
import os
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from autodata.corpora.rows import BadRow, Row, _Zstandard, read_rows

ROWS = [{"text": f"row {n} — “ok”", "n": n} for n in range(2_000)]
LINES = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS).encode()
PACKERS = {
    ".jsonl": lambda data: data,
    ".jsonl.gz": gzip.compress,
    ".jsonl.bz2": bz2.compress,
    ".jsonl.xz": lzma.compress,
    ".jsonl.zst": zstandard.ZstdCompressor().compress,
}


def write(folder, suffix, data):
    path = folder / f"shard{suffix}"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", PACKERS)
def test_every_row_with_its_line(tmp_path, suffix):
    rows = list(read_rows(write(tmp_path, suffix, PACKERS[suffix](LINES))))
    assert rows == [Row(f"shard{suffix}", n, value) for n, value in enumerate(ROWS, 1)]


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", PACKERS)
def test_a_name_that_says_another_packing(tmp_path, suffix, name):
    assert [row.value for row in read_rows(write(tmp_path, name, PACKERS[suffix](LINES)))] == ROWS


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst"])
def test_files_of_several_streams_are_read_through(tmp_path, suffix):
    half = len(LINES) // 2
    packed = PACKERS[suffix](LINES[:half]) + PACKERS[suffix](LINES[half:])
    assert [r.value for r in read_rows(write(tmp_path, suffix, packed))] == ROWS


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst"])
@pytest.mark.parametrize("share", [0.0005, 0.5, 0.999])
def test_a_cut_off_file_gives_what_it_holds_and_says_so(tmp_path, suffix, share):
    packed = PACKERS[suffix](LINES)
    items = list(read_rows(write(tmp_path, suffix, packed[: max(20, int(len(packed) * share))])))
    rows, last = items[:-1], items[-1]
    assert isinstance(last, BadRow)
    assert last.reason in ("file is cut off or damaged", "not JSON")
    assert [r.value for r in rows if isinstance(r, Row)] == ROWS[: sum(isinstance(r, Row) for r in rows)]


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.xz", ".jsonl.zst", ".parquet"])
def test_a_file_of_something_else_is_damaged(tmp_path, suffix):
    (row,) = read_rows(write(tmp_path, suffix, b"this is no archive, whatever its name says" * 10))
    assert row == BadRow(f"shard{suffix}", 1, "file is cut off or damaged")


@pytest.mark.parametrize("suffix", PACKERS)
def test_an_empty_file_has_no_rows(tmp_path, suffix):
    assert list(read_rows(write(tmp_path, suffix, PACKERS[suffix](b"")))) == []


def test_bad_lines_are_named_and_the_others_come_through(tmp_path):
    lines = [b'{"text": "a"}', b"", b"{broken", b"null", b"[1]", b'"x"', b'{"text": "\xff"}', b'{"text": "b"}']
    rows = list(read_rows(write(tmp_path, ".jsonl", b"\n".join(lines))))
    assert [(f.line, f.reason if isinstance(f, BadRow) else f.value["text"]) for f in rows] == [
        (1, "a"),
        (3, "not JSON"),
        (4, "null row"),
        (5, "not an object"),
        (6, "not an object"),
        (7, "ÿ"),
        (8, "b"),
    ]


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),  # with a byte order mark
        ('{"a": "ü"}\r\n{"a": 2}'.encode("utf-16"), [{"a": "ü"}, {"a": 2}]),
        ('{"a": "word"}\n{"a": 2}\n'.encode("utf-16-le"), [{"a": "word"}, {"a": 2}]),
        (b'{"a": NaN, "b": -Infinity, "c": 1}', [{"a": None, "b": None, "c": 1}]),
        (b'{"id": null, "text": "t"}', [{"id": None, "text": "t"}]),
        (b'{"a": "\\ud800"}', [{"a": "\ud800"}]),
        (b'{"a": "court\x92s"}', [{"a": "court’s"}]),
    ],
)
def test_rows_that_strict_readers_refuse(tmp_path, data, values):
    assert [row.value for row in read_rows(write(tmp_path, ".jsonl", data))] == values


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        (b'{\n  "a": 1\n}\n', [{"a": 1}]),
        (b'[\n{"a": 1},\n{"a": 2}, 3]', [{"a": 1}, {"a": 2}, "not an object"]),
        (b'{"a": \n{"a": 2}\n', ["not JSON", {"a": 2}]),
        (b"", []),
    ],
)
def test_a_json_file_has_lines_or_a_record_or_a_list(tmp_path, data, expected):
    rows = read_rows(write(tmp_path, ".json", data))
    assert [row.value if isinstance(row, Row) else row.reason for row in rows] == expected


@pytest.mark.parametrize(("length", "is_read"), [(99, True), (100, True), (101, False), (1_000, False)])
def test_a_line_beyond_the_limit_is_skipped_and_counted(tmp_path, length, is_read):
    line = b'{"a": "' + b"x" * (length - 10) + b'"}\n'
    assert len(line) == length
    rows = list(read_rows(write(tmp_path, ".jsonl", line + b'{"a": "next"}\n'), max_line_bytes=100))
    assert isinstance(rows[0], Row if is_read else BadRow)
    assert rows[1] == Row("shard.jsonl", 2, {"a": "next"})


def test_a_file_that_is_gone_is_a_reason(tmp_path):
    (row,) = read_rows(tmp_path / "gone.jsonl")
    assert row.reason == "file cannot be read: No such file or directory"


def test_parquet(tmp_path):
    table = pyarrow.Table.from_pylist([{"text": f"t{n}", "n": n, "tags": ["a", None]} for n in range(2_500)])
    pyarrow.parquet.write_table(table, tmp_path / "part.parquet", row_group_size=700)
    rows = list(read_rows(tmp_path / "part.parquet"))
    assert [(r.line, r.value["n"]) for r in rows] == [(n + 1, n) for n in range(2_500)]
    data = (tmp_path / "part.parquet").read_bytes()
    (tmp_path / "part.parquet").write_bytes(data[:-100])
    assert [f.reason for f in read_rows(tmp_path / "part.parquet")] == ["file is cut off or damaged"]


@settings(max_examples=60)
@given(data=st.binary(max_size=300), suffix=st.sampled_from([*PACKERS, ".parquet"]), packed=st.booleans())
def test_no_bytes_raise(tmp_path_factory, data, suffix, packed):
    folder = tmp_path_factory.mktemp("any")
    content = PACKERS[suffix](data) if packed and suffix in PACKERS else data
    for row in read_rows(write(folder, suffix, content)):
        assert isinstance(row, Row | BadRow)


def test_zstandard_reads_in_small_steps_too(tmp_path):
    stream = io.BufferedReader(_Zstandard(io.BytesIO(PACKERS[".jsonl.zst"](LINES))), 7)
    assert stream.read() == LINES


def read_shown(path) -> list[tuple[object, str]]:
    return [(row.value, row.encoding) if isinstance(row, Row) else (row.reason, "") for row in read_rows(path)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('{"n": 1},\n{"n": 2},\n{"n": 3}', [{"n": 1}, {"n": 2}, {"n": 3}]),
        ('[{"n": 1},\n{"n": [2]}]\n', [{"n": 1}, {"n": [2]}]),
        ('{"n": 1,}\n{"n": [2]\n{"n": 3}{"n": 4}\n', ["not JSON"] * 3),
        (f"{' ' * 50_000}x\n", ["not JSON"]),
    ],
)
def test_a_list_with_a_record_on_each_line(tmp_path, text, values):
    assert [value for value, _ in read_shown(write(tmp_path, ".jsonl", text.encode()))] == values


@pytest.mark.parametrize(
    "text", ['[{"n": 1},\n {"n":\n 2}]', '[{"n": 1},\n{"n": 2}]', '{"n": 1}\n{"n": 2},\n', '[{"n": 1},\n{"n": 2}']
)
def test_a_list_is_read_as_a_whole_if_it_is_one(tmp_path, text):
    assert read_shown(write(tmp_path, ".json", text.encode())) == [({"n": 1}, ""), ({"n": 2}, "")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_list_in_utf_16(tmp_path, encoding, indent):
    data = json.dumps([{"text": "naïve"}, 5], indent=indent, ensure_ascii=False).encode(encoding)
    assert read_shown(write(tmp_path, ".json", data)) == [({"text": "naïve"}, encoding), ("not an object", "")]


def test_parquet_texts_that_are_bytes_or_not_utf_8(tmp_path):
    data = b"plaincaf\xe9"
    places = pyarrow.py_buffer(numpy.array([0, 5, 9], "<i4").tobytes())
    broken = pyarrow.StringArray.from_buffers(2, places, pyarrow.py_buffer(data))
    pictures = [b"\xff\xd8\0", b"ok"]
    table = pyarrow.table({"text": broken, "raw": ["é".encode(), None], "picture": pictures})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read_shown(tmp_path / "a.parquet") == [
        ({"text": "plain", "raw": "é", "picture": pictures[0]}, ""),
        ({"text": "café", "raw": None, "picture": "ok"}, "windows-1252 (guessed)"),
    ]


def test_nested_parquet_texts_that_are_not_utf_8(tmp_path):
    places = [pyarrow.py_buffer(numpy.array(at, "<i4").tobytes()) for at in ([0, 5, 9], [0, 1, 2])]
    broken = pyarrow.StringArray.from_buffers(2, places[0], pyarrow.py_buffer(b"plaincaf\xe9"))
    listed = pyarrow.ListArray.from_buffers(pyarrow.list_(pyarrow.string()), 2, [None, places[1]], children=[broken])
    both = pyarrow.StructArray.from_arrays([broken, listed], names=["t", "l"])
    table = pyarrow.table({"both": both, "raw": [[b"\xff\0"], None], "n": [{"x": 1}, None]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert read_shown(tmp_path / "a.parquet") == [
        ({"both": {"t": "plain", "l": ["plain"]}, "raw": [b"\xff\0"], "n": {"x": 1}}, ""),
        ({"both": {"t": "café", "l": ["café"]}, "raw": None, "n": None}, "windows-1252 (guessed)"),
    ]
    keyed = pyarrow.MapArray.from_arrays(pyarrow.array([0, 1, 2], pyarrow.int32()), ["k", "k"], broken)
    pyarrow.parquet.write_table(pyarrow.table({"m": keyed}), tmp_path / "b.parquet")  # of a kind that is not mended
    assert [row.reason for row in read_rows(tmp_path / "b.parquet")] == ["file is cut off or damaged"]


def test_a_name_that_is_not_utf_8_can_be_saved(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    path.write_text('{"n": 1}\n', encoding="utf-8")
    assert list(read_rows(path)) == [Row("caf\\xe9.jsonl", 1, {"n": 1})]
