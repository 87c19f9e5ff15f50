"""Reports what became of the rows of an ingest: drops by reason, licences, lengths; as manifest, table and chart."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from autodata.corpora.pipeline import Tally
from autodata.stats.writing import write_table


@dataclass
class Totals:
    """The tallies of all tasks, added up for each stage."""

    read: Tally = field(default_factory=Tally)  # all rows, and those dropped while reading
    repeats: Tally = field(default_factory=Tally)
    personal_data: Tally = field(default_factory=Tally)
    written: Tally = field(default_factory=Tally)

    @property
    def kept(self) -> int:
        return len(self.written.tokens)

    @property
    def dropped(self) -> Counter[str]:
        """The number of dropped rows per reason, the most frequent first within each stage."""
        return Counter(dict([*self.read.dropped.most_common(), *self.repeats.dropped.most_common()]))


def gather(folder: Path, tasks: int) -> Totals:
    """Add up the tallies of all tasks. Raises RuntimeError when a row is neither kept nor dropped for a reason."""
    totals = Totals()
    for stage, total in vars(totals).items():
        for task in range(tasks):
            _add(total, json.loads((folder / stage / f"{task:05d}.json").read_text(encoding="utf-8")))
    if totals.read.rows != totals.kept + totals.dropped.total():
        raise RuntimeError(f"{totals.read.rows} rows, but {totals.kept} kept and {totals.dropped.total()} dropped")
    return totals


def state(totals: Totals) -> dict[str, object]:
    """Return the totals in the form that the manifest records."""
    tokens = totals.written.tokens
    return {
        "sources": totals.read.files,
        "rows": totals.read.rows,
        "kept": totals.kept,
        "dropped": dict(totals.dropped),
        "licences": dict(sorted(totals.written.licences.items())),
        "personal_data_masked": dict(sorted(totals.personal_data.personal_data.items())),
        "tokens": {"total": sum(tokens), "histogram": dict(_bin(tokens))} if None not in tokens else None,
    }


def write_report(totals: Totals, chart: str) -> str:
    """Return the report as Markdown: the funnel as picture and table, the licences, the lengths."""
    facts = state(totals)
    remaining = totals.read.rows
    rows = [("", "dropped", "left"), ("rows read", "", remaining)]
    for reason, count in totals.dropped.items():
        remaining -= count
        rows.append((reason, f"−{count:,}", remaining))
    tokens = facts["tokens"] or {"total": 0, "histogram": {}}
    counted = f" ({tokens['total']:,} tokens)" if facts["tokens"] else ""
    return "\n".join(
        [
            "# Ingest\n",
            f"Files read: {len(totals.read.files):,}. Rows read: {totals.read.rows:,}. "
            f"Documents kept: {totals.kept:,}{counted}.\n",
            f"![Rows left after each filter]({chart})\n",
            write_table(rows, numbers=True),
            *_write_counts("Licences of the documents", facts["licences"]),
            *_write_counts("Tokens per document", tokens["histogram"]),
            *_write_counts("Personal data masked", facts["personal_data_masked"]),
            "\nEvery dropped row, with its file, line and reason, is in `dropped/`.\n",
        ]
    )


def draw(totals: Totals, path: Path) -> None:
    """Draw one bar for the number of rows left after each reason, and save the chart as PNG."""
    from matplotlib.figure import Figure  # slow to import, and needed only once, at the end

    names, remaining = ["rows read"], [totals.read.rows]
    for reason, count in totals.dropped.items():
        names.append(f"− {reason}")
        remaining.append(remaining[-1] - count)
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


def _add(total: Tally, tally: dict) -> None:
    total.rows += tally["rows"]
    total.files += tally["files"]
    total.tokens += tally["tokens"]
    for name in ("dropped", "licences", "personal_data"):
        getattr(total, name).update(tally[name])


def _bin(tokens: list[int]) -> list[tuple[str, int]]:
    """Count the lengths in bins that are powers of two; empty bins in between are included."""
    if not tokens:
        return []
    counts = Counter(count.bit_length() for count in tokens)
    sizes = range(min(counts), max(counts) + 1)
    return [(f"{1 << size >> 1:,} to {(1 << size) - 1:,}", counts[size]) for size in sizes]


def _write_counts(title: str, counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    return [f"\n## {title}\n", write_table([("", ""), *counts.items()], numbers=True)]
