"""The documents that a command works on: a folder of one's own texts, or what `autodata.corpora.ingest` made."""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autodata.corpora import own
from autodata.corpora.record import Drop
from autodata.corpora.rows import Bad, Row, read_rows
from autodata.recipes.corpora import OwnFilters
from autodata.types import Document, UserError

INGESTED = "documents"  # folder of the shards in a run of autodata.corpora.ingest
_COMMAND = "python -m autodata.corpora.ingest"
_KINDS = ".txt, .md, .pdf, .jsonl or .parquet"
_ANY = OwnFilters(max_chars=own.MAX_TEXT_BYTES)


class DocumentsError(UserError):
    """There is nothing to work on; the message names the path and what to put there."""


@dataclass
class Corpus:
    """The documents that could be read, and what was left out: (file:line, reason)."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_corpus(path: str, limit: int | None = None) -> Corpus:
    """Every document under `path`, in the order of file names; bad ones are skipped with a reason.

    Raises DocumentsError when the path does not exist, holds no usable document, or is an ingest that is not done.
    """
    corpus, seen = Corpus(), set()
    for source, document in _read_all(Path(path)):
        if isinstance(document, str):
            corpus.skipped.append((source, document))
        elif document.id in seen:
            corpus.skipped.append((source, f"the id {document.id!r} was used before"))
        else:
            seen.add(document.id)
            corpus.documents.append(document)
        if limit is not None and len(corpus.documents) >= limit:
            break
    if not corpus.documents:
        reasons = "; ".join(f"{where}: {why}" for where, why in corpus.skipped[:3])
        raise DocumentsError(
            f"documents.path={path}: no usable {_KINDS} document" + (f" ({reasons})" if reasons else "")
        )
    return corpus


def group_documents(documents: Sequence[Document], size: int, seed: int) -> list[Document]:
    """Shuffled, and joined `size` at a time; the last may hold fewer. The same for the same documents and seed."""
    if size <= 1:
        return list(documents)
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)
    return [_join(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]


def take_shard(documents: Sequence[Document], shard: str) -> list[Document]:
    """Every n-th document, for "i/n" with i from 1. Raises DocumentsError."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count <= len(documents):
        raise DocumentsError(f"documents.shard={shard}: name it i/n, with i from 1 to n, and no more shards than the "
                             f"{len(documents)} documents")  # fmt: skip
    return list(documents[number - 1 :: count])


def find_files(path: Path, suffixes: tuple[str, ...]) -> list[tuple[Path, str]]:
    """The files below a folder with one of these endings, and their names in it, in order; no hidden ones."""
    found = ((p, p.relative_to(path)) for p in path.rglob("*") if p.name.lower().endswith(suffixes) and p.is_file())
    return sorted((p, name.as_posix()) for p, name in found if not any(part.startswith(".") for part in name.parts))


def _join(members: Sequence[Document]) -> Document:
    text = "\n\n".join(f"Sample {number}\n{d.text}" for number, d in enumerate(members, 1))
    ids = [d.id for d in members]
    identity = "group-" + hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    licences = sorted({str(d.fields["licence"]) for d in members if d.fields.get("licence")})
    fields = {"members": ids} | ({"licence": "; ".join(licences)} if licences else {})
    return Document(identity, text, "; ".join(d.source for d in members), fields)


def _read_all(path: Path) -> Iterator[tuple[str, Document | str]]:
    if not path.exists():
        raise DocumentsError(f"documents.path={path}: no such file or folder")
    if (path / "manifest.json").exists():
        yield from _read_ingested(path)
        return
    for file, name in [(path, path.name)] if path.is_file() else find_files(path, own.SUFFIXES):
        for row in own.read(file, name):
            where = name if file.suffix.lower() in own.TEXTS else f"{name}:{row.line}"
            yield where, row.reason if isinstance(row, Bad) else _attempt(row, where)


def _attempt(row: Row, where: str) -> Document | str:
    try:
        record = own.parse(row, _ANY)
    except Drop as drop:
        return str(drop)
    return Document(record.id, record.text, where, record.fields | _state(record.licence))


def _state(licence: object) -> dict[str, object]:
    return {"licence": licence} if licence else {}


def _read_ingested(path: Path) -> Iterator[tuple[str, Document | str]]:
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    if not manifest.get("finished"):
        raise DocumentsError(f"documents.path={path}: not finished; run {_COMMAND} again")
    for shard, name in find_files(path / INGESTED, (".parquet",)):
        for row in read_rows(shard, name):
            if isinstance(row, Bad):  # a shard was complete when it was written
                raise DocumentsError(f"documents.path={path}: {INGESTED}/{name}: {row.reason}; ingest again")
            v = row.value
            where = f"{v['file']}:{v['line']}"
            yield where, Document(v["id"], v["text"], where, json.loads(v["fields"]) | _state(v["licence"]))
