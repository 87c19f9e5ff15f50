"""Reads the rows of corpus files one at a time, whatever the size of the file."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson
import zstandard

MAX_LINE_BYTES = 64 << 20
SUFFIXES = (".jsonl", ".gz", ".xz", ".zst", ".parquet")  # the Semantic Scholar release has plain .gz
_BATCH = 200  # rows of a parquet file in memory at a time
_CHUNK = 1 << 20
_BROKEN = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)


@dataclass(frozen=True)
class Row:
    """One record, and its place."""

    file: str
    line: int  # from 1
    value: dict[str, object]


@dataclass(frozen=True)
class BadRow:
    """Something that is not a record. `reason` is one of a few fixed phrases, so that it can be counted."""

    file: str
    line: int
    reason: str


def read_rows(path: Path, name: str = "", max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Row | BadRow]:
    """Yield every row of a file in order; anything broken comes as BadRow. `name` is the file's name in the rows.

    A damaged file yields the rows before the damage. Memory does not grow with the file, nor with a line longer than
    `max_line_bytes` bytes.
    """
    name, line = name or path.name, 0
    try:
        source = read_parquet(path) if path.suffix == ".parquet" else _read_lines(path, max_line_bytes)
        for line, value in enumerate(source, 1):
            if value is not None:  # None is a blank line
                yield BadRow(name, line, value) if isinstance(value, str) else Row(name, line, value)
    except _BROKEN:
        yield BadRow(name, line + 1, "file is cut off or damaged")
    except OSError as error:
        yield BadRow(name, line + 1, f"file cannot be read: {error.strerror or type(error).__name__}")


def read_parquet(path: Path) -> Iterator[dict[str, object]]:
    """Yield the rows of a parquet file. Raises EOFError if it is damaged, OSError."""
    import pyarrow.parquet  # half a second to import, and most documents come in other files

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):  # one at a time: else all groups stay in memory
                for batch in file.iter_batches(_BATCH, row_groups=[group]):
                    yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise EOFError(str(error)) from error


def _read_lines(path: Path, max_line_bytes: int) -> Iterator[dict[str, object] | str | None]:
    with _open(path) as file:
        while line := file.readline(max_line_bytes):
            if not line.endswith(b"\n") and len(line) == max_line_bytes:
                while (rest := file.readline(max_line_bytes)) and not rest.endswith(b"\n"):
                    pass
                yield f"a line of more than {max_line_bytes:,} bytes"
            else:
                yield _parse(line) if line.strip() else None


def _parse(line: bytes) -> dict[str, object] | str:
    """Return the object on a line, or the reason why there is none."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "not JSON"
    if value is None:
        return "null row"
    return value if isinstance(value, dict) else "not an object"


def _open(path: Path) -> BinaryIO:
    """Open a file to read its decompressed bytes."""
    match path.suffix:
        case ".gz":
            return gzip.open(path)
        case ".xz":
            return lzma.open(path)
        case ".zst":
            return io.BufferedReader(_Zstandard(path.open("rb")), _CHUNK)
    return path.open("rb")


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
