"""Reads the rows of parquet files, also texts that their writers did not mark as texts or that are not UTF-8."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autodata.corpora.record import Drop
from autodata.corpora.remote.files import Place, Remote
from autodata.corpora.text.encodings import decode

if TYPE_CHECKING:
    from pyarrow import DataType, RecordBatch

_BATCH = 200  # rows in memory at a time
_DAMAGED = "a text in it is not UTF-8"
_Row = dict[str, object]


def read_parquet(path: Place) -> Iterator[_Row]:
    """Yield the rows of a parquet file. Raises EOFError if it is damaged, OSError."""
    for batch in _read_batches(path):
        try:
            rows = batch.to_pylist()
        except UnicodeDecodeError as error:
            raise EOFError(_DAMAGED) from error
        yield from rows


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
    """Decode the texts of a batch in which some are not UTF-8, also those in lists and structs. Raises EOFError."""
    import pyarrow

    schema = batch.schema
    try:
        columns = [column.cast(_as_bytes(field.type)) for column, field in zip(batch.columns, schema, strict=True)]
        rows = type(batch).from_arrays(columns, names=schema.names).to_pylist()
    except (UnicodeDecodeError, pyarrow.ArrowException) as error:  # texts in a column of some other kind
        raise EOFError(_DAMAGED) from error
    for row in rows:
        encodings: list[str] = []
        mended = {field.name: _decode(row[field.name], field.type, encodings) for field in schema}
        yield mended, next(filter(None, encodings), "")


def _as_bytes(kind: "DataType") -> "DataType":
    """Return a type with bytes in place of texts."""
    import pyarrow
    from pyarrow import types

    if types.is_string(kind):
        return pyarrow.binary()
    if types.is_large_string(kind):
        return pyarrow.large_binary()
    if types.is_list(kind):
        return pyarrow.list_(_as_bytes(kind.value_type))
    if types.is_large_list(kind):
        return pyarrow.large_list(_as_bytes(kind.value_type))
    if types.is_struct(kind):
        return pyarrow.struct([(field.name, _as_bytes(field.type)) for field in kind])
    return kind


def _decode(value: object, kind: "DataType", encodings: list[str]) -> object:
    """Decode the texts of a value of this type, and note the encoding of each."""
    from pyarrow import types

    if isinstance(value, list) and (types.is_list(kind) or types.is_large_list(kind)):
        return [_decode(item, kind.value_type, encodings) for item in value]
    if isinstance(value, dict) and types.is_struct(kind):
        return {field.name: _decode(value[field.name], field.type, encodings) for field in kind}
    if not isinstance(value, bytes) or not (types.is_string(kind) or types.is_large_string(kind)):
        return value
    try:
        text, encoding = decode(value)
    except Drop:
        return None
    encodings.append(encoding)
    return text


def _read_bytes(value: object) -> object:
    """Return bytes as the text that they are; other bytes, as those of a picture, stay."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
