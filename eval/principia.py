"""Reads Principia bench (arXiv 2603.18886) as it was downloaded: problems with reference answers, by source."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from autodata.corpora.rows import BadRow, read_rows
from autodata.domains.science.domain import make_candidate
from autodata.recipes.evaluation import PrincipiaConfig
from autodata.run.records import RunError
from eval.tasks import Problem

TASK = "principia_bench"


def find_files(config: PrincipiaConfig) -> list[Path]:
    """List the file itself, or the Parquet and JSONL files of a folder and of its `data` folder. Raises RunError."""
    path = locate(config.path, config.revision)
    if path.is_file():
        return [path]
    files = [
        file
        for suffix in ("parquet", "jsonl")
        for folder in (path, path / "data")
        for file in sorted(folder.glob(f"*.{suffix}"))
    ]
    if not files:
        raise RunError(
            f"{path}: no Parquet or JSONL file; download facebook/principia-bench there (hf download "
            "facebook/principia-bench --repo-type dataset --revision … --local-dir …)"
        )
    return files


def read_problems(config: PrincipiaConfig) -> tuple[list[Problem], int]:
    """Read the problems, and count the rows that hold none. Raises RunError if a column is missing."""
    problems, skipped = [], 0
    rows = (row for file in find_files(config) for row in read_rows(file))
    for number, row in enumerate(rows, 1):
        if isinstance(row, BadRow) or not _has_texts(row.value, config):
            skipped += 1
        else:
            problems.append(_make_problem(row.value, config, number))
    if not problems:
        raise RunError(f"{config.path}: no row has both a problem and an answer")
    return problems[: config.limit], skipped


def _has_texts(row: Mapping[str, Any], config: PrincipiaConfig) -> bool:
    for key in ("problem", "answer", "subset"):
        if getattr(config, key) not in row:
            raise RunError(f"principia.{key}={getattr(config, key)}: no such column; the file has {', '.join(row)}")
    return all(str(row[key] or "").strip() for key in (config.problem, config.answer))


def _make_problem(row: Mapping[str, Any], config: PrincipiaConfig, number: int) -> Problem:
    id = f"{number} {row.get('id', '')}".strip()  # two rows must never share an identity
    candidate = make_candidate(str(row[config.problem]).strip(), str(row[config.answer]).strip())
    return Problem(id, id, candidate, str(row[config.subset] or "unknown"))


def locate(path: str, revision: str) -> Path:
    """Return an existing path; find the data set `owner/name` in the cache, or download it. Raises RunError."""
    if Path(path).exists():
        return Path(path)
    if path.count("/") != 1 or not revision:
        raise RunError(
            f"{path}: no such file or folder; to read a data set from the Hub, write owner/name and pin its "
            "revision (a commit)"
        )
    try:
        try:
            return _fetch(path, revision, local_files_only=True)
        except LocalEntryNotFoundError:
            return _fetch(path, revision)
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RunError(
            f"{path} at {revision}: not on this machine, not in the Hub's cache, and the download failed "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error


def _fetch(name: str, revision: str, local_files_only: bool = False) -> Path:
    """Download a data set. Raises LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError."""
    patterns = ["*.parquet", "*.jsonl"]
    folder = snapshot_download(
        name, repo_type="dataset", revision=revision, allow_patterns=patterns, local_files_only=local_files_only
    )
    return Path(folder)
