"""Shows what bench/gpu.sh measured as one table, and writes docs/gpu.md.

python -m bench.gpu.page [--runs runs/gpu] [--write]
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autodata.stats.writing import DASH, write_number
from autodata.types import UserError

HERE = Path(__file__).parent
PARTS: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "numbers.yaml").read_text(encoding="utf-8"))
STORED, PAGE = Path("docs/gpu.json"), Path("docs/gpu.md")
Records = Mapping[str, Mapping[str, Any]]  # by part


class NoGpu(UserError):
    """The numbers are not of a GPU."""


def read_records(runs: Path) -> dict[str, dict[str, Any]]:
    """Read the records of the parts that have one."""
    return {part: json.loads(path.read_text()) for part in PARTS if (path := runs / f"{part}.json").exists()}


def write_value(records: Records, part: str, name: str) -> str:
    value = records[part]["numbers"].get(name) if part in records else None
    return DASH if value is None else write_number(value)


def write_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def write_page(records: Records) -> str:
    """Return the text of docs/gpu.md."""
    blocks = {"trim_blocks": True, "lstrip_blocks": True}
    environment = Environment(loader=FileSystemLoader(HERE), undefined=StrictUndefined, **blocks)
    environment.filters["versions"] = write_versions
    values = {(part, name): write_value(records, part, name) for part in PARTS for name in PARTS[part]["numbers"]}
    return environment.get_template("page.j2").render(
        parts=PARTS,
        records=records,
        number=lambda part, name: values[part, name],
        missing=sum(value == DASH for value in values.values()),
        total=len(values),
    )


def print_table(records: Records) -> None:
    for name, part in PARTS.items():
        on = records[name]["hardware"] if name in records else "not measured"
        print(f"\n{part['title']} ({on})")
        for key, what in part["numbers"].items():
            print(f"  {write_value(records, name, key):>12}  {what}")


def store(records: Records) -> None:
    """Replace the records in docs/gpu.json that are measured anew, and write docs/gpu.md. Raises NoGpu."""
    for part, record in records.items():
        if record["driver"] is None:
            raise NoGpu(f"{part} ran on {record['hardware']}; the page has numbers of GPUs only")
    stored = json.loads(STORED.read_text()) | records
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(write_page(stored), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"), help="folder of the records (runs/gpu)")
    parser.add_argument("--write", action="store_true", help="write docs/gpu.json and docs/gpu.md")
    options = parser.parse_args()
    records = read_records(options.runs)
    print_table(records)
    if options.write:
        store(records)


if __name__ == "__main__":
    main()
