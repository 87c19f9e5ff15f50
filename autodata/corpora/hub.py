"""Downloads files of a data set from the Hugging Face hub: several at a time, resumed where they broke off, checked.

huggingface_hub lists the files. It deletes what it has of a file when it is stopped, so `transfer` fetches them.

python -m autodata.corpora.hub recipes/ingest/hub_pile_of_law.yaml [key=value …]
"""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from threading import Event

import httpx
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from rich import progress as bars

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora.remote.s2_api import DownloadError, Expired
from autodata.corpora.remote.transfer import Damaged, fetch
from autodata.recipes.corpora import HubRecipe


class Stopped(Exception):
    """Another file failed, or the user stopped the command."""


def download(recipe: HubRecipe, api: HfApi) -> None:
    """Fetch the files that match the recipe's patterns and are not there yet. Raises RecipeError, DownloadError."""
    commit = api.dataset_info(recipe.repo, revision=recipe.revision).sha or recipe.revision
    files, folder = _list_files(recipe, api, commit), Path(recipe.to)
    missing = [file for file in files if not _is_there(folder / file.path, file.size)]
    size = sum(file.size for file in missing)
    _require_room(folder, size)
    print(f"{folder}: files: {len(files):,}, still to download: {len(missing):,} ({size:,} bytes)")
    _Downloads(recipe, api, commit).get_all(missing)
    print(f"{folder}: complete, {recipe.repo} at {commit}")


class _Downloads:
    """Fetches files in threads, and shows how far they are in a terminal."""

    def __init__(self, recipe: HubRecipe, api: HfApi, commit: str):
        self._recipe, self._api, self._commit, self._stop = recipe, api, commit, Event()
        columns = bars.BarColumn(), bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn()
        # The token goes to the hub, and not to the host to which the hub redirects.
        headers = {"authorization": f"Bearer {api.token}"} if api.token else {}
        self._http = httpx.Client(timeout=recipe.timeout_s, headers=headers, follow_redirects=True)
        self._bar = bars.Progress("{task.description}", *columns, disable=not sys.stderr.isatty())

    def get_all(self, files: list[RepoFile]) -> None:
        """Fetch the files. If one fails, the others end too; what they received stays for the next command."""
        with self._http, self._bar, ThreadPoolExecutor(self._recipe.workers) as pool:
            tasks = [pool.submit(self._get, file) for file in files]
            try:
                for task in as_completed(tasks):
                    task.result()
            finally:
                self._stop.set()
                pool.shutdown(cancel_futures=True)

    def _get(self, file: RepoFile) -> None:
        target = Path(self._recipe.to) / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        options = {"repo_type": "dataset", "revision": self._commit, "endpoint": self._api.endpoint}
        url, row = (
            hf_hub_url(self._recipe.repo, file.path, **options),
            self._bar.add_task(target.name, total=file.size),
        )

        def show(done: int, _: int | None) -> None:
            if self._stop.is_set():
                raise Stopped
            self._bar.update(row, completed=done)

        try:
            size, sha256 = fetch(self._http, url, target, self._recipe.retries, show)
        except Expired:
            raise DownloadError(
                f"{file.path}: refused; set {self._recipe.token_env} to a token that may read"
            ) from None
        except Damaged as problem:
            raise DownloadError(f"{target}: damaged ({problem}) and deleted; run the same command again") from None
        if size != file.size or (file.lfs and sha256 != file.lfs.sha256):
            target.unlink()
            raise DownloadError(f"{target}: not the file that the hub lists, so deleted; run the same command again")
        if not sys.stderr.isatty():
            print(f"{target}: {size:,} bytes")


def _list_files(recipe: HubRecipe, api: HfApi, commit: str) -> list[RepoFile]:
    """List the wanted files. Raises RecipeError for a pattern that no file matches, DownloadError."""
    listed = api.list_repo_tree(recipe.repo, recursive=True, revision=commit, repo_type="dataset")
    files = {entry.path: entry for entry in listed if isinstance(entry, RepoFile)}
    if wrong := [p for p in recipe.files if not any(fnmatchcase(name, p) for name in files)]:
        some = ", ".join(sorted(files)[:5])
        raise RecipeError(f"files: no file of {recipe.repo} matches {', '.join(wrong)}; it has {some}, …")
    wanted = [file for name, file in sorted(files.items()) if any(fnmatchcase(name, p) for p in recipe.files)]
    for file in wanted:  # names come from another machine
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or path.suffix in (".part", ".tag"):
            raise DownloadError(f"{recipe.repo}: {file.path!r} cannot be used as a file name")
    return wanted


def _is_there(file: Path, size: int) -> bool:
    return file.is_file() and file.stat().st_size == size


def _require_room(folder: Path, needed: int) -> None:
    """Raise DownloadError if the files cannot fit: better now than hours later."""
    folder.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise DownloadError(f"{folder}: {needed:,} bytes to download and {free:,} free; free space or change to=…")


def _check(recipe: HubRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    if not recipe.files:
        raise RecipeError("files=[]: name one or more patterns, for example files=['data/*.jsonl.xz']")
    for name, least in (("workers", 1), ("retries", 0)):
        if getattr(recipe, name) < least:
            raise RecipeError(f"{name}={getattr(recipe, name)}: must be {least} or more")
    if not recipe.timeout_s > 0:
        raise RecipeError(f"timeout_s={recipe.timeout_s}: must be above 0")
    if constants.HF_HUB_OFFLINE:
        raise RecipeError("HF_HUB_OFFLINE is set in the environment, which forbids every download; unset it")


@command.report_errors()
def main() -> None:
    recipe = load(HubRecipe, command.read_recipe(__doc__))
    _check(recipe)
    try:
        download(recipe, HfApi(token=os.environ.get(recipe.token_env, "").strip() or False))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        problem, token = f"repo={recipe.repo}: {type(error).__name__}", recipe.token_env
        raise DownloadError(f"{problem}; check the name, or set {token} to a token that may read it") from None
    except RevisionNotFoundError:
        raise DownloadError(f"revision={recipe.revision}: {recipe.repo} has no such revision") from None
    except (HfHubHTTPError, httpx.HTTPError) as error:
        problem = f"{recipe.repo}: the hub sent no list of files ({type(error).__name__})"
        raise DownloadError(f"{problem}; run the same command again") from None
    except OSError as error:
        problem = f"{error.filename or recipe.to}: {error.strerror or error}"
        raise DownloadError(f"{problem}; run the same command again: what was received is kept") from None


if __name__ == "__main__":
    main()
