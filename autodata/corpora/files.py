"""Documents from a folder of .txt, .md and .jsonl files, as people have them."""

import hashlib
import json
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from charset_normalizer import from_bytes

from autodata.types import Document

SUFFIXES = {".txt", ".md", ".jsonl"}
MAX_DOCUMENT_BYTES = 20_000_000  # beyond this it is a corpus or a dump, not a document
_SNIFFED = 64_000  # bytes looked at to tell an encoding
_NOT_FIELDS = {"id", "text", "preparation"}  # the last is what a domain extracts, never a record's own


class DocumentsError(ValueError):
    """There is nothing to work on; the message names the path and what to put there."""


class _Skip(ValueError):
    """One bad file or line."""


@dataclass
class Corpus:
    """The documents that could be read, and what was left out: (file:line, reason)."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def read_corpus(path: str, limit: int | None = None) -> Corpus:
    """Every document under `path`, in the order of file names; bad ones are skipped with a reason.

    Raises DocumentsError when the path does not exist or holds no usable document.
    """
    corpus, seen = Corpus(), set()
    for source, document in _read_all(_find_files(Path(path))):
        if isinstance(document, _Skip):
            corpus.skipped.append((source, str(document)))
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
            f"documents.path={path}: no usable .txt, .md or .jsonl document" + (f" ({reasons})" if reasons else "")
        )
    return corpus


def group_documents(documents: Sequence[Document], size: int, seed: int) -> list[Document]:
    """Shuffled, and joined `size` at a time; the last may hold fewer. The same for the same documents and seed."""
    if size <= 1:
        return list(documents)
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)
    return [_join(shuffled[i : i + size]) for i in range(0, len(shuffled), size)]


def _join(members: Sequence[Document]) -> Document:
    text = "\n\n".join(f"Sample {number}\n{d.text}" for number, d in enumerate(members, 1))
    ids = [d.id for d in members]
    identity = "group-" + hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    return Document(identity, text, "; ".join(d.source for d in members), {"members": ids})


def _find_files(path: Path) -> list[tuple[Path, str]]:
    if not path.exists():
        raise DocumentsError(f"documents.path={path}: no such file or folder")
    if path.is_file():
        return [(path, path.name)]
    found = (p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
    return sorted((p, p.relative_to(path).as_posix()) for p in found if not p.name.startswith("."))


def _read_all(files: list[tuple[Path, str]]) -> Iterator[tuple[str, Document | _Skip]]:
    for path, name in files:
        if path.suffix.lower() == ".jsonl":
            yield from _read_jsonl(path, name)
        else:
            yield name, _attempt_file(path, name)


def _attempt_file(path: Path, name: str) -> Document | _Skip:
    try:
        if path.stat().st_size > MAX_DOCUMENT_BYTES:
            raise _Skip(f"larger than {MAX_DOCUMENT_BYTES} bytes; split it")
        return Document(name, _clean(_decode(path.read_bytes())), name)
    except OSError as error:
        return _Skip(f"cannot be read: {error.strerror}")
    except _Skip as problem:
        return problem


def _read_jsonl(path: Path, name: str) -> Iterator[tuple[str, Document | _Skip]]:
    number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_DOCUMENT_BYTES):
            number += 1
            source = f"{name}:{number}"
            if not line.endswith(b"\n") and len(line) == MAX_DOCUMENT_BYTES:
                while (rest := file.readline(MAX_DOCUMENT_BYTES)) and not rest.endswith(b"\n"):
                    pass  # the memory used never grows with the line
                yield source, _Skip(f"a line of more than {MAX_DOCUMENT_BYTES} bytes")
            elif line.strip():
                yield source, _attempt_line(line, source)


def _attempt_line(line: bytes, source: str) -> Document | _Skip:
    try:
        record = json.loads(_decode(line))
        if not isinstance(record, dict):
            raise _Skip("not a JSON object")
        identity = record.get("id", source)
        if not isinstance(identity, str | int):
            raise _Skip("`id` is neither text nor a number")
        return Document(str(identity), _clean(_find_text(record)), source, _read_fields(record))
    except _Skip as problem:
        return problem
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        return _Skip(f"not JSON: {error}")


def _find_text(record: dict[str, object]) -> str:
    """The text of a record, or of a problem in the form of the Principia collection."""
    text, problem, answer = (record.get(key) for key in ("text", "problem_statement", "answer"))
    if isinstance(text, str):
        return text
    if not isinstance(problem, str) or not isinstance(answer, str):
        raise _Skip("no string `text`, nor strings `problem_statement` and `answer`")
    topic = record.get("topic")
    beginning = f"Topic: {topic}\n" if isinstance(topic, str) and topic.strip() else ""
    return f"{beginning}Problem: {problem}\nAnswer: {answer}"


def _read_fields(record: dict[str, object]) -> dict[str, object]:
    """The rest of a record, as far as it is text, numbers and truth values."""
    kept = {k: v for k, v in record.items() if k not in _NOT_FIELDS and isinstance(v, str | int | float)}
    return {k: _normalize(v) if isinstance(v, str) else v for k, v in kept.items()}


def _decode(data: bytes) -> str:
    """UTF-8 or UTF-16 by its mark, else what the bytes look like."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise _Skip("binary, not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        guess = from_bytes(data[:_SNIFFED]).best()
    if guess is None:
        raise _Skip("neither UTF-8 nor an encoding that could be told; convert it to UTF-8")
    return data.decode(guess.encoding, "replace")


def _clean(text: str) -> str:
    """Normalised; never empty."""
    text = _normalize(text)
    if not text:
        raise _Skip("empty")
    return text


def _normalize(text: str) -> str:
    """Composed Unicode without control characters; line breaks as \\n."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")).strip()
