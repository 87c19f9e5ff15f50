"""Reads and writes the files of a run folder: whole files atomically, records line by line."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from autodata.types import UserError, WrongCall

T = TypeVar("T")
LINE = TypeAdapter(dict[str, Any])  # a record that has no type of its own


class RunError(UserError):
    """A run folder cannot be used; the message names the file and what to do."""


class NoSuchRun(RunError):
    """There is no run, or none of the right kind, where an argument or a recipe names one."""

    exit_code = WrongCall.exit_code


class Incomplete(UserError):
    """A run was stopped before its end."""

    def __init__(self, run: Path):
        super().__init__(f"{run}: not complete; run the same command again to resume")


def write_file(path: Path, text: str) -> None:
    """Replace a file atomically. Raises RunError."""
    write_lines(path, [text.encode()])


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Do the same as write_file, but stream the lines."""
    scratch = path.with_name(path.name + ".new")
    with name_file_in_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)


def read_json(path: Path) -> Any:
    """Read a JSON file; None if there is none. Raises RunError if it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error}); restore it or name another run folder") from error


def read_records(path: Path, adapter: TypeAdapter[T]) -> list[T]:
    """Read all records of a JSONL file. Raises RunError."""
    return list(iterate_records(path, adapter))


def iterate_records(path: Path, adapter: TypeAdapter[T]) -> Iterator[T]:
    """Yield the records of a JSONL file. A last line cut off by a crash is skipped; other damage raises RunError."""
    return (record for record, _, _ in _iterate_places(path, adapter))


def _iterate_places(path: Path, adapter: TypeAdapter[T]) -> Iterator[tuple[T, int, int]]:
    """Yield each record with the offset and size of its line."""
    offset = 0
    with path.open("rb") if path.exists() else nullcontext(()) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield adapter.validate_json(line), offset, len(line)
            except ValidationError as error:
                raise RunError(f"{path}:{number}: not a valid record ({error.errors()[0]['msg']})") from error
            offset += len(line)


def join_in_order(target: Path, sources: Iterable[Path], adapter: TypeAdapter[T], place: Callable[[T], int]) -> None:
    """Join the records of all `sources`, unchanged and sorted by `place`; only one at a time is in memory."""

    def read_line(path: Path, offset: int, size: int) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    places = sorted((place(record), path, *at) for path in sources for record, *at in _iterate_places(path, adapter))
    write_lines(target, (read_line(*line) for _, *line in places))


def repair_tail(path: Path) -> None:
    """Cut off an incomplete last line, left by a crash, so that the next record starts on a new line."""
    data = path.read_bytes() if path.exists() else b""
    if data and not data.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def link_files(source: Path, target: Path) -> None:
    """Hard-link a file, or all files below a folder; copy them if the file system has no links."""
    for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
        if file.is_file():
            place = target / file.relative_to(source) if source.is_dir() else target
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file.resolve(), place)
            except OSError:
                shutil.copyfile(file, place)


def hash_path(path: Path) -> str:
    """Hash the content of a file, or of all files below a folder together with their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as data:
            digest.update(hashlib.file_digest(data, "sha256").digest())
    return digest.hexdigest()[:16]


def digest(data: bytes) -> str:
    """Return a short content hash."""
    return hashlib.sha256(data).hexdigest()[:16]


@contextmanager
def name_file_in_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a RunError that names the file."""
    try:
        yield
    except OSError as error:
        advice = "free space or fix the permissions, then run the same command again: nothing that was stored is lost"
        raise RunError(f"{path}: {error.strerror or error}; {advice}") from error


TRAJECTORIES, ERRORS = "trajectories.jsonl", "errors.jsonl"
