"""Reads the documents that a command works on: a folder of your own texts, or the output of an ingest."""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autodata.corpora import own
from autodata.corpora.record import Drop
from autodata.corpora.remote.files import walk
from autodata.corpora.rows import BadRow, Row, read_rows
from autodata.recipes.corpora import OwnFilters
from autodata.types import Document, WrongCall

INGESTED = "documents"  # the folder with the shards in a run of autodata.corpora.ingest
_NO_FILTERS = OwnFilters(max_chars=own.MAX_TEXT_BYTES)


class DocumentsError(WrongCall):
    """There is nothing to work on; the message names the path and what to put there."""


@dataclass
class Corpus:
    """The documents that could be read, their files, and the (file:line, reason) of each one that was skipped."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # those with a document, in order


def read_corpus(path: str, limit: int | None = None) -> Corpus:
    """Read every document under `path`, in the order of file names. Unusable ones are skipped, with a reason.

    Raises DocumentsError when the path does not exist, holds no usable document, or is an ingest that is not finished.
    """
    corpus, ids = Corpus(), set()
    for file, source, document in _read_all(Path(path)):
        if isinstance(document, str):
            corpus.skipped.append((source, document))
        elif document.id in ids:
            corpus.skipped.append((source, f"an earlier document has the same id, {document.id!r}"))
        else:
            ids.add(document.id)
            corpus.documents.append(document)
            corpus.files += [file] if file not in corpus.files[-1:] else []
        if limit is not None and len(corpus.documents) >= limit:
            break
    if not corpus.documents:
        problem = f"documents.path={path}: no usable {own.KINDS} document"
        reasons = "; ".join(f"{place}: {reason}" for place, reason in corpus.skipped[:3])
        raise DocumentsError(f"{problem} ({reasons})" if reasons else problem)
    return corpus


def group_documents(documents: Sequence[Document], size: int, seed: int) -> list[Document]:
    """Shuffle the documents and join them, `size` at a time; the last group may be smaller.

    The same documents and seed always give the same groups. Up to `size` 1 the documents are returned as they are.
    """
    if size <= 1:
        return list(documents)
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)
    return [_join(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]


def take_shard(documents: Sequence[Document], shard: str) -> list[Document]:
    """Return every n-th document for the shard "i/n", where i counts from 1. Raises DocumentsError."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= len(documents):
        raise DocumentsError(
            f"documents.shard={shard}: write it as i/n, with i from 1 to n and n at most {len(documents)}, "
            "the number of documents"
        )
    return list(documents[number - 1 :: count])


def find_files(path: Path) -> list[tuple[Path, str]]:
    """List path and relative name of the files below a folder, sorted and without hidden ones."""
    return sorted((p, p.relative_to(path).as_posix()) for p in walk(path) if p.is_file() or not p.exists())


def _join(members: Sequence[Document]) -> Document:
    text = "\n\n".join(f"Sample {number}\n{d.text}" for number, d in enumerate(members, 1))
    ids = [d.id for d in members]
    identity = "group-" + hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    licences = sorted({str(d.fields["licence"]) for d in members if d.fields.get("licence")})
    fields = {"members": ids} | ({"licence": "; ".join(licences)} if licences else {})
    return Document(identity, text, "; ".join(d.source for d in members), fields)


def _read_all(path: Path) -> Iterator[tuple[Path, str, Document | str]]:
    """Yield each document, or why it cannot be used, with its file and the name of its place."""
    if not path.exists():
        raise DocumentsError(
            f"documents.path={path}: no such file or folder; name your documents with documents.path=…"
        )
    if (path / "manifest.json").exists():
        yield from _read_ingested(path)
        return
    files = [(path, path.name)] if path.is_file() else [f for f in find_files(path) if own.can_read(f[1])]
    for file, name in files:
        for row in own.read(file, name):
            where = row.file if own.is_text(name) else f"{row.file}:{row.line}"
            yield file, where, row.reason if isinstance(row, BadRow) else _make_document(row, where)


def _make_document(row: Row, where: str) -> Document | str:
    try:
        record = own.parse(row, _NO_FILTERS)
    except Drop as drop:
        return str(drop)
    licence = {"licence": record.licence} if record.licence else {}
    return Document(record.id, record.text, where, record.fields | licence)


def _read_ingested(path: Path) -> Iterator[tuple[Path, str, Document | str]]:
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    if not manifest.get("finished"):
        problem = f"documents.path={path}: the ingest is not finished"
        raise DocumentsError(f"{problem}; run python -m autodata.corpora.ingest again")
    for shard, name in find_files(path / INGESTED):
        for row in read_rows(shard, name):
            if isinstance(row, BadRow):  # the ingest wrote only complete shards, so this one was damaged later
                raise DocumentsError(f"documents.path={path}: {INGESTED}/{name}: {row.reason}; ingest again")
            record = row.value
            where = f"{record['file']}:{record['line']}"
            licence = {"licence": record["licence"]} if record["licence"] else {}
            yield shard, where, Document(record["id"], record["text"], where, json.loads(record["fields"]) | licence)
