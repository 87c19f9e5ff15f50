"""Computes mean@k, best@k, pass@k and differences between two models, with intervals clustered by document."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy
import scipy  # loads its submodules on first use

from autodata.stats.intervals import DIFFERENCE, SHARE, Estimate, add_up, estimate_mean

LEVEL = 0.05


@dataclass(frozen=True)
class Answers:
    """The k scores of one example; a score is None if judging failed."""

    document_id: str
    scores: tuple[float | None, ...]


@dataclass(frozen=True)
class Difference:
    """The second model's mean score minus the first one's on the same examples, with interval and p value."""

    estimate: Estimate
    p: float | None  # two-sided, for the hypothesis of no difference; None with fewer than two documents
    examples: int  # number of examples with a score of both models
    changed: int = 0  # number of documents whose difference is not zero


def mean_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Estimate the mean score, averaged first over the samples of an example, then over examples."""
    return _estimate(answers, lambda scores: sum(scores) / len(scores))


def best_at_k(answers: Sequence[Answers]) -> Estimate | None:
    """Estimate the mean over examples of the best score among the samples of each."""
    return _estimate(answers, max)


def pass_at_k(answers: Sequence[Answers], k: int | None = None) -> Estimate | None:
    """Estimate the mean chance that one of k answers is right, without bias (Chen et al., arXiv 2107.03374).

    Examples with fewer than k scored answers are left out. By default, k is the largest number of answers to any.
    """
    k = k or max((len(a.scores) for a in answers), default=1)
    enough = [a for a in answers if sum(s is not None for s in a.scores) >= k]
    return _estimate(enough, lambda scores: chance_of_one(len(scores), sum(s >= 1.0 for s in scores), k))


def chance_of_one(drawn: int, right: int, k: int) -> float:
    """Compute 1 − C(n−c, k) / C(n, k), the chance that k of n answers, c of them right, include a right one."""
    return 1.0 - math.comb(drawn - right, k) / math.comb(drawn, k)


def compare(first: Mapping[str, Answers], second: Mapping[str, Answers]) -> Difference | None:
    """Compare two models, paired by example and clustered by document; None if no example has a score of both."""
    changes = []
    for id in sorted(first.keys() & second.keys()):
        before, after = mean_of_known(first[id].scores), mean_of_known(second[id].scores)
        if before is not None and after is not None:
            changes.append((first[id].document_id, after - before))
    sums, counts = add_up(changes)
    if not len(counts):
        return None
    estimate = estimate_mean(changes, DIFFERENCE)
    return Difference(estimate, _test_signs(sums), int(counts.sum()), int(numpy.count_nonzero(sums)))


def mean_of_known(scores: Sequence[float | None]) -> float | None:
    """Average the scores that are known; None if there is none."""
    numbers = [score for score in scores if score is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _test_signs(sums: numpy.ndarray) -> float | None:
    """Run the permutation test for paired samples: without a difference, each document's sign is a coin toss.

    Documents without a difference have no sign and are left out; the test is exact if at most 13 others remain.
    """
    if len(sums) < 2:
        return None
    if numpy.count_nonzero(sums) < 2:
        return 1.0
    result = scipy.stats.permutation_test(
        (sums[sums != 0],), numpy.mean, permutation_type="samples", n_resamples=9_999, rng=numpy.random.default_rng(0)
    )
    return float(result.pvalue)


def reduce_answers(
    answers: Mapping[str, Answers], estimate: Callable[[Sequence[Answers]], Estimate | None]
) -> dict[str, Answers]:
    """Replace the k scores of each example by one number, so that best@k and pass@k are compared as means are."""
    return {id: Answers(one.document_id, (e.value,)) for id, one in answers.items() if (e := estimate([one]))}


def unscored_bounds(answers: Sequence[Answers]) -> tuple[float, float] | None:
    """Compute the mean score as if every unscored sample were 0, and as if it were 1; None without samples."""
    if not (scores := [s for a in answers for s in a.scores]):
        return None
    total, missing = sum(s for s in scores if s is not None), scores.count(None)
    return total / len(scores), (total + missing) / len(scores)


def _estimate(answers: Sequence[Answers], reduce: Callable[[list[float]], float]) -> Estimate | None:
    by_example = [(a.document_id, [s for s in a.scores if s is not None]) for a in answers]
    return estimate_mean(((document, reduce(scores)) for document, scores in by_example if scores), SHARE)
