"""Unpacks a pack into a folder, after making sure that it holds nothing but what a replay reads.

A stranger may have made the pack. It must not fill the disk, write outside the folder, bring results instead of the
replies that they follow from, or bring a recipe that reads other files of this machine.
"""

import hashlib
import json
import lzma
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml

from autodata.replay.pack import DESCRIPTION, DOCUMENTS, PROMPTS, Pack, PackError, is_inside, read_pack
from autodata.run.folder import MANIFEST
from autodata.run.records import RunError, digest
from autodata.types import WrongCall

COSTS = {"ledger", "elapsed_s"}  # all that the manifest of a run that is made again may say
MOST_BYTES = 4 << 30
_MOST_FILES = 200_000
_MOST_DESCRIBED = 16 << 20  # bytes of the description, and of a recipe, which are read as a whole
_CONTENT = ".content"  # in an unpacked folder, the hash of its pack; no file of a pack has such a name
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, KeyError, EOFError, ValueError, RuntimeError)


def unpack(file: Path, folder: Path) -> Pack:
    """Unpack a pack into a folder, which is new or holds this very pack. Raises PackError, RunError, WrongCall."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = _list_members(archive, file)
            pack = read_pack(_read(archive, DESCRIPTION), file / DESCRIPTION)
            _require_places(members, pack, file)
            _require_harmless(archive, members, pack, file)
            content = _hash_content(archive, members)
            if not _is_unpacked(folder, content):
                _extract(archive, members, folder, content)
            return pack
    except FileNotFoundError as error:
        raise WrongCall(f"{file}: no such file; name a file that `autodata.publish` made") from error
    except _BROKEN as error:
        raise PackError(f"{file}: not a pack ({error}); name a file that `autodata.publish` made") from error
    except OSError as error:
        raise RunError(f"{folder}: {error.strerror}; free space or name another folder") from error


def _list_members(archive: zipfile.ZipFile, file: Path) -> list[str]:
    """List the files of an archive. Raises PackError if they are too large, too many, or not plain files."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in files]
    if (size := sum(info.file_size for info in files)) > MOST_BYTES:
        raise PackError(f"{file}: {size:,} bytes when unpacked; no pack is larger than {MOST_BYTES:,}")
    if len(files) > _MOST_FILES:
        raise PackError(f"{file}: {len(files):,} files; no pack has more than {_MOST_FILES:,}")
    taken = Counter(names) + Counter({str(parent) for name in names for parent in PurePosixPath(name).parents})
    if clash := next((name for name in names if taken[name] > 1), None):
        raise PackError(f"{file}: {clash!r} is in it twice")
    return names


def _require_places(members: Sequence[str], pack: Pack, file: Path) -> None:
    """Raise PackError for a file that a replay does not read, such as a result that it is to make itself."""
    own = {
        DESCRIPTION,
        *(name for step in pack.steps for name in (step.recipe, step.replies, f"{step.name}/{MANIFEST}")),
    }
    made = tuple(f"{step.name}/" for step in pack.steps)
    read = (f"{PROMPTS}/", *(f"{name}/" for name in pack.kept))
    documents = {f"{DOCUMENTS}/{name}" for name in pack.documents}
    for name in members:
        is_document = name in documents or any(name.startswith(f"{one}/") for one in documents)
        is_read = is_inside(name) and name.startswith(read) and not name.startswith(made)
        if not (name in own or is_read or (is_document and ".." not in name.split("/"))):
            raise PackError(f"{file}: {name!r} has no place in a pack; name a file that `autodata.publish` made")


def _require_harmless(archive: zipfile.ZipFile, members: Sequence[str], pack: Pack, file: Path) -> None:
    """Raise PackError for a manifest that says that its run is finished, or a recipe that is more than its values."""
    for step in pack.steps:
        text = _read(archive, name) if (name := f"{step.name}/{MANIFEST}") in members else b""
        costs = json.loads(text or "{}")
        if not isinstance(costs, dict) or not costs.keys() <= COSTS:
            raise PackError(f"{file}: {name} says more than what the run had cost")
        if step.name in pack.costs and digest(text) != pack.costs[step.name]:
            raise PackError(f"{file}: {name} says other costs than those with which the pack was made")
    for name in members:
        if name.endswith(".yaml") and not name.startswith(f"{DOCUMENTS}/") and not is_plain(_read(archive, name)):
            raise PackError(
                f"{file}: {name} has an alias, an include or an interpolation, which no published recipe has"
            )


def is_plain(text: bytes) -> bool:
    """Return True for YAML in which every value is written out. Raises ValueError if it is no YAML."""
    try:
        events = list(yaml.parse(text.decode()))
    except yaml.YAMLError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    words = [event.value for event in events if isinstance(event, yaml.ScalarEvent)]
    if any(isinstance(event, yaml.AliasEvent) for event in events) or any("${" in word for word in words):
        return False
    return "include" not in (yaml.safe_load(text) or {})


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a small file of an archive. Raises ValueError if it is not small, KeyError if it is not there."""
    if (size := archive.getinfo(name).file_size) > _MOST_DESCRIBED:
        raise ValueError(f"{name} has {size:,} bytes")
    return archive.read(name)


def _hash_content(archive: zipfile.ZipFile, members: Sequence[str]) -> str:
    """Hash all files of a pack: the same description may stand beside other replies."""
    content = hashlib.sha256()
    for name in sorted(members):
        with archive.open(name) as data:
            content.update(name.encode() + b"\0" + hashlib.file_digest(data, "sha256").digest())
    return content.hexdigest()


def _is_unpacked(folder: Path, content: str) -> bool:
    """Return True if the folder holds this pack. Raises PackError if it holds another."""
    if not folder.exists() or not any(folder.iterdir()):
        return False
    before = folder / _CONTENT
    if not before.is_file() or before.read_text(encoding="utf-8") != content:
        raise PackError(f"{folder}: this folder holds something else; name a new folder, or delete this one")
    return True


def _extract(archive: zipfile.ZipFile, members: Sequence[str], folder: Path, content: str) -> None:
    """Unpack into a folder beside, which then gets the name: a kill leaves no half of a pack under it."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True)
    with beside as scratch:
        archive.extractall(new := Path(scratch) / "new", members)
        (new / _CONTENT).write_text(content, encoding="utf-8")
        new.replace(folder)
