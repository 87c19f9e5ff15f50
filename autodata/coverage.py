"""What the questions of runs cover: topics, kinds, failures, repeats; and whether guidance changed it.

python -m autodata.coverage RUN [RUN …]          # → RUN/coverage.json, for guidance=RUN/coverage.json
python -m autodata.coverage --compare OFF ON     # two runs of generation over the same documents
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata import duplicates, store, topics
from autodata.contrast import NEAR, compare, read_accepted, write_contrast
from autodata.dataset import EXAMPLES
from autodata.guidance import MIN_DOCUMENTS, compose, is_crowded, is_sparse
from autodata.store import RunError
from autodata.types import EXAMPLE, TRAJECTORY, Candidate

COVERAGE = "coverage.json"
Labels = Callable[[Candidate], Iterable[str]]


@dataclass(frozen=True)
class Tried:
    """A candidate, and what became of it."""

    document_id: str
    candidate: Candidate
    failure: str  # empty for one that was accepted

    @property
    def text(self) -> str:
        return f"{self.candidate.question} {self.candidate.context}"


def read_candidates(run: Path) -> list[Tried]:
    """Every candidate of a finished generation; of a data set the training examples alone. Raises RunError."""
    kind = (store.read_manifest(run) or {}).get("inputs", {}).get("kind", "generate")
    if kind == "dataset":
        store.require_finished(str(run), "python -m autodata.dataset")
        rows = store.read_records(run / EXAMPLES, EXAMPLE)
        return [Tried(e.document_id, e.candidate, "") for e in rows if e.split == "train"]
    store.require_finished(str(run), "python -m autodata.generate")
    made = store.read_records(run / "trajectories.jsonl", TRAJECTORY)
    return [Tried(t.document_id, r.candidate, "" if r.verdict.accepted else str(r.verdict.failure or "unmeasured"))
            for t in made for r in t.rounds if r.candidate]  # fmt: skip


def describe(tried: Sequence[Tried], runs: Sequence[str]) -> dict[str, Any]:
    """The report. Raises RunError where there is nothing to group."""
    documents = {t.document_id for t in tried}
    if len(documents) < 2:
        raise RunError(f"{', '.join(runs)}: candidates of {len(documents)} documents; there is nothing to compare")
    texts = [t.text for t in tried]
    groups = topics.group(texts, topics.choose_count(len(documents)))
    terms = topics.find_terms(texts, [t.document_id for t in tried], groups, MIN_DOCUMENTS)
    found = [_describe_topic(tried, groups, number, own) for number, own in enumerate(terms)]
    report = {
        "runs": [Path(run).name for run in runs],
        "documents": len(documents),
        "candidates": len(tried),
        "accepted": sum(not t.failure for t in tried),
        "effective_topics": topics.effective([t["accepted"] for t in found]),
        "topics": found,
        "types": _count_labels(tried, _types),
        "skills": _count_labels(tried, _skills),
        "duplicates": _describe_duplicates(tried),
    }
    return report | {"guidance": compose(report)}


def _describe_topic(tried: Sequence[Tried], groups: Sequence[int], number: int, terms: list[str]) -> dict[str, Any]:
    members = [t for t, of in zip(tried, groups, strict=True) if of == number]
    return {
        "terms": terms[:8],
        "documents": sum(home == number for home in find_homes(tried, groups).values()),
        "candidates": len(members),
        "accepted": sum(not t.failure for t in members),
        "failures": dict(sorted(Counter(t.failure for t in members if t.failure).items())),
    }


def find_homes(tried: Sequence[Tried], groups: Sequence[int]) -> dict[str, int]:
    """The topic of each document: that of most of its candidates, the earliest of equals."""
    by_document: dict[str, list[int]] = defaultdict(list)
    for one, of in zip(tried, groups, strict=True):
        by_document[one.document_id].append(of)
    return {document: Counter(of).most_common(1)[0][0] for document, of in by_document.items()}


def _types(candidate: Candidate) -> Iterator[str]:
    said = candidate.labels.get("question_type")
    if isinstance(said, str):
        yield said


def _skills(candidate: Candidate) -> Iterator[str]:
    yield from candidate.labels.get("reasoning_skills") or ()
    targets = candidate.labels.get("target_capabilities") or {}
    for focus in ("primary_focus", "secondary_focus"):
        yield from targets.get(focus) or ()


def _count_labels(tried: Sequence[Tried], read: Labels) -> list[dict[str, Any]]:
    """Each label with its candidates and documents, the most frequent first."""
    owners: dict[str, list[Tried]] = defaultdict(list)
    for one in tried:
        for name in {str(name).strip().lower() for name in read(one.candidate)}:
            owners[name].append(one)
    rows = [{"name": name, "candidates": len(of), "accepted": sum(not t.failure for t in of),
             "documents": len({t.document_id for t in of})} for name, of in owners.items()]  # fmt: skip
    return sorted(rows, key=lambda row: (-row["candidates"], row["name"]))


def _describe_duplicates(tried: Sequence[Tried]) -> dict[str, Any]:
    """Among what was accepted: how many repeat another, and the largest heap of the same."""
    questions = {str(i): t.candidate.question for i, t in enumerate(tried) if not t.failure}
    pairs = duplicates.find_pairs(questions, NEAR)
    heaps = [len(cluster) for cluster in duplicates.find_clusters(questions, pairs)]
    repeats = len(questions) - len(heaps)
    share = repeats / len(questions) if questions else None
    return {"repeats": repeats, "share": share, "largest": max(heaps, default=0)}


def write_report(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"{report['candidates']} candidates of {report['documents']} documents, {report['accepted']} accepted; "
             f"{len(report['topics'])} topics, as even as {report['effective_topics']:.1f} equal ones; "
             f"{report['duplicates']['repeats']} accepted questions repeat another.", "",
             "| topic | documents | candidates | accepted | failures | |", "|---|---|---|---|---|---|"]  # fmt: skip
    for topic in report["topics"]:
        failures = ", ".join(f"{name} {n}" for name, n in topic["failures"].items())
        mark = "well covered" if is_crowded(topic, report) else "under-represented" if is_sparse(topic, report) else ""
        name = ", ".join(topic["terms"][:4]) or "no common word"
        counts = " | ".join(str(topic[key]) for key in ("documents", "candidates", "accepted"))
        lines.append(f"| {name} | {counts} | {failures} | {mark} |")
    return "\n".join([*lines, "", "For the next challengers:", "", report["guidance"] or "nothing stands out"])


def main() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        if arguments[0] == "--compare":
            if len(arguments) != 3:
                raise RunError("--compare takes two runs: the one without guidance, and the one with it")
            print(write_contrast(compare(*(read_accepted(Path(run)) for run in arguments[1:]))))
            return
        report = describe([t for run in arguments for t in read_candidates(Path(run))], arguments)
        store.write_file(Path(arguments[0]) / COVERAGE, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        print(write_report(report))
    except RunError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
