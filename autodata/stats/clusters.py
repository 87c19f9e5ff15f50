"""Groups items that are connected through chains of pairs."""

from collections.abc import Sequence

import numpy


def label_clusters(count: int, pairs: Sequence[tuple[int, int]] | numpy.ndarray) -> numpy.ndarray:
    """Label the items 0 to `count` - 1: items that a chain of pairs connects get the same number."""
    from scipy.sparse import coo_array  # slow to import
    from scipy.sparse.csgraph import connected_components

    first, second = numpy.asarray(pairs, dtype=numpy.int64).reshape(-1, 2).T
    graph = coo_array((numpy.ones(len(first), bool), (first, second)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
