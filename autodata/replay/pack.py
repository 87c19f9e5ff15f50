"""Describes a pack: one ZIP file with all that is needed to make runs again from stored replies, without any model.

Inside are `pack.json` (this description), `recipes/`, `replies/` (the journals), `documents/`, `prompts/`, and the
records of runs that are not made again, each in the folder of its run.
"""

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from autodata.recipes.reading.kinds import MODULES, SCHEMAS
from autodata.run.records import write_file
from autodata.types import UserError

DESCRIPTION, RECIPES, REPLIES, DOCUMENTS, PROMPTS = "pack.json", "recipes", "replies", "documents", "prompts"
VERSION = 1
_RESERVED = {DESCRIPTION, RECIPES, REPLIES, DOCUMENTS, PROMPTS}
# A name becomes part of a command line, of a path and of a line on the screen: a hidden file, an option, an
# interpolation or a control character is none.
_PART = re.compile(r"\w[\w .,+@()-]*")
_ANY_DATE = (1980, 1, 1, 0, 0, 0)  # so that equal content makes an equal file
# The command that makes each kind of run again; a pack cannot name another one.
COMMANDS = {kind: MODULES[SCHEMAS[kind]] for kind in ("generate", "dataset", "eval", "table")}


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
        return f"{RECIPES}/{self.name}.yaml"

    @property
    def replies(self) -> str:
        return f"{REPLIES}/{self.name}.jsonl"


@dataclass(frozen=True)
class Pack:
    """What a pack holds."""

    version: int
    git_commit: str | None  # the code that made the pack and replayed it
    steps: tuple[Step, ...]
    documents: dict[str, str]  # folder or file below DOCUMENTS → its hash; it may have to be brought along
    weights: tuple[str, ...] = ()  # folders of trained weights, which the pack names but does not hold
    kept: dict[str, str] = field(default_factory=dict)  # run that is not made again → why; its records are in the pack
    records: dict[str, str] = field(default_factory=dict)  # file of these records → hash; older packs have none
    left_out: dict[str, str] = field(default_factory=dict)  # documents that the pack does not hold → why
    costs: dict[str, str] = field(default_factory=dict)  # run → hash of what it had cost; older packs have none


_PACK = TypeAdapter(Pack)


def write_pack(folder: Path, pack: Pack) -> None:
    write_file(folder / DESCRIPTION, json.dumps(_PACK.dump_python(pack, mode="json"), indent=2) + "\n")


def read_pack(text: bytes, where: Path) -> Pack:
    """Read the description of a pack. Raises PackError."""
    try:
        pack = _PACK.validate_json(text)
    except ValidationError as error:
        raise PackError(f"{where}: not the description of a pack; name a file that `autodata.publish` made") from error
    if pack.version != VERSION:
        raise PackError(f"{where}: version {pack.version}, but this code reads version {VERSION}; update it")
    if problem := next(_find_problems(pack), None):
        raise PackError(f"{where}: {problem}")
    return pack


def _find_problems(pack: Pack) -> Iterator[str]:
    """Find what a pack must not say about itself: it may come from a stranger."""
    for step in pack.steps:
        if step.kind not in COMMANDS:
            yield f"a step of kind {step.kind!r}; known are {', '.join(COMMANDS)}"
    yield from _find_bad_names(pack)
    if not all(map(str.isprintable, (pack.git_commit or "", *pack.kept.values(), *pack.left_out.values()))):
        yield "a text with control characters, which a terminal would obey"


def _find_bad_names(pack: Pack) -> Iterator[str]:
    made = Counter([*pack.kept, *(step.name for step in pack.steps)])
    outputs = [output for step in pack.steps for output in step.outputs]
    for name in (*made, *pack.weights, *pack.documents, *pack.left_out, *pack.records, *outputs):
        if not is_inside(name):
            yield f"{name!r} is no path inside the folder of the runs, or has a sign that such a path must not have"
    for name in (*made, *pack.weights):
        if name.partition("/")[0] in _RESERVED:
            yield f"{name!r} is where a pack keeps its own files; give the run another name"
    for name in (name for name, count in made.items() if count > 1):
        yield f"two runs or tables are named {name!r}; give one of them another name"


def is_inside(name: str) -> bool:
    """Return True for a relative path of plain names that is written in only one way."""
    return all(map(_PART.fullmatch, name.split("/")))


def compress(folder: Path, file: Path) -> None:
    """Write all files of a folder into one ZIP file; equal files make an equal ZIP file."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(str(path.relative_to(folder)), _ANY_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, path.read_bytes(), compresslevel=9)
