"""Reads the rows of parquet files, also texts that their writers did not mark as texts or that are not UTF-8."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autodata.corpora.record import Drop
from autodata.corpora.remote.files import Place, Remote
from autodata.corpora.text.encodings import decode

if TYPE_CHECKING:
    from pyarrow import RecordBatch

_BATCH = 200  # rows in memory at a time
_AS_BYTES = {"string": "binary", "large_string": "large_binary"}
_Row = dict[str, object]


def read_parquet(path: Place) -> Iterator[_Row]:
    """Yield the rows of a parquet file. Raises EOFError if it is damaged, OSError."""
    for batch in _read_batches(path):
        yield from batch.to_pylist()


def read_texts(path: Place) -> Iterator[tuple[_Row, str]]:
    """Yield the rows of a parquet file of anybody, each with its encoding, which is empty for UTF-8.

    Bytes that are UTF-8 come as text. Raises EOFError if the file is damaged, OSError.
    """
    for batch in _read_batches(path):
        try:
            rows = [(row, "") for row in batch.to_pylist()]
        except UnicodeDecodeError:
            rows = list(_mend_rows(batch))
        yield from (({key: _read_bytes(value) for key, value in row.items()}, encoding) for row, encoding in rows)


def _read_batches(path: Place) -> Iterator["RecordBatch"]:
    import pyarrow.parquet  # half a second to import, and most documents come in other files

    try:
        with pyarrow.parquet.ParquetFile(path.open() if isinstance(path, Remote) else path) as file:
            for group in range(file.num_row_groups):  # one at a time: else all groups stay in memory
                yield from file.iter_batches(_BATCH, row_groups=[group])
    except pyarrow.ArrowException as error:
        raise EOFError(str(error)) from error


def _mend_rows(batch: "RecordBatch") -> Iterator[tuple[_Row, str]]:
    """Decode the columns of texts of a batch in which some are not UTF-8."""
    types = {name: str(batch.schema.field(name).type) for name in batch.schema.names}
    columns = [column.cast(_AS_BYTES.get(str(column.type), column.type)) for column in batch.columns]
    for row in type(batch).from_arrays(columns, names=batch.schema.names).to_pylist():
        decoded = {key: _decode(value) for key, value in row.items() if types[key] in _AS_BYTES and value is not None}
        encodings = (encoding for _, encoding in decoded.values() if encoding)
        yield row | {key: text for key, (text, _) in decoded.items()}, next(encodings, "")


def _decode(value: bytes) -> tuple[str | None, str]:
    try:
        return decode(value)
    except Drop:
        return None, ""


def _read_bytes(value: object) -> object:
    """Return bytes as the text that they are; other bytes, as those of a picture, stay."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
