"""mean@k, best@k, pass@k and differences between two models, with intervals clustered by document."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy
import scipy  # its parts are loaded when they are used

from autodata.stats.intervals import DIFFERENCE, SHARE, Estimate, add_up, estimate_mean, estimate_ratio

LEVEL = 0.05
_PERMUTATIONS = 9_999


@dataclass(frozen=True)
class Answers:
    """The k scores of one example; None where judging failed."""

    document_id: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    """Mean score of the second model minus that of the first on the same examples, with interval and p value."""

    estimate: Estimate
    p: float | None  # of no difference, two-sided; None below two documents
    examples: int  # that both have a score for
    changed: int = 0  # documents whose difference is not zero

    @property
    def can_show(self) -> bool:
        """Some p below LEVEL is possible: the smallest is that of all documents that differ doing so the same way."""
        return 2.0 ** (1 - self.changed) < LEVEL


def mean_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Mean score, first over the samples of an example, then over examples."""
    return _estimate(answers, lambda scores: sum(scores) / len(scores))


def best_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Mean over examples of the best of its samples."""
    return _estimate(answers, max)


def pass_at_k(answers: Sequence[Answers], k: int | None = None, right_from: float = 1.0) -> Estimate | None:
    """Mean over examples of the chance that one of k answers is right, unbiased (Chen et al., arXiv 2107.03374).

    Examples with fewer than k scored answers are left out; without k it is as many as the example with the most
    has. `right_from` is the score that counts as right.
    """
    k = k or max((len(a.scores) for a in answers), default=1)
    enough = [a for a in answers if sum(s is not None for s in a.scores) >= k]
    return _estimate(enough, lambda scores: chance_of_one(len(scores), sum(s >= right_from for s in scores), k))


def chance_of_one(drawn: int, right: int, k: int) -> float:
    """1 − C(n−c, k) / C(n, k): that at least one of k of the n drawn, c of them right, is right."""
    return 1.0 - math.comb(drawn - right, k) / math.comb(drawn, k)


def compare(first: Mapping[str, Answers], second: Mapping[str, Answers]) -> Difference | None:
    """Paired by example, clustered by document; examples that only one model was scored on are left out."""
    sums, counts = add_up(_subtract_means(first, second))
    if not len(counts):
        return None
    estimate = estimate_ratio(sums, counts, DIFFERENCE)
    return Difference(estimate, _test_signs(sums), int(counts.sum()), int(numpy.count_nonzero(sums)))


def _subtract_means(first: Mapping[str, Answers], second: Mapping[str, Answers]) -> Iterator[tuple[str, float]]:
    for id in sorted(first.keys() & second.keys()):
        before, after = mean_of_known(first[id].scores), mean_of_known(second[id].scores)
        if before is not None and after is not None:
            yield first[id].document_id, after - before


def mean_of_known(scores: Sequence[float | None]) -> float | None:
    """None where no score is known."""
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def _test_signs(sums: numpy.ndarray) -> float | None:
    """The permutation test of paired samples: under no difference each document's sign is a coin's.

    Documents without a difference have no sign; without them the test is exact for up to 13 others.
    """
    if len(sums) < 2:
        return None
    if numpy.count_nonzero(sums) < 2:
        return 1.0
    found = scipy.stats.permutation_test(
        (sums[sums != 0],),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_PERMUTATIONS,
        rng=numpy.random.default_rng(0),
    )
    return float(found.pvalue)


def reduce_answers(
    answers: Mapping[str, Answers], how: Callable[[Sequence[Answers]], Estimate | None]
) -> dict[str, Answers]:
    """One number for each example instead of its k scores, so that best@k and pass@k can be compared as means are."""
    found = {id: (one, how([one])) for id, one in answers.items()}
    return {id: Answers(one.document_id, (value.value,)) for id, (one, value) in found.items() if value}


def unscored_bounds(answers: Sequence[Answers]) -> tuple[float, float] | None:
    """Mean score if every unscored sample were 0, and if it were 1."""
    scores = [s for a in answers for s in a.scores]
    if not scores:
        return None
    known, missing = sum(s for s in scores if s is not None), scores.count(None)
    return known / len(scores), (known + missing) / len(scores)


def _estimate(answers: Sequence[Answers], reduce: Callable[[list[float]], float]) -> Estimate | None:
    known = [(a.document_id, [s for s in a.scores if s is not None]) for a in answers]
    return estimate_mean(((document, reduce(scores)) for document, scores in known if scores), SHARE)
