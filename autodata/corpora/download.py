"""Files of the Semantic Scholar Datasets API, resumed where they stopped and checked before they count.

python -m autodata.corpora.download recipes/ingest/download_s2orc.yaml [key=value …]
"""

import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import orjson
from rich import progress as bars

from autodata.config import RecipeError, load
from autodata.corpora import s2_api
from autodata.corpora.s2_api import Api, DownloadError, Expired, Remote
from autodata.corpora.transfer import Damaged, Transfer, fetch
from autodata.corpus_recipes import DownloadRecipe

LIST = "download.json"


@dataclass(frozen=True)
class Stored:
    """A file that is complete and was checked."""

    name: str
    bytes: int
    sha256: str


class Folder:
    """The files of one data set, and the list of those that are complete."""

    def __init__(self, path: Path):
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        listed = orjson.loads((path / LIST).read_bytes()) if (path / LIST).exists() else []
        self.stored = {entry["name"]: Stored(**entry) for entry in listed}

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
    """Every file of the data sets that is not there yet. Raises DownloadError, OSError."""
    release = api.find_release(recipe.release)
    for dataset in recipe.datasets:
        folder = Folder(Path(recipe.to) / release / s2_api.require_plain(dataset))
        remotes = api.list_files(release, dataset)[: recipe.files]
        missing = [remote.name for remote in remotes if not folder.has(remote.name)]
        print(f"{folder.path}: {len(remotes)} files, {len(missing)} to fetch")
        for name in missing:
            remotes = _get_one(api, folder, name, remotes, (release, dataset))


def _get_one(api: Api, folder: Folder, name: str, remotes: list[Remote], of: tuple[str, str]) -> list[Remote]:
    """Fetch one file, with a new list of addresses when the old ones have expired; the list that is good now."""
    for is_last in (False, False, True):
        url = next((remote.url for remote in remotes if remote.name == name), None)
        if url is None:
            raise DownloadError(f"{name}: no longer in the release; name the release with release=…")
        try:
            with Progress(name) as progress:
                size, sha256 = fetch(Transfer(url, folder.path / name, api.timeout_s, api.retries), progress.show)
            folder.add(Stored(name, size, sha256))
            if not sys.stderr.isatty():
                print(f"{folder.path / name}: {size:,} bytes")
            return remotes
        except Expired:
            if is_last:
                raise DownloadError(f"{name}: every new address for it is refused") from None
            remotes = api.list_files(*of)
        except Damaged as problem:
            if is_last:
                raise DownloadError(f"{folder.path / name}: damaged each time it was fetched: {problem}") from None
    raise AssertionError("the last attempt returns or raises")


class Progress:
    """Bytes, rate and time left of one file, in a terminal."""

    def __init__(self, name: str):
        self._bar = bars.Progress(
            bars.TextColumn(name), bars.BarColumn(), bars.DownloadColumn(), bars.TransferSpeedColumn(),
            bars.TimeRemainingColumn(), transient=True, disable=not sys.stderr.isatty(),
        )  # fmt: skip
        self._task = self._bar.add_task(name, total=None)

    def show(self, done: int, total: int | None) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(DownloadRecipe, sys.argv[1:])
        with Api(recipe, os.environ.get(recipe.api_key_env, "")) as api:
            download(recipe, api)
    except (RecipeError, DownloadError) as error:
        raise SystemExit(f"error: {error}") from None
    except OSError as error:
        raise SystemExit(f"error: {error.filename or recipe.to}: {error.strerror or error}; free space or fix "
                         "permissions, then run the same command again: it goes on") from None  # fmt: skip


if __name__ == "__main__":
    main()
