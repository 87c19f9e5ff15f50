"""Defines the steps of an ingest, which datatrove runs: read, find duplicates, write.

A task is one large file or several small ones. What it writes depends only on its files, so the output is the same
for any number of workers and after any restart.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import numpy
import pyarrow
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.parquet import ParquetWriter

from autodata.corpora import pii
from autodata.corpora.record import Drop, normalize
from autodata.corpora.repeats import REASONS
from autodata.corpora.rows import BadRow, Row, read_parquet
from autodata.corpora.sources import Source
from autodata.recipes.corpora import IngestRecipe

_BATCH = 200  # documents in memory at a time
_TEXT = {"id": "string", "text": "string", "licence": "string", "file": "string", "line": "int64", "fields": "string"}
_KEPT = pyarrow.schema({**_TEXT, "sha256": "string", "tokens": "int64"})
_DROPPED = pyarrow.schema({"file": "string", "line": "int64", "id": "string", "reason": "string", "detail": "string"})


@dataclass
class Tally:
    """Counts what a task did with its rows."""

    files: list[dict[str, object]] = field(default_factory=list)  # name, bytes, sha256
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # rows per reason
    licences: Counter[str] = field(default_factory=Counter)
    personal_data: Counter[str] = field(default_factory=Counter)  # replacements per kind
    tokens: list[int | None] = field(default_factory=list)  # one per document; None if not counted

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


class Read(PipelineStep):
    """Reads the files of a task into documents, and records each row that is dropped."""

    type, name = "📖 - READER", "corpus"

    def __init__(self, recipe: IngestRecipe, tasks: list[list[str]], work: Path):
        super().__init__()
        self.recipe, self.tasks, self.work = recipe, tasks, work

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        source, tally = Source(self.recipe, self.work / "eligible"), Tally()
        with _write_dropped(self.work / "dropped" / "read") as dropped:
            for name in self.tasks[rank]:
                tally.files.append(_identify(Path(self.recipe.path) / name, name))
                for row in source.read(name):
                    tally.rows += 1
                    document = _make(source, row)
                    if isinstance(document, Drop):
                        tally.dropped[document.reason] += 1
                        dropped.write(_describe_drop(row.file, row.line, "", document.reason, document.detail), rank)
                    else:
                        yield document
        tally.save(self.work / "tally" / "read" / f"{rank:05d}.json")


class Load(PipelineStep):
    """Loads the documents that `Read` wrote for this task, without the repeats found among all tasks."""

    type, name = "📖 - READER", "without repeats"

    def __init__(self, work: Path, folder: Path):
        super().__init__()
        self.work, self.folder = work, folder

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        repeats = dict(numpy.load(self.work / "repeats" / f"{rank:05d}.npy").tolist())
        tally = Tally()
        with _write_dropped(self.folder) as dropped:
            for number, row in enumerate(self._read(self.work / "read" / f"{rank:05d}.parquet")):
                if number in repeats:
                    reason = REASONS[repeats[number]]
                    tally.dropped[reason] += 1
                    dropped.write(_describe_drop(row["file"], row["line"], row["id"], reason), rank)
                else:
                    yield Document(row.pop("text"), row.pop("id"), metadata=row)
        tally.save(self.work / "tally" / "repeats" / f"{rank:05d}.json")

    def _read(self, path: Path) -> Iterator[dict[str, Any]]:
        return read_parquet(path) if path.exists() else iter(())  # a task without documents has no file


class Mask(PipelineStep):
    """Masks personal data if the recipe asks for it, and adds the hash of the final text."""

    type, name = "✂️ - FORMAT", "personal data"

    def __init__(self, is_wanted: bool, work: Path):
        super().__init__()
        self.is_wanted, self.work = is_wanted, work

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        tally = Tally()
        for document in data:
            if self.is_wanted:
                document.text, counts = pii.mask(document.text)
                tally.personal_data += counts
            document.metadata["sha256"] = sha256(document.text.encode()).hexdigest()
            yield document
        tally.save(self.work / "tally" / "personal_data" / f"{rank:05d}.json")


class Count(PipelineStep):
    """Counts the tokens and licences of the documents that are written."""

    type, name = "📊 - STATS", "tokens and licences"

    def __init__(self, work: Path):
        super().__init__()
        self.work = work

    def run(self, data: Iterator[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        tally = Tally()
        for document in data:
            document.metadata["tokens"] = document.metadata.pop("token_count", None)
            tally.tokens.append(document.metadata["tokens"])
            tally.licences[document.metadata["licence"] or "not stated"] += 1
            yield document
        tally.save(self.work / "tally" / "written" / f"{rank:05d}.json")


def write_documents(folder: Path) -> ParquetWriter:
    """Make the writer of documents: one parquet file per task that has any, with columns in a fixed order."""
    return _write_parquet(folder, _KEPT, _flatten)


def _write_dropped(folder: Path) -> ParquetWriter:
    return _write_parquet(folder, _DROPPED, _take_metadata)


def _write_parquet(folder: Path, schema: pyarrow.Schema, adapter: Callable[..., dict[str, object]]) -> ParquetWriter:
    options = {"batch_size": _BATCH, "compression": "zstd", "max_file_size": -1}  # never split
    return ParquetWriter(str(folder), "${rank}.parquet", adapter=adapter, schema=schema, **options)


def _flatten(_: ParquetWriter, document: Document) -> dict[str, object]:
    return {"id": document.id, "text": document.text, **document.metadata}


def _take_metadata(_: ParquetWriter, document: Document) -> dict[str, object]:
    return document.metadata


def _make(source: Source, row: Row | BadRow) -> Document | Drop:
    """Make the document of a row, or return the Drop that says why there is none."""
    if isinstance(row, BadRow):
        return Drop(row.reason)
    try:
        record = source.parse(row)
    except Drop as drop:
        return drop
    # json.dumps escapes lone surrogates, which JSON allows and a UTF-8 file does not.
    metadata = {"licence": record.licence, "file": row.file, "line": row.line, "fields": json.dumps(record.fields)}
    return Document(normalize(record.text), record.id, metadata=metadata)


def _describe_drop(file: str, line: int, identity: str, reason: str, detail: str = "") -> Document:
    return Document("", "", metadata={"file": file, "line": line, "id": identity, "reason": reason, "detail": detail})


def _identify(path: Path, name: str) -> dict[str, object]:
    """Return name, size and content hash of a source file. The hash is empty if the file cannot be read."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        return {"name": name, "bytes": path.stat().st_size, "sha256": digest}
    except OSError:
        return {"name": name, "bytes": 0, "sha256": ""}
