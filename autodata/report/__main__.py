"""A run folder → one HTML file that explains it: no network, no build step, one file to send around.

python -m autodata.report runs/demo/agentic     # writes runs/demo/agentic/report.html and prints its path

A run that is not finished is reported as far as it is.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autodata import store
from autodata.config import RecipeError
from autodata.journal import JournalError
from autodata.report import generation
from autodata.store import RunError

REPORT = "report.html"
# By the kind that a manifest names: its page.
KINDS: dict[str, Callable[[Path, Mapping[str, Any]], str]] = {"generate": generation.render}


def report(folder: Path) -> Path:
    """Write the page of a run into its folder. Raises RunError, RecipeError, JournalError."""
    manifest = store.read_manifest(folder)
    if manifest is None:
        raise RunError(f"{folder}: no run folder, it has no manifest.json")
    kind = manifest.get("inputs", {}).get("kind")
    if kind not in KINDS:
        raise RunError(f"{folder}: no report for a run of kind {kind!r}; there are reports for {', '.join(KINDS)}")
    store.write_file(folder / REPORT, KINDS[kind](folder, manifest))
    return folder / REPORT


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        raise SystemExit(0 if len(sys.argv) == 2 else 2)
    try:
        print(report(Path(sys.argv[1])))
    except (RunError, RecipeError, JournalError) as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
