"""Writes the report of a run: one HTML file that explains it, loads nothing from the network and can be sent around.

python -m autodata.report runs/demo/agentic     # writes runs/demo/agentic/report.html and prints its path
python -m autodata.report runs/demo             # writes all missing or outdated reports below it, and
                                                # runs/demo/index.html
python -m autodata.report runs/demo/agentic --card law_12.txt    # writes the story of one document on a card,
                                                # runs/demo/agentic/card.html

The report of an unfinished run shows what is there so far.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from autodata import command
from autodata.report import chain, dataset, evaluation, generation, page, training
from autodata.report.page import Facts
from autodata.report.storyboard import describe_makers, tell_story
from autodata.run import snapshot
from autodata.run.folder import find_problem, find_runs, read_manifest
from autodata.run.records import NoSuchRun, iterate_records, read_json, write_file
from autodata.stats.writing import write_count, write_decimal, write_duration
from autodata.types import TRAJECTORY, UserError, WrongCall

REPORT, INDEX, CARD = "report.html", "index.html", "card.html"
_HEAD = 2_000  # characters of a page, in which its maker is named
_RESULTS = {".json", ".jsonl", ".yaml"}  # suffixes of the files that a report is made from


def report(folder: Path) -> Path:
    """Write the page of a run into its folder; for a folder of runs, those of all runs below it. Raises UserError."""
    manifest = read_manifest(folder)
    if manifest is None:
        return report_all(folder)
    kind = manifest.get("inputs", {}).get("kind")
    if kind not in KINDS:
        raise NoSuchRun(f"{folder}: there is no report for a run of kind {kind!r}, only for {', '.join(KINDS)}")
    write_file(folder / REPORT, KINDS[kind][0](folder, manifest))
    return folder / REPORT


def report_all(folder: Path) -> Path:
    """Write the index of a folder of runs, and the reports that it links to. Raises RunError if there are none."""
    runs = list(find_runs(folder))
    if not runs:
        raise NoSuchRun(f"{folder}: not a run folder: there is no manifest.json in it or in a folder below it")
    links = chain.sort_chain(runs, folder)
    entries = [describe(link.folder, folder, refresh(link.folder)) for link in links]
    told = chain.tell(links, folder)
    index = page.render(
        "index.j2",
        f"Runs in {folder.resolve().name}",
        **told,
        story_link=link_story(told, folder),
        entries=entries,
        finished=sum(entry["is_finished"] for entry in entries),
        write_duration=write_duration,
        command=f"python -m autodata.report {folder}",
    )
    write_file(folder / INDEX, index)
    return folder / INDEX


def write_card(folder: Path, document: str) -> Path:
    """Write the story of one document of a generation run on a page of its own. Raises UserError."""
    trajectories = iterate_records(folder / "trajectories.jsonl", TRAJECTORY)
    found = {t.document_id: t for t in trajectories if t.document_id == document or t.accepted}
    story = tell_story(found[document]) if document in found else None
    if story is None:
        others = ", ".join(list(found)[:5]) or "none"
        raise WrongCall(f"{folder}: no document {document!r} with an accepted question; with one: {others}")
    makers = describe_makers(read_manifest(folder) or {})
    write_file(folder / CARD, page.render("card.j2", f"The story of {document}", story=story, makers=makers))
    return folder / CARD


def refresh(run: Path) -> str:
    """Write the report of a run if it is missing or outdated; return why it could not be written, else ""."""
    try:
        if is_outdated(run):
            report(run)
    except UserError as error:
        return str(error)
    return ""


# ── the index of a folder of runs: one row each, with its result and a link to its report ──


def is_outdated(run: Path) -> bool:
    """True if the run has no report, has written results since its report, or has one that other code made."""
    page_path = run / REPORT
    newest = max(path.stat().st_mtime for path in run.iterdir() if path.suffix in _RESULTS)
    if not page_path.exists() or page_path.stat().st_mtime < newest:
        return True
    with page_path.open(encoding="utf-8", errors="replace") as file:
        return page.identify_maker() not in file.read(_HEAD)


def describe(run: Path, folder: Path, problem: str = "") -> dict[str, Any]:
    """Describe a run as a row of the index. `problem` says why it has no report. Raises RunError."""
    manifest = read_manifest(run) or {}
    inputs = manifest.get("inputs", {})
    kind, name = str(inputs.get("kind")), run.relative_to(folder).as_posix()
    arms = inputs.get("arms") or sorted(manifest.get("funnel", {}))
    label = [inputs.get("label"), inputs.get("domain.name"), inputs.get("arm"), " and ".join(arms)]
    times = [datetime.fromisoformat(manifest[name]) for name in ("started", "finished") if manifest.get(name)]
    headline = KINDS[kind][1](run, manifest) if kind in KINDS else ""
    if not headline and (now := snapshot.read_snapshot(run)):
        headline = snapshot.describe(now)
    return {
        "name": name,
        "kind": kind,
        "label": ", ".join(str(part) for part in label if part),
        "is_finished": bool(manifest.get("finished")),
        "started": manifest.get("started", ""),
        "seconds": (times[1] - times[0]).total_seconds() if len(times) == 2 else None,  # with pauses between sessions
        "headline": headline,
        "link": f"{name}/{REPORT}" if (run / REPORT).exists() else "",
        "problem": problem,
        "failure": "" if manifest.get("finished") else find_problem(manifest),
    }


def link_story(told: Mapping[str, Any], folder: Path) -> str:
    """Return the address of the story in the report of its run; "" without a story or a report."""
    if told["story"] is None or not (told["makers"]["link"].folder / REPORT).exists():
        return ""
    run = told["makers"]["link"].folder.relative_to(folder).as_posix()
    return f"{quote(run)}/{REPORT}#{urlencode({'doc': told['story'].document})}"


# ── the headline of a row: the result of a run of each kind ──


def _summarize_generation(run: Path, manifest: Facts) -> str:
    summary = manifest.get("summary")
    if not summary:
        return ""
    accepted, documents, rounds = (summary[name] for name in ("accepted_documents", "documents", "rounds"))
    return f"{accepted:,} of {write_count(documents, 'document')} accepted, {write_count(rounds, 'round')}"


def _summarize_dataset(run: Path, manifest: Facts) -> str:
    return "; ".join(
        f"{arm}: {write_count(numbers['examples'], 'example')}, gap {write_decimal(numbers.get('gap'))}"
        for arm, numbers in sorted(manifest.get("statistics", {}).items())
    )


def _summarize_training(run: Path, manifest: Facts) -> str:
    if manifest.get("steps") is None:
        return ""
    first, last = manifest["reward_first_quarter"], manifest["reward_last_quarter"]
    return f"reward {first:.2f} → {last:.2f} in {write_count(manifest['steps'], 'step')}"


def _summarize_evaluation(run: Path, manifest: Facts) -> str:
    results = (read_json(run / "results.json") or {}).items()
    parts = [f"{name} {write_decimal(mean['value'])}" for name, numbers in results if (mean := numbers["mean"])]
    for name, numbers in (read_json(run / "prbench.json") or {}).items():
        first = next(iter(numbers["graders"].values()), {})
        parts += [f"{name} {write_decimal(first['clipped']['value'])}"] if first.get("clipped") else []
    return ", ".join(parts)


def _summarize_search(run: Path, manifest: Facts) -> str:
    results = read_json(run / "results.json")
    if not results:
        return ""
    before, after = results["baseline"]["test"], results["best"]["test"]
    return (
        f"test pass rate {write_decimal(before)} → {write_decimal(after)}, {results['accepted']:,} of "
        f"{write_count(results['iterations'], 'mutant')} accepted"
    )


# Each kind of run, as its manifest names it, with the functions that render its page and write its headline.
_Writer = Callable[[Path, Facts], str]
KINDS: dict[str, tuple[_Writer, _Writer]] = {
    "generate": (generation.render, _summarize_generation),
    "dataset": (dataset.render, _summarize_dataset),
    "grpo": (training.render, _summarize_training),
    "eval": (evaluation.render, _summarize_evaluation),
    # Imported late, because it loads the loop and its network code: half of all there is to load.
    "meta": (lambda run, manifest: import_module("autodata.report.meta").render(run, manifest), _summarize_search),
}


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="RUN", help="a run folder, or a folder of runs")
    parser.add_argument("--card", metavar="DOCUMENT", help="write the story of this document on a card instead")
    chosen = parser.parse_args()
    print(write_card(chosen.folder, chosen.card) if chosen.card else report(chosen.folder))
