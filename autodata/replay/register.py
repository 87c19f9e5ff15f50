"""Keeps RUNS.md: one row for each published result, with what it took, its numbers and the pack that replays it."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autodata.replay.pack import Pack
from autodata.run.folder import find_runs, read_manifest
from autodata.run.records import RunError, name_file_in_errors, read_json, write_file
from autodata.serving.costs import LEDGER, add, tell_usd
from autodata.stats.writing import write_duration, write_estimate

HEADER = ["what", "commit", "hardware", "time of all runs", "tokens", "US dollars", "mean score", "pack", "date"]
_INTRODUCTION = """# Published results

One row for each result, written by `python -m autodata.publish RUNS --pack PACK.zip --register RUNS.md`.
`python -m autodata.replay PACK.zip` makes the runs again without any model and compares every file
([evidence](docs/evidence.md)). A result that is older than packs has its raw scores instead, and the command that
computes its numbers from them. Tests do both for each row. Scores have 95 % intervals over n documents, those of the
study over seeds and documents. The commit of a row with a pack is that of the code that made the pack and replayed it
before it was written; the runs in it may be of earlier commits. The other rows name the commit of their runs.

"""


def register(file: Path, title: str, hardware: str, runs: Path, packed: tuple[Path, Pack]) -> None:
    """Add the row of a pack to the table of a file, in the place of an earlier row of the same pack. Raises RunError.

    All other lines of the file stay as they are.
    """
    path, pack = packed
    before, rows, after = split(file)
    name = f"[{path.name}]({os.path.relpath(path, file.parent)})"
    row = [title, _shorten(pack.git_commit), hardware, *_sum_up(runs), name, datetime.now(UTC).date().isoformat()]
    line = _write([_escape(cell) for cell in row])
    rows = [line if name in earlier else earlier for earlier in rows] + [line] * (not any(name in r for r in rows))
    write_file(file, "\n".join([*before, *rows, *after]) + "\n")


def split(file: Path) -> tuple[list[str], list[str], list[str]]:
    """Split a file of results before and after the rows of its table; a new one has none. Raises RunError."""
    with name_file_in_errors(file):
        text = file.read_text(encoding="utf-8") if file.exists() else ""
    head = [_write(HEADER), _write(["---"] * len(HEADER))]
    lines = text.splitlines() if text.strip() else [*_INTRODUCTION.splitlines(), *head]
    if head[0] not in lines:
        raise RunError(f"{file}: it has no table of published results; name a file that has one, or a new file")
    start = lines.index(head[0]) + len(head)
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith("|")), len(lines))
    return lines[:start], lines[start:end], lines[end:]


def _shorten(commit: str | None) -> str:
    """Shorten the hash of a commit, but not the mark of files that were changed since."""
    return re.sub(r"([0-9a-f]{12})[0-9a-f]+", r"\1", commit or "–")


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _write(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |" if cells[0] != "---" else f"|{'|'.join(cells)}|"


def _sum_up(runs: Path) -> list[str]:
    """Return the time, the tokens, the price and the scores of all finished runs below a folder."""
    manifests = [(run, manifest) for run in find_runs(runs) if (manifest := read_manifest(run) or {}).get("finished")]
    ledger = add(LEDGER.validate_python(manifest.get("ledger") or {}) for _, manifest in manifests)
    seconds = sum(float(manifest.get("elapsed_s") or 0.0) for _, manifest in manifests)
    tokens = sum(cost.tokens for cost in ledger.values())
    scores = [score for run, manifest in manifests for score in _list_scores(run, manifest)]
    return [write_duration(seconds), f"{tokens:,}", tell_usd(ledger)["all roles"], "<br>".join(scores)]


def _list_scores(run: Path, manifest: dict[str, Any]) -> Iterator[str]:
    for task, numbers in (read_json(run / "results.json") or {}).items():
        if manifest["inputs"].get("kind") == "eval":
            yield f"{manifest['label']}, {task}: {write_estimate(numbers['mean'])}"
