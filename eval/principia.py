"""Reads Principia bench (arXiv 2603.18886) as it was downloaded: problems with reference answers, by source."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from autodata.config import RecipeError
from autodata.corpora.rows import BadRow, read_rows
from autodata.domains.science.domain import make_candidate
from autodata.eval.tasks import Problem
from autodata.recipes.evaluation import PrincipiaConfig
from autodata.run.records import RunError

TASK = "principia_bench"


def find_files(config: PrincipiaConfig) -> list[Path]:
    """List the file itself, or the Parquet and JSONL files of a folder and its `data` folder. Raises RecipeError."""
    path = locate(config.path, config.revision)
    if path.is_file():
        return [path]
    patterns = ("*.parquet", "data/*.parquet", "*.jsonl", "data/*.jsonl")
    files = [file for pattern in patterns for file in sorted(path.glob(pattern))]
    if not files:
        raise RecipeError(
            f"{path}: no Parquet or JSONL file; download facebook/principia-bench there (hf download "
            "facebook/principia-bench --repo-type dataset --revision … --local-dir …)"
        )
    return files


def read_problems(config: PrincipiaConfig) -> tuple[list[Problem], int]:
    """Read the problems, and count the rows that hold none. Raises RecipeError if a column is missing."""
    problems, skipped = [], 0
    for number, row in enumerate(chain.from_iterable(map(read_rows, find_files(config))), 1):
        if isinstance(row, BadRow) or not _has_texts(row.value, config):
            skipped += 1
            continue
        id = f"{number} {row.value.get('id', '')}".strip()  # two rows must never share an identity
        question, answer = (str(row.value[key]).strip() for key in (config.problem, config.answer))
        subset = str(row.value[config.subset] or "unknown")
        problems.append(Problem(id, id, make_candidate(question, answer), subset))
    if not problems:
        raise RecipeError(f"principia.path={config.path}: no row has both a problem and an answer")
    return problems[: config.limit], skipped


def _has_texts(row: Mapping[str, Any], config: PrincipiaConfig) -> bool:
    for key in ("problem", "answer", "subset"):
        if getattr(config, key) not in row:
            raise RecipeError(f"principia.{key}={getattr(config, key)}: no such column; the file has {', '.join(row)}")
    return all(str(row[key] or "").strip() for key in (config.problem, config.answer))


def locate(path: str, revision: str) -> Path:
    """Return an existing path, or the data set `owner/name`, cached or downloaded. Raises RecipeError, RunError."""
    if Path(path).exists():
        return Path(path)
    if path.count("/") != 1 or not revision:
        raise RecipeError(
            f"{path}: no such file or folder; to read a data set from the Hub, write owner/name and pin its "
            "revision (a commit)"
        )
    data = {"repo_type": "dataset", "revision": revision, "allow_patterns": ["*.parquet", "*.jsonl"]}
    try:
        try:
            return Path(snapshot_download(path, **data, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(path, **data))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise RunError(
            f"{path} at {revision}: not on this machine, not in the Hub's cache, and the download failed "
            f"({type(error).__name__}: {str(error)[:200]})"
        ) from error
