"""Accepted prompt sets by iteration and pass rate, lines from parent to child; templates/meta.j2 draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

from autodata.report.charts import BOTTOM, LEFT, RIGHT, TOP
from autodata.report.scale import Scale
from autodata.stats.intervals import Estimate


@dataclass(frozen=True)
class Node:
    """A member of the population, and everything that is told of it."""

    id: int  # the iteration that made it; 0 is the baseline
    parent: int | None
    rate: float | None  # running average on validation documents
    tried: int
    is_of_best: bool  # the best one or an ancestor of it
    hypothesis: str
    analysis: str
    diff: str
    tokens: int
    ahead: Estimate | None  # of its parent, when it was accepted

    @property
    def name(self) -> str:
        return "baseline" if self.id == 0 else f"member {self.id}"


@dataclass(frozen=True)
class Lineage:
    """All members; those without a measured rate are not drawn."""

    nodes: Sequence[Node]

    @property
    def drawn(self) -> list[Node]:
        """The best line last, so that it lies on top."""
        return sorted((n for n in self.nodes if n.rate is not None), key=lambda node: node.is_of_best)

    @property
    def edges(self) -> list[tuple[Node, Node]]:
        known = {node.id: node for node in self.drawn}
        return [(known[node.parent], node) for node in self.drawn if node.parent is not None and node.parent in known]

    @property
    def x(self) -> Scale:
        return Scale(0, max([1, *(node.id for node in self.nodes)]), LEFT + 12, RIGHT - 12, is_count=True)

    @property
    def y(self) -> Scale:
        return Scale(0, 1, BOTTOM, TOP)
