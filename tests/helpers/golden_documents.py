"""Writes what the ingest makes of each sample, so that a change of a reader shows as a change of text.

python -m tests.helpers.golden_documents renews tests/golden/documents; read its diff.
"""

import json
import tempfile
from pathlib import Path

import pyarrow.parquet

from tests.helpers.commands import run
from tests.helpers.make_samples import SAMPLES

REPO = Path(__file__).parent.parent.parent
GOLDEN = REPO / "tests" / "golden" / "documents"
JOINED = (f"papers={SAMPLES / 'papers'}", f"abstracts={SAMPLES / 'abstracts'}")
ARGUMENTS = {
    "s2orc": (*JOINED, "s2orc.min_chars=1000"),
    "pile_of_law": ("pile_of_law.subsets=[courtlisteneropinions,founding_docs]",),
    "principia": (),
    "own": ("own.licence=CC0-1.0",),
}


def describe(folder: Path) -> str:
    """Write the documents of a run in order, and then the rows that were dropped."""
    documents = [row for shard in sorted((folder / "documents").iterdir()) for row in read(shard)]
    parts = [
        f"══ {d['id']} · {d['file']}:{d['line']} · {d['licence']} · {_sort(d['fields'])}\n{d['text']}"
        for d in documents
    ]
    dropped = sorted(f"{row['file']}:{row['line']} {row['id']} · {row['reason']}" for row in read(folder / "dropped"))
    return "\n\n".join([*parts, "══ dropped", *dropped]) + "\n"


def read(path: Path) -> list[dict]:
    return pyarrow.parquet.read_table(path).to_pylist()


def _sort(fields: str) -> str:
    return json.dumps(json.loads(fields), sort_keys=True, ensure_ascii=False)


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for source, arguments in ARGUMENTS.items():
            folder = f"run={scratch}/{source}"
            recipe, path = f"recipes/ingest/ingest_{source}.yaml", f"path={SAMPLES / source}"
            fixed = ("tokenizer=null", "keep_rows=null", "workers=1")
            run("autodata.corpora.ingest", recipe, path, folder, *fixed, *arguments)
            (GOLDEN / f"{source}.txt").write_text(describe(Path(scratch) / source), encoding="utf-8")


if __name__ == "__main__":
    main()
