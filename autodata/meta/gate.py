"""Decides whether a mutant is better than its parent: by the paper's strict rule, or by one that allows for noise.

Parent and mutant are tried on the same documents with the same seeds; a pair says which of the two passed. With 25
documents and a pass rate of 62 %, a mutant that changes nothing is strictly better in a single draw in 44 of 100 cases
(bench/acceptance_gates.py). So the paper's 126 acceptances of 233 are by themselves no sign of progress.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import scipy  # loads its submodules only when they are used

from autodata.recipes.meta import Acceptance

T = TypeVar("T")
FIRST_LOOK = 8  # validation documents that are tried before the others
_CLEAR_LOSS = 3.0  # evidence for the parent; reached if the child loses the first three discordant pairs
_LARGEST = 700.0  # exp overflows soon above it


class Decision(StrEnum):
    """The decision of a comparison so far."""

    ACCEPT = "accept"
    REJECT = "reject"
    MORE = "more"


@dataclass(frozen=True)
class Pair:
    """Whether parent and child passed on one document under one seed."""

    parent: bool
    child: bool


def count(pairs: Sequence[Pair]) -> tuple[int, int]:
    """Count how often only the child passed, and how often only the parent passed."""
    wins = sum(pair.child and not pair.parent for pair in pairs)
    losses = sum(pair.parent and not pair.child for pair in pairs)
    return wins, losses


def evidence(wins: int, losses: int) -> float:
    """Compute how much likelier the wins are if the child is better than if neither is (an e-value).

    It is the likelihood of the discordant pairs with P(win) uniform on (½, 1], divided by that with P(win) = ½. It
    starts at 1. Without a difference its mean stays 1, so the probability that it ever reaches 1/α is at most α,
    however often one looks and whenever one stops (Ville's inequality; Ramdas et al., arXiv 2210.01948).
    """
    log_integral = scipy.special.betaln(wins + 1, losses + 1) + scipy.stats.beta.logsf(0.5, wins + 1, losses + 1)
    return math.exp(min(_LARGEST, (wins + losses + 1) * math.log(2) + log_integral))


def decide_paired(pairs: Sequence[Pair], documents: int, at_most: int, alpha: float) -> Decision:
    """Accept at evidence 1/α; reject on a clear loss or if `at_most` pairs were not enough; else ask for more pairs.

    A clear loss is evidence of 3 for the parent at any time, or no lead after all `documents` were tried.
    """
    wins, losses = count(pairs)
    if evidence(wins, losses) >= 1 / alpha:
        return Decision.ACCEPT
    is_behind = evidence(losses, wins) >= _CLEAR_LOSS or (len(pairs) >= documents and wins <= losses)
    return Decision.REJECT if is_behind or len(pairs) >= at_most else Decision.MORE


def decide_strict(pairs: Sequence[Pair]) -> Decision:
    """Accept if the child's pass rate is strictly higher, which is the paper's rule (Sec. 4)."""
    wins, losses = count(pairs)
    return Decision.ACCEPT if wins > losses else Decision.REJECT


def decide(pairs: Sequence[Pair], documents: int, rule: Acceptance) -> Decision:
    """Decide by a recipe's rule; `documents` is how many validation documents there are."""
    if rule.rule == "strict":
        return decide_strict(pairs)
    return decide_paired(pairs, documents, rule.draws * documents, rule.alpha)


def plan_looks(documents: Sequence[T], rule: Acceptance) -> list[tuple[Sequence[T], int]]:
    """List the documents that are tried before each decision, with the number of the pass over them."""
    if rule.rule == "strict":
        return [(documents, 0)]
    first = [(part, 0) for part in (documents[:FIRST_LOOK], documents[FIRST_LOOK:]) if part]
    return first + [(documents, number) for number in range(1, rule.draws)]


def shrink(passed: int, trials: int, prior_rate: float, prior_weight: float) -> float:
    """Shrink a pass rate towards `prior_rate`, so that a few lucky documents do not make a member a parent."""
    return (passed + prior_weight * prior_rate) / (trials + prior_weight)
