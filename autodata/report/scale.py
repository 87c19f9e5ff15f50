"""A linear axis: where a value lies on the page, and which values are worth a tick."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    is_count: bool = False  # then no tick lies between two whole numbers

    def at(self, value: float) -> float:
        """The place of a value, to a tenth of a unit."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """About five round values inside the axis."""
        step = round_step((self.high - self.low) / 5)
        step = max(step, 1) if self.is_count else step
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(n * step, 10) for n in range(first, last + 1)]


def cover(values: Iterable[float], start: float, end: float) -> Scale:
    """An axis from zero (or the lowest value below it) to a round value over the highest."""
    found = list(values)
    low, high = min([0, *found]), max([0, *found])
    if high - low < 1e-12:
        high = low + 1
    step = round_step((high - low) / 5)
    is_count = all(float(value).is_integer() for value in found)
    step = max(step, 1) if is_count else step
    return Scale(math.floor(low / step) * step, math.ceil(high / step) * step, start, end, is_count)


def round_step(width: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least `width`."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(power * step for step in _STEPS if power * step >= width * (1 - 1e-9))
