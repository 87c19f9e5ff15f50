"""Describes a pack: one ZIP file with all that is needed to make runs again from stored replies, without any model.

Inside are `pack.json` (this description), `recipes/`, `replies/` (the journals), `documents/`, and the records of
trainings, each in the folder of its run.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from autodata.run.records import RunError, write_file
from autodata.types import UserError

DESCRIPTION, RECIPES, REPLIES, DOCUMENTS = "pack.json", "recipes", "replies", "documents"
VERSION = 1
_MOST_BYTES = 4 << 30  # a pack from elsewhere must not fill the disk
_ANY_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal content makes an equal file
# The command that makes each kind of run again; a pack cannot name another one.
COMMANDS = {
    "generate": "autodata.generate",
    "dataset": "autodata.dataset",
    "eval": "autodata.eval.run",
    "table": "autodata.eval.tables",
}


class PackError(UserError):
    """A pack cannot be made or replayed; the message says what is wrong with which file."""


@dataclass(frozen=True)
class Step:
    """A run or a table to make again, and the hashes of what must come out."""

    kind: str  # a key of COMMANDS
    name: str  # the folder of the run, or the table's file without its ending
    outputs: dict[str, str] = field(default_factory=dict)  # file, as seen from the folder of all runs → hash

    @property
    def recipe(self) -> str:
        return f"{RECIPES}/{self.name.replace('/', '_')}.yaml"

    @property
    def replies(self) -> str:
        return f"{REPLIES}/{self.name.replace('/', '_')}.jsonl"


@dataclass(frozen=True)
class Pack:
    """What a pack holds."""

    version: int
    git_commit: str | None  # of the code that made the pack and replayed it
    steps: tuple[Step, ...]
    documents: dict[str, str]  # folder or file below DOCUMENTS → its hash; it may have to be brought along
    weights: tuple[str, ...] = ()  # folders of trained weights, which the pack names but does not hold
    kept: dict[str, str] = field(default_factory=dict)  # run that is not made again → why; its records are in the pack


_PACK = TypeAdapter(Pack)


def write_pack(folder: Path, pack: Pack) -> None:
    write_file(folder / DESCRIPTION, json.dumps(_PACK.dump_python(pack, mode="json"), indent=2) + "\n")


def read_pack(folder: Path) -> Pack:
    """Read the description of an unpacked pack. Raises PackError."""
    path = folder / DESCRIPTION
    try:
        pack = _PACK.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise PackError(f"{path}: not the description of a pack; name a file that `autodata.publish` made") from error
    if pack.version != VERSION:
        raise PackError(f"{path}: version {pack.version}, but this code reads version {VERSION}; update it")
    names = [*pack.weights, *pack.documents, *(step.name for step in pack.steps)]
    names += [output for step in pack.steps for output in step.outputs]
    if wrong := [name for name in names if not _is_inside(name)]:
        raise PackError(f"{path}: {wrong[0]!r} is no path inside the folder of the runs")
    if unknown := [step.kind for step in pack.steps if step.kind not in COMMANDS]:
        raise PackError(f"{path}: a step of kind {unknown[0]!r}; known are {', '.join(COMMANDS)}")
    return pack


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and not {"..", "~"} & {*path.parts} and not name.startswith("-")


def compress(folder: Path, file: Path) -> None:
    """Write all files of a folder into one ZIP file; equal files make an equal ZIP file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(str(path.relative_to(folder)), _ANY_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes(), compresslevel=9)


def unpack(file: Path, folder: Path) -> Pack:
    """Unpack a pack into a folder, which is new or holds this very pack. Raises PackError, RunError."""
    try:
        with zipfile.ZipFile(file) as archive:
            if not _is_unpacked(archive, file, folder):
                names = sorted(archive.namelist(), key=lambda name: name == DESCRIPTION)  # last: then all is there
                archive.extractall(folder, names)  # it leaves out "..", drives and leading slashes
    except FileNotFoundError as error:
        raise PackError(f"{file}: no such file; name a file that `autodata.publish` made") from error
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        raise PackError(f"{file}: not a pack ({error}); name a file that `autodata.publish` made") from error
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}; free space or name another folder") from error
    return read_pack(folder)


def _is_unpacked(archive: zipfile.ZipFile, file: Path, folder: Path) -> bool:
    """Return True if the folder holds this pack. Raises PackError if it holds another, or if the pack is too large."""
    if (size := sum(info.file_size for info in archive.infolist())) > _MOST_BYTES:
        raise PackError(f"{file}: {size:,} bytes when unpacked; no pack is larger than {_MOST_BYTES:,}")
    described = archive.read(DESCRIPTION)
    if not folder.exists() or not any(folder.iterdir()):
        return False
    before = folder / DESCRIPTION
    if not before.is_file() or before.read_bytes() != described:
        raise PackError(f"{folder}: this folder holds something else; name a new folder")
    return True
