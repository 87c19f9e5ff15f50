"""Lists and opens the files of a corpus: in a folder here, or at an address that fsspec reads, as s3:// and hf://."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import fsspec

from autodata.config import RecipeError
from autodata.run.records import RunError

_BUFFER = 1 << 20
_CREDENTIALS = {
    "s3": "give credentials as the AWS tools read them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws)",
    "hf": "set HF_TOKEN to a token that may read it, and do not set HF_HUB_OFFLINE",
}


@dataclass(frozen=True)
class Remote:
    """A file that is not on this machine. It has the part of pathlib's interface that readers use."""

    url: str

    @property
    def name(self) -> str:
        return PurePosixPath(self.url).name

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.url).suffix

    def open(self, _mode: str = "rb") -> BinaryIO:
        """Open the file. Raises RunError here and in every read, because a connection that breaks damages no file."""
        with _explain(self.url):
            return io.BufferedReader(_Checked(self.url), _BUFFER)


Place = Path | Remote


class _Checked(io.RawIOBase):
    """The bytes of a remote file. What fails is a RunError, so that no reader takes it for the end of the file."""

    def __init__(self, url: str):
        self._url, self._file = url, None
        self._file = fsspec.open(url, "rb").open()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:
        with _explain(self._url):
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def locate(folder: str, name: str) -> Place:
    """Return the place of a file of a folder."""
    return Remote(f"{folder.rstrip('/')}/{name}") if is_remote(folder) else Path(folder) / name


@contextmanager
def bring_here(place: Place, limit: int) -> Iterator[Path]:
    """Give the path of a file on this machine: a copy of a remote one, of at most one byte more than `limit`."""
    if isinstance(place, Path):
        yield place
        return
    with tempfile.NamedTemporaryFile(suffix=place.suffix) as copy, place.open() as file:
        copy.write(file.read(limit + 1))
        copy.flush()
        yield Path(copy.name)


def write_name(name: str) -> str:
    """Return a file's name as text that can be saved: bytes that are no UTF-8 become \\xe9 or the like."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_remote(folder: str) -> bool:
    return "://" in folder


def list_files(folder: str, key: str) -> dict[str, tuple[int, str]]:
    """List the files below a folder, without hidden ones: name → size and version. Raises RecipeError.

    The version changes with the file: its time here; elsewhere what its store states.
    """
    listed = _list_remote(folder, key) if is_remote(folder) else _list_local(folder, key)
    names = sorted(listed, key=lambda name: name.split("/"))
    return {name: listed[name] for name in names if not any(part.startswith(".") for part in name.split("/"))}


def walk(root: Path) -> Iterator[Path]:
    """Yield all that is below a folder but hidden files and folders themselves, also where a link to a folder leads.

    Each folder is listed once. Links are followed last, so that what lies below `root` has its own name.
    """
    starts, seen = [root], set[Path]()
    for start in starts:  # which grows
        for folder, below, names in os.walk(start):
            if (place := Path(folder).resolve()) in seen:
                below.clear()
                continue
            seen.add(place)
            paths = [Path(folder, name) for name in sorted(below) if not name.startswith(".")]
            starts += [path for path in paths if path.is_symlink() and not place.is_relative_to(path.resolve())]
            below[:] = [path.name for path in paths if not path.is_symlink()]
            yield from (Path(folder, name) for name in names if not name.startswith("."))


def _list_local(folder: str, key: str) -> dict[str, tuple[int, str]]:
    root = Path(folder)
    if not root.is_dir():
        raise RecipeError(f"{key}={folder}: no such folder")
    # A link to a file that is gone is listed too, so that it is counted and not passed over.
    paths = [path for path in walk(root) if path.is_file() or not path.exists()]
    facts = {path.relative_to(root).as_posix(): path.stat() if path.exists() else None for path in paths}
    return {name: (fact.st_size, str(fact.st_mtime_ns)) if fact else (0, "") for name, fact in facts.items()}


def _list_remote(folder: str, key: str) -> dict[str, tuple[int, str]]:
    """List by one call. Every file system has errors of its own, which are all about the address or the access."""
    kind = folder.partition("://")[0]
    try:
        file_system, root = fsspec.url_to_fs(folder)
        found = file_system.find(root, detail=True)
    except ImportError as error:
        raise RecipeError(f"{key}={folder}: {error}; install it beside this package") from error
    except Exception as error:
        advice = _CREDENTIALS.get(kind, "check the address and the access to it")
        raise RecipeError(f"{key}={folder}: cannot be listed ({_name(error)}); {advice}") from error
    if not found:
        raise RecipeError(f"{key}={folder}: no file there, or no such folder")
    start = len(root.rstrip("/")) + 1
    return {path[start:]: (int(fact.get("size") or 0), _find_version(fact)) for path, fact in found.items()}


def _find_version(fact: dict[str, object]) -> str:
    return str(
        next((fact[key] for key in ("ETag", "blob_id", "mtime", "created", "LastModified") if fact.get(key)), "")
    )


@contextmanager
def _explain(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the file system of this address raises: nothing but it runs here
        remedy = "run the same command again: finished tasks are kept"
        raise RunError(f"{url}: cannot be read ({_name(error)}); {remedy}") from error


def _name(error: Exception) -> str:
    """Return kind and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
