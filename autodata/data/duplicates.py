"""Finds near-duplicate questions, and the clusters of documents that they connect."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from operator import itemgetter

from autodata.corpora.text.words import NGRAM_OF_CHARACTERS, Gram, grams, is_spaceless, split_words
from autodata.stats.clusters import label_clusters

NGRAM = 5
_PERMUTATIONS = 128
# Weights of false positives and false negatives: candidates from the index are compared exactly, missed ones are lost.
_WEIGHTS = (0.1, 0.9)
_INDEX_AT_MOST = 0.9  # the index cannot use a higher threshold, the exact comparison can


def find_pairs(questions: Mapping[str, str], threshold: float) -> list[tuple[str, str]]:
    """Find the near-duplicates among questions (by id). Both the pairs and the ids in a pair are sorted."""
    from datasketch import MinHash, MinHashLSH  # slow to import, needed here only

    index = MinHashLSH(threshold=min(threshold, _INDEX_AT_MOST), num_perm=_PERMUTATIONS, weights=_WEIGHTS)
    shingles, pairs = {key: _shingles(text) for key, text in sorted(questions.items())}, []
    for key, ngrams in shingles.items():
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch([" ".join(s).encode() for s in sorted(ngrams)])
        pairs += [
            (str(candidate), key)
            for candidate in sorted(index.query(sketch), key=str)
            if similarity(shingles[str(candidate)], ngrams) >= threshold
        ]
        index.insert(key, sketch)
    return pairs


def similarity(left: Set[Gram], right: Set[Gram]) -> float:
    """Compute the Jaccard similarity: shared n-grams divided by all n-grams."""
    return len(left & right) / len(left | right)


def choose_repeats(pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Choose the ids to drop so that no sorted pair remains: those that resemble an earlier id that is kept."""
    dropped: set[str] = set()
    for first, second in sorted(pairs, key=itemgetter(1)):  # whether `first` is dropped has been decided
        if first not in dropped:
            dropped.add(second)
    return dropped


def find_clusters(items: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Group the items that a chain of pairs connects; each cluster and the list of clusters are sorted."""
    names = sorted(set(items))
    numbers = {name: number for number, name in enumerate(names)}
    clusters: dict[int, list[str]] = defaultdict(list)
    labels = label_clusters(len(names), [(numbers[first], numbers[second]) for first, second in pairs])
    for name, label in zip(names, labels.tolist(), strict=True):
        clusters[label].append(name)
    return [tuple(cluster) for cluster in clusters.values()]


def _shingles(text: str) -> set[Gram]:
    """Return the n-grams of a text; a shorter text is one n-gram of all its words, a text without words is itself."""
    words = split_words(text)
    size = NGRAM_OF_CHARACTERS if is_spaceless(words) else NGRAM
    return set(grams(words, size)) or {tuple(words) or (text.strip(),)}
