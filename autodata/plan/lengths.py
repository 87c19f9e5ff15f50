"""Models the lengths of completions: log-normal, and cut off at the largest number of tokens that is allowed."""

import math
import random
from dataclasses import dataclass
from statistics import NormalDist

from autodata.plan.workload import PRIORS

_NORMAL = NormalDist()
_SPREADS = 0.01, 3.0  # the smallest and the largest spread that a fit considers


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths in tokens. `spread` is the standard deviation of the logarithm before cutting off."""

    median: float  # before cutting off
    spread: float
    most: float

    def draw(self, rng: random.Random) -> float:
        return min(self.most, rng.lognormvariate(math.log(self.median), self.spread))

    @property
    def cut_off(self) -> float:
        """The share that is cut off."""
        return 1 - _NORMAL.cdf(math.log(self.most / self.median) / self.spread)

    @property
    def mean(self) -> float:
        """The mean after cutting off."""
        below = _NORMAL.cdf(math.log(self.most / self.median) / self.spread - self.spread)
        return self.median * math.exp(self.spread**2 / 2) * below + self.most * self.cut_off


def assume(domain: str, most: int) -> Lengths:
    """Take the spread and the share that is cut off from priors.yaml."""
    share = PRIORS["cut_off"].get(domain, PRIORS["cut_off"]["other"])
    return _reach(most, share, PRIORS["spread"], most)


def fit(mean: float, reached: float, share: float, most: float) -> Lengths:
    """Fit lengths with this mean, of which `share` are at least `reached` tokens long. `most` is their limit."""
    low, high = _SPREADS
    share = min(max(share, 1e-3), 1 - 1e-3)
    for _ in range(40):
        middle = (low + high) / 2
        wide = _reach(reached, share, middle, most).mean < mean
        low, high = (low, middle) if wide else (middle, high)
    return _reach(reached, share, low, most)


def _reach(reached: float, share: float, spread: float, most: float) -> Lengths:
    """Make lengths of which `share` are at least `reached` tokens long."""
    return Lengths(reached * math.exp(-spread * _NORMAL.inv_cdf(1 - share)), spread, most)
