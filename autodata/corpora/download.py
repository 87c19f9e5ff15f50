"""Downloads data sets from the Semantic Scholar Datasets API.

An interrupted file is resumed, and a file counts as complete only after it was checked.

python -m autodata.corpora.download recipes/ingest/download_s2orc.yaml [key=value …]
"""

import errno
import logging
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import orjson
from rich import progress as bars

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.remote.s2_api import Api, DownloadError, Expired, require_plain
from autodata.corpora.remote.transfer import Damaged, Show, fetch
from autodata.recipes.corpora import DownloadRecipe

LIST = "download.json"
_OWN_ENDINGS = (".part", ".part.tag", ".new")  # our own temporary files have these endings


@dataclass(frozen=True)
class Stored:
    """A file that is complete and was checked."""

    name: str
    bytes: int
    sha256: str


class Folder:
    """The folder of one data set, with a list of the files that are complete."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        try:
            listed = orjson.loads((path / LIST).read_bytes()) if (path / LIST).exists() else []
            self.stored = {entry["name"]: Stored(**entry) for entry in listed}
        except (orjson.JSONDecodeError, TypeError, KeyError):
            raise DownloadError(f"{path / LIST}: cannot be read; delete it and run the same command again") from None

    def has(self, name: str) -> bool:
        file, entry = self.path / name, self.stored.get(name)
        return entry is not None and file.is_file() and file.stat().st_size == entry.bytes

    def add(self, entry: Stored) -> None:
        self.stored[entry.name] = entry
        listed = [asdict(self.stored[name]) for name in sorted(self.stored)]
        scratch = self.path / f"{LIST}.new"
        scratch.write_bytes(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
        scratch.replace(self.path / LIST)


def download(recipe: DownloadRecipe, api: Api) -> None:
    """Fetch every file of the data sets that is not there yet. Raises DownloadError, OSError."""
    release = api.find_release(recipe.release)
    for dataset in recipe.datasets:
        folder = Folder(Path(recipe.to) / release / require_plain(dataset))
        urls = _list_files(api, release, dataset)
        names = list(urls)[: recipe.files]
        missing = [name for name in names if not folder.has(name)]
        print(f"{folder.path}: files: {len(names):,}, still to download: {len(missing):,}")
        for name in missing:
            urls = _get_one(api, folder, name, urls, (release, dataset))


def _list_files(api: Api, release: str, dataset: str) -> dict[str, str]:
    """List the files of a data set: name → address. Raises DownloadError if one would overwrite another or ours."""
    files = api.list_files(release, dataset)
    for name, times in Counter(name for name, _ in files).items():
        if times > 1:
            raise DownloadError(f"{dataset}: the release lists {name!r} {times} times; such a file cannot be stored")
        if name == LIST or name.endswith(_OWN_ENDINGS):
            raise DownloadError(f"{dataset}: the name {name!r} is reserved; such a file cannot be stored")
    return dict(files)


def _get_one(api: Api, folder: Folder, name: str, urls: dict[str, str], source: tuple[str, str]) -> dict[str, str]:
    """Fetch one file. If its address has expired, get a new list. Returns the list that is valid now."""
    damaged_retries, expired_retries = 1, 2  # counted separately: an expired address does not mean damaged bytes
    while True:
        if name not in urls:
            raise DownloadError(f"{name}: the release no longer has this file; name a release with release=…")
        try:
            _store(api, folder, name, urls[name])
            return urls
        except Damaged as problem:
            if not damaged_retries:
                raise DownloadError(f"{folder.path / name}: damaged at every download: {problem}") from None
            damaged_retries -= 1
        except Expired:
            if not expired_retries:
                raise DownloadError(f"{name}: the server refuses each new address of it; try again later") from None
            expired_retries -= 1
            urls = _list_files(api, *source)


def _store(api: Api, folder: Folder, name: str, url: str) -> None:
    """Fetch one file and add it to the list of complete files. Raises Expired, Damaged, DownloadError, OSError."""
    target = folder.path / name
    # Not the API's client, because the key must not be sent to the host of the file.
    with _show_progress(target) as show, httpx.Client(timeout=api.timeout_s) as http:
        size, sha256 = fetch(http, url, target, api.retries, show)
    folder.add(Stored(name, size, sha256))
    if not sys.stderr.isatty():
        print(f"{target}: {size:,} bytes")


@contextmanager
def _show_progress(target: Path) -> Iterator[Show]:
    """Show bytes, rate and remaining time of one file in a terminal.

    The function that updates the bar raises OSError when the rest of the file cannot fit: better now than hours later.
    """
    columns = bars.BarColumn(), bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn()
    with bars.Progress("{task.description}", *columns, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(target.name, total=None)

        def show(done: int, total: int | None) -> None:
            is_first = bar.tasks[0].total is None
            if total is not None and is_first and shutil.disk_usage(target.parent).free < total - done:
                raise OSError(errno.ENOSPC, f"no room for the {total:,} bytes of this file", str(target))
            bar.update(task, completed=done, total=total)

        yield show


def _check(recipe: DownloadRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    if not recipe.datasets:
        raise RecipeError("datasets=[]: name one or more, for example datasets=[s2orc_v2]")
    if recipe.files is not None and recipe.files < 1:
        raise RecipeError(f"files={recipe.files}: must be 1 or more, or null for all files")
    if recipe.retries < 0:
        raise RecipeError(f"retries={recipe.retries}: must be 0 or more")
    for name in ("requests_per_second", "timeout_s"):
        if not getattr(recipe, name) > 0:
            raise RecipeError(f"{name}={getattr(recipe, name)}: must be above 0")
    with suppress(httpx.InvalidURL):
        if httpx.URL(recipe.base_url).scheme in ("http", "https"):
            return
    raise RecipeError("base_url: must be an address that begins with https:// or http://")


def _read_key(variable: str) -> str:
    """Read the key from the environment; empty if it is not set. Raises RecipeError, which never shows the key."""
    key = os.environ.get(variable, "").strip()  # a key that was read from a file can end in a line break
    if not (key.isascii() and key.isprintable()):
        raise RecipeError(f"{variable}: contains characters that a key cannot have; set the variable again")
    return key


@command.report_errors()
def main() -> None:
    recipe = load(DownloadRecipe, command.read_recipe(__doc__))
    _check(recipe)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # at level INFO it logs the signed addresses
    try:
        with closing(Api(recipe, _read_key(recipe.api_key_env))) as api:
            download(recipe, api)
    except OSError as error:
        problem = f"{error.filename or recipe.to}: {error.strerror or error}"
        remedy = "free space or fix permissions, then run the same command again: finished files are kept"
        raise DownloadError(f"{problem}; {remedy}") from None


if __name__ == "__main__":
    main()
