"""Where a benchmark's files are: a folder or file of the user's, or the cache of the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from autodata.run.records import RunError


def locate(path: str, revision: str) -> Path:
    """A path as it is; `owner/name` is that data set at `revision`, from the cache or downloaded. Raises RunError."""
    if Path(path).exists():
        return Path(path)
    if path.count("/") != 1 or not revision:
        raise RunError(f"{path}: no such file or folder. To read a data set of the hub, name it as owner/name and pin "
                       "its revision (a commit)")  # fmt: skip
    try:
        try:
            return _fetch(path, revision, local_files_only=True)
        except LocalEntryNotFoundError:
            return _fetch(path, revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RunError(f"{path} at {revision}: neither here nor in the hub's cache, and not downloaded "
                       f"({type(error).__name__}: {str(error)[:200]})") from error  # fmt: skip


def _fetch(name: str, revision: str, local_files_only: bool = False) -> Path:
    """Raises LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError."""
    files = ["*.parquet", "*.jsonl"]
    return Path(snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=files,
                                  local_files_only=local_files_only))  # fmt: skip
