"""Whether a mutant is better than its parent: the paper's strict comparison, and one that knows noise.

Parent and mutant are tried on the same documents with the same seeds; a pair is whether each of them passed. At 25
documents and a pass rate of 62 % a mutant that changes nothing is strictly better in one draw in 44 of 100 cases
(bench/acceptance_gates.py), so the paper's 126 acceptances of 233 are by themselves no sign of progress.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import scipy  # its parts are loaded when they are used

_CLEAR_LOSS = 3.0  # none of the first three discordant pairs
_LARGEST = 700.0  # what exp still takes


class Decision(StrEnum):
    """What a comparison says so far."""

    ACCEPT = "accept"
    REJECT = "reject"
    MORE = "more"


@dataclass(frozen=True)
class Pair:
    """One document under one seed."""

    parent: bool
    child: bool


def count(pairs: Sequence[Pair]) -> tuple[int, int]:
    """How often only the child passed, and how often only the parent did."""
    return (sum(pair.child and not pair.parent for pair in pairs),
            sum(pair.parent and not pair.child for pair in pairs))  # fmt: skip


def evidence(wins: int, losses: int) -> float:
    """How much likelier the wins are if the child is better than if neither is, as a betting score.

    The likelihood of the discordant pairs with P(win) drawn evenly from (½, 1], over that with ½. It starts at 1, and
    where there is no difference its mean stays 1 however long it goes on: it ever reaches 1/α with a probability of at
    most α, wherever one looks and stops (Ville's inequality; Ramdas et al., arXiv 2210.01948).
    """
    log_integral = scipy.special.betaln(wins + 1, losses + 1) + scipy.stats.beta.logsf(0.5, wins + 1, losses + 1)
    return math.exp(min(_LARGEST, (wins + losses + 1) * math.log(2) + log_integral))


def decide_paired(pairs: Sequence[Pair], documents: int, at_most: int, alpha: float) -> Decision:
    """Accept at evidence 1/α, reject on clear loss or when `at_most` pairs were not enough, else ask for more.

    Clear loss is evidence of 3 for the parent at any time, or no lead once every one of `documents` was tried.
    """
    wins, losses = count(pairs)
    if evidence(wins, losses) >= 1 / alpha:
        return Decision.ACCEPT
    is_behind = evidence(losses, wins) >= _CLEAR_LOSS or (len(pairs) >= documents and wins <= losses)
    return Decision.REJECT if is_behind or len(pairs) >= at_most else Decision.MORE


def decide_strict(pairs: Sequence[Pair]) -> Decision:
    """The paper's rule (Sec. 4): the child's pass rate is strictly higher."""
    wins, losses = count(pairs)
    return Decision.ACCEPT if wins > losses else Decision.REJECT


def shrink(passed: int, tried: int, prior_rate: float, prior_weight: float) -> float:
    """A pass rate drawn towards that of the population: few lucky documents are no reason to be chosen as a parent."""
    return (passed + prior_weight * prior_rate) / (tried + prior_weight)
