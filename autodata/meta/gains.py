"""How often members pass, and by how much one is ahead of another: with intervals over documents."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from autodata.meta.evaluate import Trial
from autodata.stats.intervals import DIFFERENCE, SHARE, Estimate, estimate_mean


def measure(trials: Sequence[Trial]) -> Estimate | None:
    """The pass rate; unmeasured trials count nowhere."""
    return estimate_mean(((t.document, float(t.passed)) for t in trials if t.passed is not None), SHARE)


def compare(before: Sequence[Trial], after: Sequence[Trial]) -> Estimate | None:
    """The difference of pass rates where both were measured: on the same documents, in the same draws."""
    return estimate_mean(_subtract(before, after), DIFFERENCE)


def _subtract(before: Sequence[Trial], after: Sequence[Trial]) -> Iterator[tuple[str, float]]:
    """Both were tried on a document equally often and in the same order."""
    first, second = _group(before), _group(after)
    for document in sorted(first.keys() & second.keys()):
        for old, new in zip(first[document], second[document], strict=False):
            if old.passed is not None and new.passed is not None:
                yield document, float(new.passed) - float(old.passed)


def _group(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        found[trial.document].append(trial)
    return found
