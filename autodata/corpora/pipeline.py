"""Defines the steps of an ingest, which datatrove runs: select rows, read them, find duplicates, write.

A task selects the rows of one large file or several small ones; a task of a later stage works on one piece of them.
What a task writes depends only on its files, so the output is the same for any number of workers and after restarts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

import numpy
import pyarrow
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.writers.parquet import ParquetWriter

from autodata.corpora import papers, pieces
from autodata.corpora.quality import QualityCheck
from autodata.corpora.record import Drop
from autodata.corpora.remote.files import Place, locate, write_name
from autodata.corpora.repeats import REASONS
from autodata.corpora.rows import BadRow, Row
from autodata.corpora.sources import Source, read_values
from autodata.corpora.text import pii
from autodata.corpora.text.benchmarks import Benchmarks
from autodata.corpora.text.encodings import normalize
from autodata.corpora.text.parquet import read_parquet
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
    changes: Counter[str] = field(default_factory=Counter)  # what was mended or left out inside documents
    encodings: Counter[str] = field(default_factory=Counter)  # rows that were not UTF-8
    left_out: Counter[str] = field(default_factory=Counter)  # files of no use for the source, per ending
    tokens: list[int | None] = field(default_factory=list)  # one per document; None if not counted

    @property
    def kept(self) -> int:
        return len(self.tokens)

    def save(self, work: Path, stage: str, rank: int) -> None:
        path = work / "tally" / stage / f"{rank:05d}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vars(self)), encoding="utf-8")


@dataclass(frozen=True)
class _Drops:
    """Counts the rows of a task that are dropped, and writes place, id and reason of each."""

    source: Source
    tally: Tally
    writer: ParquetWriter
    rank: int

    def add(self, row: Row | BadRow, drop: Drop) -> None:
        self.tally.dropped[drop.reason] += 1
        details = {"file": row.file, "line": row.line, "reason": drop.reason, "detail": drop.detail}
        identity = self.source.identify(row) if isinstance(row, Row) else ""
        self.writer.write(Document("", identity, metadata=details), self.rank)


class Join(PipelineStep):
    """Reads the files of a task that are joined with papers: writes which are eligible, or their abstracts."""

    # A class and no function, because the log of a task shows a function's arguments: here the names of all files.
    type, name = "📖 - READER", "papers"

    def __init__(self, recipe: IngestRecipe, tasks: list[list[str]], join: Path, *, of_abstracts: bool):
        super().__init__()
        self.recipe, self.tasks, self.join, self.of_abstracts = recipe, tasks, join, of_abstracts

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        if self.of_abstracts:
            rows, eligible = read_values(self.recipe.abstracts, self.tasks[rank]), papers.Eligible.load(self.join)
            papers.build_abstracts(rows, self.join / "abstracts" / f"{rank:05d}", eligible)
        else:
            rows, filters = read_values(self.recipe.papers, self.tasks[rank]), self.recipe.s2orc
            papers.build(rows, self.join / f"{rank:05d}", filters.min_year, filters.field_of_study)


class Select(PipelineStep):
    """Reads the files of a task, and keeps the rows that can become documents, in pieces of one size."""

    type, name = "📖 - READER", "corpus"

    def __init__(self, recipe: IngestRecipe, tasks: list[list[str]], join: Path, folder: Path):
        super().__init__()
        self.recipe, self.tasks, self.join, self.folder = recipe, tasks, join, folder

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> None:
        source, tally = Source(self.recipe, self.join), Tally()
        with write_documents(self.folder / "dropped", _DROPPED) as dropped, pieces.PieceWriter(self.folder) as kept:
            drops = _Drops(source, tally, dropped, rank)
            for name in self.tasks[rank]:
                tally.files.append(_identify(locate(self.recipe.path, name), name))
                for row in source.read(name):
                    tally.rows += 1
                    try:
                        if isinstance(row, BadRow):
                            raise Drop(row.reason)
                        source.select(row)
                        kept.keep(row, rank)
                    except Drop as drop:
                        drops.add(row, drop)
        tally.save(self.folder, "rows", rank)


class Read(PipelineStep):
    """Makes documents of the rows of a piece, and records each row that is dropped."""

    type, name = "📖 - READER", "rows"

    def __init__(self, recipe: IngestRecipe, tasks: list[Path], join: Path, work: Path):
        super().__init__()
        self.recipe, self.tasks, self.join, self.work = recipe, tasks, join, work

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        source, tally = Source(self.recipe, self.join), Tally()
        quality = QualityCheck(self.recipe.quality)
        contents = Benchmarks.read(self.recipe.decontaminate)
        with write_documents(self.work / "dropped" / "read", _DROPPED) as dropped:
            drops = _Drops(source, tally, dropped, rank)
            for row in pieces.read_piece(self.tasks[rank]):
                try:
                    document = _make(source, row, tally)
                    quality.check(document)
                    contents.check(document.text)
                except Drop as drop:
                    drops.add(row, drop)
                else:
                    yield document
        tally.save(self.work, "read", rank)


def load_unique(is_masked: bool, work: Path, _data: None, rank: int, _tasks: int) -> Iterator[Document]:
    """Load what `Read` wrote for this task, without repeats; mask personal data if asked, and hash the text."""
    repeats = dict(numpy.load(work / "repeats" / f"{rank:05d}.npy").tolist())
    path, tally = work / "read" / f"{rank:05d}.parquet", Tally()
    rows = read_parquet(path) if path.exists() else ()  # a task without documents has no file
    with write_documents(work / "dropped" / "repeats", _DROPPED) as dropped:
        for number, row in enumerate(rows):
            text, identity = row.pop("text"), row.pop("id")
            if number in repeats:
                reason = REASONS[repeats[number]]
                tally.dropped[reason] += 1
                dropped.write(Document("", identity, metadata={**row, "reason": reason, "detail": ""}), rank)
                continue
            if is_masked:
                text, counts = pii.mask(text)
                tally.personal_data += counts
            yield Document(text, identity, metadata={**row, "sha256": sha256(text.encode()).hexdigest()})
    tally.save(work, "repeats", rank)


def count_tokens(work: Path, documents: Iterable[Document], rank: int, _tasks: int) -> Iterator[Document]:
    """Pass the documents that are written on, and count their tokens and licences."""
    tally = Tally()
    for document in documents:
        document.metadata.setdefault("tokens", None)
        tally.tokens.append(document.metadata["tokens"])
        tally.licences[document.metadata["licence"] or "not stated"] += 1
        yield document
    tally.save(work, "written", rank)


def write_documents(folder: Path, schema: pyarrow.Schema = _KEPT) -> ParquetWriter:
    """Make the writer of documents: one parquet file per task that has any, with columns in a fixed order."""
    options = {"batch_size": _BATCH, "compression": "zstd", "max_file_size": -1}  # never split
    return ParquetWriter(str(folder), "${rank}.parquet", adapter=_flatten, schema=schema, **options)


def _flatten(_: ParquetWriter, document: Document) -> dict[str, object]:
    """Put id and text beside the other fields; the schema selects the columns."""
    return {"id": document.id, "text": document.text, **document.metadata}


def _make(source: Source, row: Row, tally: Tally) -> Document:
    """Make the document of a row, and count what had to be mended. Raises Drop."""
    record = source.parse(row)
    # json.dumps escapes lone surrogates, which JSON allows and a UTF-8 file does not.
    fields = json.dumps(record.fields)
    metadata = {"licence": normalize(record.licence), "file": row.file, "line": row.line, "fields": fields}
    tally.changes.update(record.changes)
    tally.encodings.update([row.encoding] if row.encoding else [])
    return Document(normalize(record.text), record.id, metadata=metadata)


def _identify(place: Place, name: str) -> dict[str, object]:
    """Return name, size and content hash of a source file; no hash if it cannot be read, or is on another machine."""
    size, digest = 0, ""
    with suppress(OSError):
        if isinstance(place, Path):
            with place.open("rb") as file:
                size, digest = place.stat().st_size, file_digest(file, "sha256").hexdigest()
    return {"name": write_name(name), "bytes": size, "sha256": digest}
