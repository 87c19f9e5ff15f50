"""A run folder → one HTML file that explains it: no network, no build step, one file to send around.

python -m autodata.report runs/demo/agentic     # writes runs/demo/agentic/report.html and prints its path
python -m autodata.report runs/demo             # the reports of all runs below that lack one or are outdated, and
                                                # runs/demo/index.html

A run that is not finished is reported as far as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from autodata import command
from autodata.report import dataset, evaluation, generation, page, training
from autodata.report.page import Facts
from autodata.run import snapshot
from autodata.run.folder import find_runs, read_manifest
from autodata.run.records import RunError, read_json, write_file
from autodata.stats.writing import write_decimal, write_duration
from autodata.types import UserError

REPORT, INDEX = "report.html", "index.html"
_RESULTS = {".json", ".jsonl", ".yaml"}  # the files that a report is made from


def render_search(folder: Path, manifest: Facts) -> str:
    """The page of a run of autodata.meta.optimize."""
    from autodata.report import meta  # brings the loop and its network code along: half of all there is to load

    return meta.render(folder, manifest)


# Each kind of run, as its manifest names it, with the function that renders its page.
PAGES: dict[str, Callable[[Path, Facts], str]] = {
    "generate": generation.render,
    "dataset": dataset.render,
    "grpo": training.render,
    "eval": evaluation.render,
    "meta": render_search,
}


def report(folder: Path) -> Path:
    """Write the page of a run into its folder, or of all runs below a folder. Raises UserError."""
    manifest = read_manifest(folder)
    if manifest is None:
        return report_all(folder)
    kind = manifest.get("inputs", {}).get("kind")
    if kind not in PAGES:
        raise RunError(f"{folder}: no report for a run of kind {kind!r}; there are reports for {', '.join(PAGES)}")
    write_file(folder / REPORT, PAGES[kind](folder, manifest))
    return folder / REPORT


def report_all(folder: Path) -> Path:
    """Write the index of a folder of runs, and the reports that it links to. Raises RunError where there are none."""
    runs = list(find_runs(folder))
    if not runs:
        raise RunError(f"{folder}: no run folder, it has no manifest.json, nor has a folder below it")
    entries = [describe(run, folder, refresh(run)) for run in runs]
    write_file(folder / INDEX, render(folder, entries))
    return folder / INDEX


def refresh(run: Path) -> str:
    """Write the report of a run if it is missing or outdated; returns why it could not be written."""
    try:
        if is_outdated(run):
            report(run)
    except UserError as error:
        return str(error)
    return ""


# ── the index of a folder of runs: one row each, with its result and a link to its report ──


@dataclass(frozen=True)
class RunEntry:
    """A run as one row."""

    name: str  # its path below the folder
    kind: str
    label: str
    is_finished: bool
    started: str
    seconds: float | None  # from its beginning to its end, pauses between sessions included
    headline: str
    link: str  # empty where there is no report
    problem: str  # why there is none


def render(folder: Path, entries: Sequence[RunEntry]) -> str:
    finished = sum(entry.is_finished for entry in entries)
    return page.render("index.j2", f"Runs in {folder.resolve().name}", entries=entries, finished=finished,
                       write_duration=write_duration, command=f"python -m autodata.report {folder}")  # fmt: skip


def is_outdated(run: Path) -> bool:
    """True if the run has no report, or has written results since its report."""
    page_path = run / REPORT
    newest = max(path.stat().st_mtime for path in run.iterdir() if path.suffix in _RESULTS)
    return not page_path.exists() or page_path.stat().st_mtime < newest


def describe(run: Path, folder: Path, problem: str = "") -> RunEntry:
    """A row. Raises RunError for a damaged manifest."""
    manifest = read_manifest(run) or {}
    inputs = manifest.get("inputs", {})
    kind, name = str(inputs.get("kind")), run.relative_to(folder).as_posix()
    link = f"{name}/{REPORT}" if (run / REPORT).exists() else ""
    told = (_HEADLINES[kind](run, manifest) if kind in _HEADLINES else "") or _tell_progress(run)
    return RunEntry(name, kind, _label(inputs, manifest), bool(manifest.get("finished")), manifest.get("started", ""),
                 _measure_seconds(manifest), told, link, problem)  # fmt: skip


def _tell_progress(run: Path) -> str:
    now = snapshot.read_snapshot(run)
    return snapshot.describe(now) if now else ""


def _label(inputs: Facts, manifest: Facts) -> str:
    arms = inputs.get("arms") or sorted(manifest.get("funnel", {}))
    parts = [inputs.get("label"), inputs.get("domain.name"), inputs.get("arm"), " and ".join(arms)]
    return ", ".join(str(part) for part in parts if part)


def _measure_seconds(manifest: Facts) -> float | None:
    if not manifest.get("finished") or not manifest.get("started"):
        return None
    begun, ended = (datetime.fromisoformat(manifest[name]) for name in ("started", "finished"))
    return (ended - begun).total_seconds()


# ── the headline of a row: the result of a run of each kind ──


def _of_generation(run: Path, manifest: Facts) -> str:
    summary = manifest.get("summary")
    if not summary:
        return ""
    accepted, documents, rounds = (summary[name] for name in ("accepted_documents", "documents", "rounds"))
    return f"{accepted:,} of {documents:,} documents accepted, {rounds:,} rounds"


def _of_dataset(run: Path, manifest: Facts) -> str:
    statistics = manifest.get("statistics", {})
    return "; ".join(f"{arm}: {of['examples']:,} examples, gap {write_decimal(of.get('gap'))}"
                     for arm, of in sorted(statistics.items()))  # fmt: skip


def _of_training(run: Path, manifest: Facts) -> str:
    if manifest.get("steps") is None:
        return ""
    first, last = manifest["reward_first_quarter"], manifest["reward_last_quarter"]
    return f"reward {first:.2f} → {last:.2f} in {manifest['steps']:,} steps"


def _of_evaluation(run: Path, manifest: Facts) -> str:
    means = {name: of["mean"] for name, of in (read_json(run / "results.json") or {}).items()}
    told = [f"{name} {write_decimal(mean['value'])}" for name, mean in means.items() if mean]
    for name, of in (read_json(run / "prbench.json") or {}).items():
        first = next(iter(of["graders"].values()), {})
        told += [f"{name} {write_decimal(first['clipped']['value'])}"] if first.get("clipped") else []
    return ", ".join(told)


def _of_search(run: Path, manifest: Facts) -> str:
    found = read_json(run / "results.json")
    if not found:
        return ""
    before, after = found["baseline"]["test"], found["best"]["test"]
    return (f"test pass rate {write_decimal(before)} → {write_decimal(after)}, {found['accepted']:,} of "
            f"{found['iterations']:,} mutants accepted")  # fmt: skip


_HEADLINES: dict[str, Callable[[Path, Facts], str]] = {
    "generate": _of_generation,
    "dataset": _of_dataset,
    "grpo": _of_training,
    "eval": _of_evaluation,
    "meta": _of_search,
}


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    print(report(parser.parse_args().folder))
