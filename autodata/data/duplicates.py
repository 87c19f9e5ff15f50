"""Finds near-duplicate questions, and the clusters of documents that they connect."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from operator import itemgetter

from autodata.stats.clusters import label_clusters

NGRAM = 5
_PERMUTATIONS = 128
# Weights of false positives and false negatives: candidates from the index are compared exactly, missed ones are lost.
_WEIGHTS = (0.1, 0.9)
_INDEX_AT_MOST = 0.9  # the index cannot use a higher threshold, the exact comparison can
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
Gram = tuple[str, ...]


def split_words(text: str) -> list[str]:
    """Return the words and numbers of a text in lower case, without diacritics and punctuation."""
    plain = text.casefold()
    if not plain.isascii():  # most texts are ASCII and skip this slow step
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return _WORD.findall(plain)


def grams(words: Sequence[str], size: int) -> Iterator[Gram]:
    """Yield all n-grams of `size` words, in order."""
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


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
    return set(grams(words, NGRAM)) or {tuple(words) or (text.strip(),)}
