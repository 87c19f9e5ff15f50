"""Reads the rows of corpus files one at a time, whatever the size of the file."""

import bz2
import gzip
import io
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

import orjson
import zstandard

from autodata.corpora.remote.files import Place, Remote, write_name
from autodata.corpora.text.encodings import decode, find_wide
from autodata.corpora.text.parquet import read_texts

MAX_LINE_BYTES = 64 << 20
LINES = (".jsonl", ".ndjson", ".json")
PACKED = (".gz", ".bz2", ".xz", ".zst")
SUFFIXES = (*LINES, *PACKED, ".parquet")  # the Semantic Scholar release has plain .gz
_CHUNK = 1 << 20
_WIDE = 4_000  # bytes that tell UTF-16 from UTF-8
_MAGIC = {".gz": b"\x1f\x8b\x08", ".bz2": b"BZh[1-9]1AY&SY", ".xz": b"\xfd7zXZ\0", ".zst": b"\\x28\xb5\x2f\xfd"}
_NO_JSON = object()
# A line of a list with a record on each line. Nothing is tried twice, so that no line can make it slow.
_LIST_ITEM = re.compile(rb"\s*+\[?\s*+(\{.*\})\s*+[,\]]?\s*+", re.DOTALL)
_TOO_LARGE = 1 << 63  # from here on, orjson may read an integer as a float
BROKEN = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


@dataclass(frozen=True)
class Row:
    """One record, and its place."""

    file: str
    line: int  # from 1
    value: dict[str, object]
    encoding: str = ""  # empty for UTF-8


@dataclass(frozen=True)
class BadRow:
    """Something that is not a record. `reason` is one of a few fixed phrases, so that it can be counted."""

    file: str
    line: int
    reason: str


def read_rows(path: Place, name: str = "", max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row | BadRow]:
    """Yield every row of a file in order; anything broken comes as BadRow. `name` is the file's name in the rows.

    A damaged file yields the rows before the damage. Memory does not grow with the file, nor with a line longer than
    `max_line_bytes` bytes.
    """
    name, line = write_name(name or path.name), 0
    try:
        for line, (value, encoding) in enumerate(_read_values(path, max_line_bytes), 1):
            if value is not None:  # None is a blank line
                yield BadRow(name, line, value) if isinstance(value, str) else Row(name, line, value, encoding)
    except BROKEN:
        yield BadRow(name, line + 1, "file is cut off or damaged")
    except OSError as error:  # bzip2 data that are damaged raise one without a number
        reason = f"file cannot be read: {error.strerror or type(error).__name__}"
        yield BadRow(name, line + 1, reason if error.errno else "file is cut off or damaged")


def split_ending(name: str) -> tuple[str, str]:
    """Return the ending of a file's name in lower case, and that of its compression, as (".jsonl", ".gz")."""
    path = PurePath(name.lower())
    packed = path.suffix if path.suffix in PACKED else ""
    return (path.with_suffix("").suffix if packed else path.suffix), packed


def open_file(path: Place) -> BinaryIO:
    """Open a file to read its decompressed bytes."""
    packed = _find_packing(path)
    source = path.open() if isinstance(path, Remote) else path
    match packed:
        case ".gz":
            return gzip.open(source)
        case ".bz2":
            return bz2.open(source)
        case ".xz":
            return lzma.open(source)
        case ".zst":
            return io.BufferedReader(_Zstandard(path.open("rb")), _CHUNK)
    return source if isinstance(path, Remote) else path.open("rb")


def _find_packing(path: Place) -> str:
    """See from its first bytes how a file is packed: a client may have unpacked it on the way, and kept its name."""
    with path.open("rb") as file:
        start = file.peek(10)
    packed = next((ending for ending, magic in _MAGIC.items() if re.match(magic, start)), path.suffix.lower())
    return "" if start.lstrip()[:1] == b"{" else packed


_Value = dict[str, object] | str | None  # a record, the reason why there is none, or a blank line


def _read_values(path: Place, max_bytes: int) -> Iterator[tuple[_Value, str]]:
    """Yield the value of each row with its encoding."""
    if path.suffix.lower() == ".parquet":
        yield from read_texts(path)
        return
    with open_file(path) as file:
        wide = find_wide(file.peek(_WIDE)[:_WIDE])
        narrow = _Transcoder(file, wide) if wide else file
        is_json = split_ending(path.name)[0] == ".json"
        for value, encoding in (_read_json if is_json else _read_lines)(narrow, max_bytes):
            yield value, encoding or wide


class _Transcoder:
    """Reads UTF-16 or UTF-32 as UTF-8, whose lines end where the bytes of a line end."""

    def __init__(self, file: BinaryIO, encoding: str):
        self._text = io.TextIOWrapper(file, encoding, errors="replace", newline="\n")

    def readline(self, size: int) -> bytes:
        return self._text.readline(size).encode()

    def read(self, size: int) -> bytes:
        return self._text.read(size).encode()


def _read_lines(file: "BinaryIO | _Transcoder", max_bytes: int) -> Iterator[tuple[_Value, str]]:
    while line := file.readline(max_bytes):
        if not line.endswith(b"\n") and len(line) >= max_bytes:
            while (rest := file.readline(max_bytes)) and not rest.endswith(b"\n"):
                pass
            yield f"a line of more than {max_bytes:,} bytes", ""
        else:
            yield _parse(line) if line.strip() else (None, "")


def _read_json(file: "BinaryIO | _Transcoder", max_bytes: int) -> Iterator[tuple[_Value, str]]:
    """Read a .json file, which has a record on each line, or one record, or a list of records."""
    first = file.readline(max_bytes)
    value, encoding = _load(first)
    if isinstance(value, dict):
        yield value, encoding
        yield from _read_lines(file, max_bytes)
        return
    data = first + file.read(max_bytes)
    if len(data) > max_bytes:
        yield f"a file of more than {max_bytes:,} bytes without a record on its first line", ""
        return
    value, encoding = _load(data)
    if isinstance(value, list):
        yield from ((_require_object(item), encoding) for item in value)
    elif isinstance(value, dict):
        yield value, encoding
    else:
        yield from _read_lines(io.BytesIO(data), max_bytes)


def _parse(line: bytes) -> tuple[_Value, str]:
    """Return the object on a line, or the reason why there is none, and the encoding."""
    value, encoding = _load(line)
    if value is _NO_JSON and (item := _LIST_ITEM.fullmatch(line)):
        value, encoding = _load(item[1])
    return _require_object(value), encoding


def _require_object(value: object) -> dict[str, object] | str:
    if isinstance(value, dict):
        return value
    return "null row" if value is None else "not JSON" if value is _NO_JSON else "not an object"


def _load(data: bytes) -> tuple[object, str]:
    """Load JSON; what strict readers refuse is read too: NaN as null, a byte order mark, bytes that are not UTF-8."""
    try:
        value = orjson.loads(data)
        if not _is_rounded(value):
            return value, ""
    except orjson.JSONDecodeError:
        if b"{" not in data[:_WIDE]:
            return _NO_JSON, ""
    try:
        text, encoding = decode(data)
        return json.loads(text, parse_constant=lambda _: None, parse_int=_read_integer), encoding
    except (ValueError, RecursionError):  # also Drop, for bytes that are no text
        return _NO_JSON, ""


def _is_rounded(value: object) -> bool:
    """True if a number in an object may have been an integer of more than 64 bits, which orjson reads as a float."""
    if isinstance(value, dict):
        return any(_is_rounded(item) for item in value.values())
    if isinstance(value, list):  # of a .json file
        return any(_is_rounded(item) for item in value if isinstance(item, dict))
    return isinstance(value, float) and abs(value) >= _TOO_LARGE


def _read_integer(digits: str) -> int | str:
    """Keep an integer of more than 64 bits as its digits: as an id it must stay exact."""
    return int(digits) if len(digits) <= 20 and -_TOO_LARGE <= int(digits) < 2 * _TOO_LARGE else digits


class _Zstandard(io.RawIOBase):
    """Decompresses zstandard frames. The library's own reader mistakes a cut-off frame for the end of the file."""

    def __init__(self, source: BinaryIO):
        self._source, self._frame, self._decompressed = source, None, b""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._source.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:
        while not self._decompressed:
            is_inside = self._frame is not None and not self._frame.eof
            data = (self._frame.unused_data if self._frame and not is_inside else b"") or self._source.read(_CHUNK)
            if not data:
                if is_inside:
                    raise EOFError("a frame is cut off")
                return 0
            if not is_inside:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._decompressed = self._frame.decompress(data)
        count = min(len(buffer), len(self._decompressed))
        buffer[:count], self._decompressed = self._decompressed[:count], self._decompressed[count:]
        return count
