"""How many calls were under way at any time of a run, from what its journal holds."""

from collections.abc import Sequence

import numpy as np

from autodata.report.charts import Frame, Line, Lines

_INTERVALS = 240  # of the time line, at most; none is shorter than a second


def draw(spans: Sequence[tuple[float, float]]) -> Lines | None:
    """The mean number of calls under way in each interval; None where there are no calls."""
    if not spans:
        return None
    begun, ended = (np.sort(np.array(times)) for times in zip(*spans, strict=True))
    first, last = float(begun[0]), float(ended[-1])
    count = int(min(_INTERVALS, max(last - first, 1)))
    edges = np.linspace(first, max(last, first + 1), count + 1)
    busy = np.diff(_elapsed(edges, begun) - _elapsed(edges, ended)) / np.diff(edges)
    points = [
        (round((edge - first) / 60, 3), round(float(mean), 2)) for edge, mean in zip(edges[1:], busy, strict=True)
    ]
    desc = (f"Mean number of calls under way over {(last - first) / 60:.1f} minutes, {len(spans):,} calls in all; "
            f"at most {busy.max():.1f}, on average {busy.mean():.1f}.")  # fmt: skip
    frame = Frame("Calls under way", desc, "minutes since the first call", "calls")
    return Lines(frame, [Line("calls under way", "accent", points)])


def _elapsed(edges: np.ndarray, times: np.ndarray) -> np.ndarray:
    """At each edge, the seconds that have passed since every earlier time, summed over these times."""
    earlier = np.searchsorted(times, edges, side="right")
    sums = np.concatenate([[0.0], np.cumsum(times - times[0])])
    return earlier * (edges - times[0]) - sums[earlier]
