"""Two runs over the same documents, without guidance and with it: what changed, each number with its interval."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from autodata import duplicates, store, topics
from autodata.intervals import Estimate
from autodata.store import RunError
from autodata.types import TRAJECTORY, Candidate

NEAR = 0.8  # similarity of near-duplicates, as in data sets
RESAMPLES = 1_000
Measure = Callable[[numpy.ndarray], float]  # of documents, by number


@dataclass(frozen=True)
class Row:
    """One measure of both runs, and the second minus the first on the same documents."""

    name: str
    off: Estimate
    on: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Contrast:
    """Over the documents that both runs finished."""

    documents: int
    left_out: int
    rows: tuple[Row, ...]


def read_accepted(run: Path) -> dict[str, Candidate | None]:
    """The accepted candidate of each document of a finished generation, or None. Raises RunError."""
    store.require_finished(str(run), "python -m autodata.generate")
    made = store.read_records(run / "trajectories.jsonl", TRAJECTORY)
    return {t.document_id: t.accepted.candidate if t.accepted else None for t in made}


def compare(off: Mapping[str, Candidate | None], on: Mapping[str, Candidate | None]) -> Contrast:
    """Paired by document. Raises RunError where too few are shared."""
    shared = sorted(off.keys() & on.keys())
    if len(shared) < 2:
        raise RunError(f"the runs share {len(shared)} documents; compare two runs over the same ones")
    columns = [[run[document] for document in shared] for run in (off, on)]
    texts = [[f"{c.question} {c.context}" if c else "" for c in column] for column in columns]
    found = iter(topics.group([t for of in texts for t in of if t], topics.choose_count(len(shared))))
    places = [numpy.array([next(found) if text else -1 for text in of]) for of in texts]
    repeats = [_find_repeats(column) for column in columns]
    measures: dict[str, list[Measure]] = {
        "effective topics": [_count_topics(of) for of in places],
        "share of near-duplicates": [_share_within(of, place >= 0) for of, place in zip(repeats, places, strict=True)],
        "acceptance": [_share_within(place >= 0, numpy.ones(len(shared), bool)) for place in places],
    }
    rows = tuple(_contrast(name, *of, len(shared)) for name, of in measures.items())
    return Contrast(len(shared), len(off.keys() ^ on.keys()), rows)


def _find_repeats(column: Sequence[Candidate | None]) -> numpy.ndarray:
    """Which documents' questions say nearly what another's does."""
    questions = {str(number): c.question for number, c in enumerate(column) if c}
    paired = {number for pair in duplicates.find_pairs(questions, NEAR) for number in pair}
    return numpy.array([str(number) in paired for number in range(len(column))])


def _count_topics(places: numpy.ndarray) -> Measure:
    def measure(documents: numpy.ndarray) -> float:
        of = places[documents]
        return topics.effective(numpy.bincount(of[of >= 0]).tolist())

    return measure


def _share_within(marked: numpy.ndarray, whole: numpy.ndarray) -> Measure:
    def measure(documents: numpy.ndarray) -> float:
        total = whole[documents].sum()
        return float((marked & whole)[documents].sum() / total) if total else float("nan")

    return measure


def _contrast(name: str, off: Measure, on: Measure, documents: int) -> Row:
    difference: Measure = lambda of: on(of) - off(of)  # noqa: E731  three of a kind
    return Row(name, *(_estimate(measure, documents) for measure in (off, on, difference)))


def _estimate(measure: Measure, documents: int) -> Estimate:
    """Percentile bootstrap over documents, moved by its bias: resamples repeat documents, and so have fewer topics.

    No interval where a resample has no number.
    """
    from scipy import stats  # slow to import, needed here only

    everything = numpy.arange(documents)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of resamples without a number
        found = stats.bootstrap((everything,), measure, vectorized=False, n_resamples=RESAMPLES, method="percentile",
                                rng=numpy.random.default_rng(0))  # fmt: skip
    value, drawn = measure(everything), found.bootstrap_distribution
    if numpy.isnan(drawn).any():
        return Estimate(value, None, None)
    low, high = numpy.quantile(drawn, (0.025, 0.975)) - (drawn.mean() - value)
    return Estimate(value, float(low), float(high))


def write_contrast(contrast: Contrast) -> str:
    """The table as Markdown."""
    lines = [f"{contrast.documents} documents that both runs have; {contrast.left_out} only one has are left out.", "",
             "| measure | off | on | on − off |", "|---|---|---|---|"]  # fmt: skip
    lines += [f"| {row.name} | {_write(row.off)} | {_write(row.on)} | {_write(row.difference, '+')} |"
              for row in contrast.rows]  # fmt: skip
    return "\n".join([*lines, "", "In brackets: 95 % interval, bootstrap over documents."])  # fmt: skip


def _write(found: Estimate, sign: str = "") -> str:
    if numpy.isnan(found.value):
        return "–"
    interval = "" if found.low is None else f" [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"
    return f"{found.value:{sign}.3f}{interval}"
