"""Writes the dry runs of tests/golden/dry_runs anew: python -m tests.helpers.golden_dry_runs"""

import re
from pathlib import Path

from autodata.reproduce import show
from autodata.reproduce.costs import forecast
from autodata.reproduce.graph import build
from autodata.reproduce.record import make_record
from autodata.reproduce.request import read_request
from autodata.reproduce.slurm.joint import join
from autodata.reproduce.slurm.room import Room

FOLDER = Path(__file__).parent.parent / "golden" / "dry_runs"
TABLES = ("table2", "table4")
_HASH = re.compile(r"(?<=-)[0-9a-f]{10}(?=[- ])")  # it depends on the folder of the checkout


def describe(table: str) -> str:
    """Describe a table of the paper as --dry-run does, as if nothing were finished and the site file were missing."""
    request = read_request([f"recipes/tables/{table}.yaml", "recipes/models/paper.yaml"], "paper")
    steps, room = build(request), Room()
    steps, costs = join(steps, set(), forecast(steps), room)
    record = make_record(request.folder, steps, costs, set())
    return _HASH.sub("HASH", show.describe(request, steps, record, room)) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in TABLES:
        (FOLDER / f"{name}.txt").write_text(describe(name), encoding="utf-8")
