"""A run folder → one HTML file that explains it: no network, no build step, one file to send around.

python -m autodata.report runs/demo/agentic     # writes runs/demo/agentic/report.html and prints its path
python -m autodata.report runs/demo             # the reports of all runs below that lack one or are outdated, and
                                                # runs/demo/index.html

A run that is not finished is reported as far as it is.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autodata.config import RecipeError
from autodata.report import dataset, evaluation, generation, index, training
from autodata.report.index import INDEX, REPORT
from autodata.run.folder import find_runs, read_manifest
from autodata.run.records import RunError, write_file
from autodata.serving.journal import JournalError

PROBLEMS = (RunError, RecipeError, JournalError)


def render_search(folder: Path, manifest: Mapping[str, Any]) -> str:
    from autodata.report import meta  # brings the loop and its network code along: half of all there is to load

    return meta.render(folder, manifest)


# By the kind that a manifest names: its page.
KINDS: dict[str, Callable[[Path, Mapping[str, Any]], str]] = {
    "generate": generation.render,
    "dataset": dataset.render,
    "grpo": training.render,
    "eval": evaluation.render,
    "meta": render_search,
}


def report(folder: Path) -> Path:
    """Write the page of a run into its folder, or of all runs below a folder. Raises what is in PROBLEMS."""
    manifest = read_manifest(folder)
    if manifest is None:
        return report_all(folder)
    kind = manifest.get("inputs", {}).get("kind")
    if kind not in KINDS:
        raise RunError(f"{folder}: no report for a run of kind {kind!r}; there are reports for {', '.join(KINDS)}")
    write_file(folder / REPORT, KINDS[kind](folder, manifest))
    return folder / REPORT


def report_all(folder: Path) -> Path:
    """Write the index of a folder of runs, and the reports that it links to. Raises RunError where there are none."""
    runs = list(find_runs(folder))
    if not runs:
        raise RunError(f"{folder}: no run folder, it has no manifest.json, nor has a folder below it")
    entries = [index.describe(run, folder, refresh(run)) for run in runs]
    write_file(folder / INDEX, index.render(folder, entries))
    return folder / INDEX


def refresh(run: Path) -> str:
    """Write the report of a run if it is missing or outdated; returns why it could not be written."""
    try:
        if index.is_outdated(run):
            report(run)
    except PROBLEMS as error:
        return str(error)
    return ""


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        raise SystemExit(0 if len(sys.argv) == 2 else 2)
    try:
        print(report(Path(sys.argv[1])))
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
