"""Keeps RUNS.md: one row for each published result, with what it took, its numbers and the pack that replays it."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autodata.replay.pack import Pack
from autodata.run.folder import find_runs, read_manifest
from autodata.run.records import read_json, write_file
from autodata.serving.costs import LEDGER, add, tell_usd
from autodata.stats.writing import write_duration, write_estimate

HEADER = ["what", "commit", "hardware", "time of all runs", "tokens", "US dollars", "mean score", "pack", "date"]
_INTRODUCTION = """# Published results

One row for each result, written by `python -m autodata.publish RUNS --pack PACK.zip --register RUNS.md`.
`python -m autodata.replay PACK.zip` makes the runs again without any model and compares every file
([evidence](docs/evidence.md)). A result that is older than packs has its raw scores instead, and the command that
computes its numbers from them. Tests do both for each row. Scores have 95 % intervals over n documents, those of the
study over seeds and documents.

"""


def register(file: Path, title: str, hardware: str, runs: Path, packed: tuple[Path, Pack]) -> None:
    """Add the row of a pack to a file of results, in the place of an earlier row of the same pack. Raises RunError."""
    path, pack = packed
    name = f"[{path.name}]({os.path.relpath(path, file.parent)})"
    kept = [line for line in _read_rows(file) if name not in line]
    row = [title, (pack.git_commit or "–")[:12], hardware, *_sum_up(runs), name, datetime.now(UTC).date().isoformat()]
    lines = [_write(HEADER), _write(["---"] * len(HEADER)), *kept, _write([cell.replace("|", "\\|") for cell in row])]
    write_file(file, _INTRODUCTION + "\n".join(lines) + "\n")


def _read_rows(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(f"| {HEADER[0]} |")]


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
