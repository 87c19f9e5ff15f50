"""Where a benchmark's files are: a folder or file of the user's, or the cache of the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from autodata.store import RunError


def locate(path: str, revision: str) -> Path:
    """A path as it is; `owner/name` is that data set at `revision`, from the cache or downloaded. Raises RunError."""
    if Path(path).exists():
        return Path(path)
    if path.count("/") != 1 or not revision:
        raise RunError(f"{path}: no such file or folder. To read a data set of the hub, name it as owner/name and pin "
                       "its revision (a commit)")  # fmt: skip
    try:
        return Path(snapshot_download(path, repo_type="dataset", revision=revision,
                                      allow_patterns=["*.parquet", "*.jsonl"]))  # fmt: skip
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise RunError(f"{path} at {revision}: neither here nor in the hub's cache, and not downloaded "
                       f"({type(error).__name__}: {str(error)[:200]})") from error  # fmt: skip
