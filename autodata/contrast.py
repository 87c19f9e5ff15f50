"""Two runs over the same documents, without guidance and with it: what changed, each number with its interval."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

from autodata import duplicates, store, topics
from autodata.intervals import (
    DIFFERENCE,
    NO_SPREAD,
    SHARE,
    Estimate,
    correlate,
    estimate_ratio,
    find_t,
    leave_one_out,
    subtract,
    write_interval,
)
from autodata.store import RunError
from autodata.types import TRAJECTORY, Candidate

NEAR = 0.8  # similarity of near-duplicates, as in data sets
RESAMPLES = 1_000
TOO_FEW = "no interval: too few are accepted"
Marked = tuple[numpy.ndarray, numpy.ndarray]  # documents that are marked, and those that count


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
    accepted, everyone = [place >= 0 for place in places], numpy.ones(len(shared), bool)
    rows = (
        _contrast_topics(*places),
        _contrast_shares("share of near-duplicates", *zip(repeats, accepted, strict=True)),
        _contrast_shares("acceptance", *((own, everyone) for own in accepted)),
    )
    return Contrast(len(shared), len(off.keys() ^ on.keys()), rows)


def _find_repeats(column: Sequence[Candidate | None]) -> numpy.ndarray:
    """Which documents' questions say nearly what another's does."""
    questions = {str(number): c.question for number, c in enumerate(column) if c}
    paired = {number for pair in duplicates.find_pairs(questions, NEAR) for number in pair}
    return numpy.array([str(number) in paired for number in range(len(column))])


def _contrast_shares(name: str, off: Marked, on: Marked) -> Row:
    """Shares of documents that are marked, of those that count."""
    first, second = (_estimate_share(*side) for side in (off, on))
    same = (off[1] == on[1]).all() and off[1].any()
    return Row(name, first, second, _pair_shares(off, on) if same else _subtract_shares(off, on))


def _pair_shares(off: Marked, on: Marked) -> Estimate:
    """Where the same documents count on both sides, each has its own difference."""
    whole = off[1]
    changes = on[0][whole].astype(float) - off[0][whole]
    return estimate_ratio(changes, numpy.ones(len(changes)), DIFFERENCE)


def _subtract_shares(off: Marked, on: Marked) -> Estimate:
    """Many documents count on both sides, so the two shares go together."""
    first, second = (_estimate_share(*side) for side in (off, on))
    without = [leave_one_out(*(of.astype(float) for of in (marked & whole, whole))) for marked, whole in (off, on)]
    value, documents = second.value - first.value, len(off[0])
    if first.low is None or second.low is None or numpy.isnan(without).any():
        return Estimate(value, None, None, documents, TOO_FEW)
    low, high = subtract(second, first, correlate(*without))
    return Estimate(value, max(low, -1.0), min(high, 1.0), documents)


def _estimate_share(marked: numpy.ndarray, whole: numpy.ndarray) -> Estimate:
    if not whole.any():
        return Estimate(float("nan"), None, None, 0, TOO_FEW)
    return estimate_ratio(marked[whole].astype(float), numpy.ones(int(whole.sum())), SHARE)


def _contrast_topics(off: numpy.ndarray, on: numpy.ndarray) -> Row:
    """How many topics there are is no mean: the spread is a bootstrap's, for which Student's t makes up."""
    drawn = numpy.random.default_rng(0).integers(len(off), size=(RESAMPLES, len(off)))
    sides = [numpy.array([_count_topics(of[documents]) for documents in drawn]) for of in (off, on)]
    first, second = _count_topics(off), _count_topics(on)
    spreads = (*sides, sides[1] - sides[0])
    found = (_attach_spread(*pair, len(off)) for pair in zip((first, second, second - first), spreads, strict=True))
    return Row("effective topics", *found)


def _attach_spread(value: float, drawn: numpy.ndarray, documents: int) -> Estimate:
    """The interval around the value, not around the resamples: these repeat documents, and so have fewer topics."""
    error = float(drawn.std()) * math.sqrt(documents / (documents - 1))
    if error < 1e-9:
        return Estimate(value, None, None, documents, NO_SPREAD)
    reach = find_t(documents) * error
    return Estimate(value, value - reach, value + reach, documents)


def _count_topics(places: numpy.ndarray) -> float:
    return topics.effective(numpy.bincount(places[places >= 0]).tolist())


def write_contrast(contrast: Contrast) -> str:
    """The table as Markdown."""
    lines = [f"{contrast.documents} documents that both runs have; {contrast.left_out} only one has are left out.", "",
             "| measure | off | on | on − off |", "|---|---|---|---|"]  # fmt: skip
    lines += [f"| {row.name} | {_write(row.off)} | {_write(row.on)} | {_write(row.difference, '+')} |"
              for row in contrast.rows]  # fmt: skip
    return "\n".join([*lines, "", "In brackets: 95 % interval over n documents."])  # fmt: skip


def _write(found: Estimate, sign: str = "") -> str:
    if numpy.isnan(found.value):
        return "–"
    return f"{found.value:{sign}.3f}" + write_interval(found, lambda end: f"{end:{sign}.3f}")
