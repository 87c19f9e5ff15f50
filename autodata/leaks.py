"""What must not leave this machine: keys, and where its files lie."""

import mmap
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TypeVar

import zipfile_zstd  # noqa: F401  teaches zipfile the compression of inspect_ai's logs

from autodata.config import REPO

V = TypeVar("V")
_NAMES_A_SECRET = re.compile(r"TOKEN|KEY|SECRET|PASSWORD", re.IGNORECASE)
_SHORTEST_SECRET = 12  # a shorter value of such a variable is a setting, not a secret
_SHAPES = {
    "a key": rb"\b(?:hf|sk|ghp|gho)[_-][A-Za-z0-9_-]{20,}",
    "a name and password in a URL": rb"://[^/\s:@\"]+:[^/\s@\"]+@",
}
_WEIGHTS = ".safetensors"  # gigabytes of numbers


def make_portable(value: V) -> V:
    """A JSON value in which every absolute path is cut down to its last part."""
    if isinstance(value, dict):
        return {make_portable(k): make_portable(v) for k, v in value.items()}
    if isinstance(value, list):
        return [make_portable(v) for v in value]
    return PurePath(value).name if isinstance(value, str) and _is_absolute(value) else value


def _is_absolute(text: str) -> bool:
    return text.startswith(("/", "~/")) and "\n" not in text and len(text) > 1


def find_leaks(folder: Path, *places: Path) -> list[str]:
    """Every file below a folder that holds a key or names one of these places, and which; never the key itself."""
    patterns = _list_patterns(os.environ, (REPO, Path.cwd(), *places))
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != _WEIGHTS and p.stat().st_size)
    return [f"{file.relative_to(folder)}{part}: {what}" for file in files for part, data in _open(file)
            for what, pattern in patterns.items() if re.search(pattern, data)]  # fmt: skip


def _list_patterns(environment: Mapping[str, str], places: tuple[Path, ...]) -> dict[str, bytes]:
    secrets = {f"the value of {name}": re.escape(value.encode()) for name, value in environment.items()
               if _NAMES_A_SECRET.search(name) and len(value) >= _SHORTEST_SECRET}  # fmt: skip
    homes = () if Path.home() in (Path("/"), Path("/root")) else (Path.home(),)  # a document can speak of those
    paths = {str(path.resolve()) for path in (*places, *homes)} - {"/"}
    return _SHAPES | secrets | {f"the path {path}": re.escape(path.encode()) for path in sorted(paths)}


def _open(file: Path) -> Iterator[tuple[str, bytes | mmap.mmap]]:
    """The content of a file, or of every file that an archive holds."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from ((f" ({name})", archive.read(name)) for name in archive.namelist())
    else:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield "", data
