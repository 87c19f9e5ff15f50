"""Reports what became of the rows of an ingest: drops by reason, licences, lengths; as manifest, table and chart."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from operator import sub
from pathlib import Path

from pyarrow import compute, parquet

from autodata.corpora.pipeline import Tally
from autodata.corpora.repeats import REASONS
from autodata.stats.writing import write_table

_EXAMPLES = 3  # dropped rows that the report names for each reason


def gather(folders: Iterable[Path]) -> Tally:
    """Add up the tallies of all tasks. Raises RuntimeError when a row is neither kept nor dropped for a reason.

    Each of the folders has the tallies of a stage. The reasons of `dropped` are in the order of the stages, the most
    frequent first within each.
    """
    total = Tally()
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        saved = json.loads(path.read_text(encoding="utf-8"))
        total.rows += saved["rows"]
        total.files += saved["files"]
        total.tokens += saved["tokens"]
        for name in ("dropped", "licences", "personal_data", "changes", "encodings"):
            getattr(total, name).update(saved[name])
    if total.rows != total.kept + total.dropped.total():
        raise RuntimeError(f"{total.rows} rows, but {total.kept} kept and {total.dropped.total()} dropped")
    total.dropped = Counter(dict(sorted(total.dropped.items(), key=lambda item: (item[0] in REASONS, -item[1]))))
    return total


def state(total: Tally) -> dict[str, object]:
    """Return the totals in the form that the manifest records."""
    tokens = total.tokens
    return {
        "sources": total.files,
        "rows": total.rows,
        "kept": total.kept,
        "dropped": dict(total.dropped),
        "licences": dict(sorted(total.licences.items())),
        "personal_data_masked": dict(sorted(total.personal_data.items())),
        "changes": dict(sorted(total.changes.items())),
        "encodings": dict(sorted(total.encodings.items())),
        "files_left_out": dict(total.left_out.most_common()),
        "tokens": {"total": sum(tokens), "histogram": dict(_bin(tokens))} if None not in tokens else None,
    }


def find_last_stage(total: Tally) -> str:
    """Name the stage that dropped the last rows, with its reasons; for an ingest without documents."""
    if not total.rows:
        return "the files have no rows"
    stages = {
        stage: [f"{reason}: {count:,}" for reason, count in total.dropped.items() if (reason in REASONS) == is_repeats]
        for stage, is_repeats in (("removing repeats", True), ("reading and filtering", False))
    }
    stage, reasons = next((stage, reasons) for stage, reasons in stages.items() if reasons)
    return f"the last of {total.rows:,} rows were dropped in {stage} ({', '.join(reasons[:5])})"


def find_examples(folder: Path, reasons: Iterable[str]) -> dict[str, list[str]]:
    """Name the first dropped rows for each reason, by file, line and id."""
    examples: dict[str, list[str]] = {reason: [] for reason in reasons}
    for file in sorted(folder.rglob("*.parquet")):
        table = parquet.read_table(file, columns=["file", "line", "id", "reason"])
        for reason, names in examples.items():
            if len(names) < _EXAMPLES:
                rows = (
                    table.filter(compute.equal(table["reason"], reason)).slice(0, _EXAMPLES - len(names)).to_pylist()
                )
                names += [f"{row['file']}:{row['line']}" + (f" ({row['id']})" if row["id"] else "") for row in rows]
    return examples


def write_report(total: Tally, chart: str, examples: Mapping[str, Sequence[str]]) -> str:
    """Return the report as Markdown: the funnel as picture and table, the licences, the lengths."""
    facts = state(total)
    names, changes = ["rows read", *total.dropped], ["", *(f"−{count:,}" for count in total.dropped.values())]
    rows = [("", "dropped", "left"), *zip(names, changes, _list_remaining(total), strict=True)]
    tokens = facts["tokens"] or {"total": 0, "histogram": {}}
    counted = f" ({tokens['total']:,} tokens)" if facts["tokens"] else ""
    return "\n".join(
        [
            "# Ingest\n",
            f"Files read: {len(total.files):,}. Rows read: {total.rows:,}. Documents kept: {total.kept:,}{counted}.\n",
            f"![Rows left after each filter]({chart})\n",
            write_table(rows, numbers=True),
            *_write_counts("Licences of the documents", facts["licences"]),
            *_write_counts("Tokens per document", tokens["histogram"]),
            *_write_counts("Personal data masked", facts["personal_data_masked"]),
            *_write_counts("Changes inside the texts", facts["changes"]),
            *_write_counts("Rows that were not UTF-8", facts["encodings"]),
            *_write_counts("Files left out, by their ending", facts["files_left_out"]),
            "\n## Dropped rows\n",
            write_table([("reason", "first rows"), *((reason, "; ".join(n)) for reason, n in examples.items())]),
            "\nEvery dropped row, with its file, line and reason, is in `dropped/`.\n",
        ]
    )


def draw(total: Tally, path: Path) -> None:
    """Draw one bar for the number of rows left after each reason, and save the chart as PNG."""
    from matplotlib.figure import Figure  # slow to import, and needed only once, at the end

    names, remaining = ["rows read", *(f"− {reason}" for reason in total.dropped)], _list_remaining(total)
    figure = Figure(figsize=(8, 1 + 0.35 * len(names)))
    axes = figure.subplots()
    bars = axes.barh(names, remaining, color="#9db4c0")
    bars[-1].set_color("#253237")
    axes.bar_label(bars, [f"{count:,}" for count in remaining], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(xlabel="rows left", title="From rows to documents")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _list_remaining(total: Tally) -> list[int]:
    """List the rows that are left at the beginning and after each reason."""
    return list(accumulate(total.dropped.values(), sub, initial=total.rows))


def _bin(tokens: list[int]) -> list[tuple[str, int]]:
    """Count the lengths in bins that are powers of two; empty bins in between are included."""
    if not tokens:
        return []
    counts = Counter(count.bit_length() for count in tokens)
    sizes = range(min(counts), max(counts) + 1)
    return [(f"{1 << size >> 1:,} to {(1 << size) - 1:,}", counts[size]) for size in sizes]


def _write_counts(title: str, counts: dict[str, int]) -> list[str]:
    return [f"\n## {title}\n", write_table([("", ""), *counts.items()], numbers=True)] if counts else []
