"""Keeps the rows that can become documents: read once, cut into pieces of one size, and found again by later runs.

A piece is the task of every later stage, so that one large file keeps many cores busy. The pieces depend on the files
and on the keys that select rows, and on nothing else; a changed filter reads the pieces and not the corpus.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

import orjson
import zstandard
from datatrove.data import Document
from datatrove.pipeline.writers.jsonl import JsonlWriter
from filelock import FileLock, Timeout
from fsspec.compression import register_compression

from autodata.corpora.record import Drop
from autodata.corpora.rows import MAX_LINE_BYTES, BadRow, Row, read_rows
from autodata.run.records import RunError, digest, write_file

FORM = 3  # raise it when rows are kept in another way: older ones are then read anew
PIECE_BYTES = 256 << 20  # before compression
_PIECES, _INPUTS = "pieces", "inputs.json"


def _compress(file: BinaryIO, **_: object) -> BinaryIO:
    """Compress quickly: level 10, which fsspec's own zstd has, takes longer than the rest of the reading."""
    return zstandard.ZstdCompressor(level=1).stream_writer(file)


register_compression("quick zstd", _compress, ())


class PieceWriter(JsonlWriter):
    """Writes the rows of a task with datatrove's writer, and begins a new piece where one is full."""

    def __init__(self, folder: Path):
        super().__init__(str(folder / _PIECES), "${rank}_${piece}.jsonl.zst", "quick zstd", adapter=_get_row)
        self._number, self._bytes = 0, 0

    def keep(self, row: Row, rank: int) -> None:
        """Write a row. Raises Drop."""
        packed = _pack(row.value)
        if self._bytes >= PIECE_BYTES:
            self.close()
            self._number, self._bytes = self._number + 1, 0
        self._bytes += len(packed)
        kept = {"file": row.file, "line": row.line, "encoding": row.encoding, "row": orjson.Fragment(packed)}
        self.write(Document("", "", metadata={"row": kept}), rank, piece=f"{self._number:05d}")


def _get_row(_: JsonlWriter, document: Document) -> dict[str, object]:
    return document.metadata["row"]


def list_pieces(folder: Path) -> list[Path]:
    """List the pieces in the order of the rows."""
    return sorted((folder / _PIECES).glob("*.zst"))


def read_piece(path: Path) -> Iterator[Row]:
    """Yield the rows of a piece. Raises RunError if it is damaged."""
    for row in read_rows(path, path.name, 2 * MAX_LINE_BYTES):
        if isinstance(row, BadRow):
            raise RunError(f"{path}: {row.reason}; delete the folder {path.parent.parent} and run the command again")
        value = row.value
        yield Row(value["file"], value["line"], value["row"], value["encoding"])


@contextmanager
def hold(folder: Path, inputs: Mapping[str, object]) -> Iterator[Path]:
    """Lock the folder of a stage that other runs may use, and say inside what it was made from. Raises RunError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            write_file(folder / _INPUTS, json.dumps(inputs, indent=1))
            yield folder
    except Timeout:
        raise RunError(f"{folder}: another command writes these rows; wait for it, and run yours again") from None


def name_folder(parent: Path, kind: str, inputs: Mapping[str, object]) -> Path:
    """Return the folder of what was made from these inputs."""
    return parent / f"{kind}-{digest(json.dumps({'form': FORM, **inputs}, sort_keys=True).encode())[:16]}"


def _pack(value: Mapping[str, object]) -> bytes:
    """Write a row as JSON: decimal numbers as text, what JSON does not have (times, bytes) as null. Raises Drop."""
    try:
        return orjson.dumps(value, default=_write_other, option=orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError as error:
        if "ecursion" in str(error):
            raise Drop("nested too deeply") from None
    return json.dumps(value, default=_write_other).encode()  # half of a surrogate pair, or a large number


def _write_other(value: object) -> str | None:
    """Return what stands for a value that JSON does not have. A decimal number can be an id, which must stay exact."""
    return str(value) if isinstance(value, Decimal) else None
