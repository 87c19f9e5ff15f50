"""Questions that say nearly the same: which of them, and which documents they tie together."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from autodata.stats.clusters import label_clusters

NGRAM = 5
_PERMUTATIONS = 128
# Look wide: what the index finds is compared exactly, what it misses is lost.
_WEIGHTS = (0.1, 0.9)
_INDEX_AT_MOST = 0.9  # the index cannot look for more, the exact comparison can
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
Gram = tuple[str, ...]


def split_words(text: str) -> list[str]:
    """The words and numbers of a text in lower case, without diacritics and punctuation."""
    plain = text.casefold()
    if not plain.isascii():  # most texts are, and need no look at each character
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    return _WORD.findall(plain)


def grams(words: Sequence[str], size: int) -> Iterator[Gram]:
    """Every run of `size` words, in order."""
    return (tuple(words[i : i + size]) for i in range(len(words) - size + 1))


def find_pairs(questions: Mapping[str, str], threshold: float) -> list[tuple[str, str]]:
    """The near-duplicates among questions by id, as ordered pairs in the order of ids."""
    from datasketch import MinHash, MinHashLSH  # slow to import, needed here only

    index = MinHashLSH(threshold=min(threshold, _INDEX_AT_MOST), num_perm=_PERMUTATIONS, weights=_WEIGHTS)
    shingles, pairs = {key: _shingles(text) for key, text in sorted(questions.items())}, []
    for key, own in shingles.items():
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch([" ".join(s).encode() for s in sorted(own)])
        pairs += [(str(other), key) for other in sorted(index.query(sketch), key=str)
                  if similarity(shingles[str(other)], own) >= threshold]  # fmt: skip
        index.insert(key, sketch)
    return pairs


def similarity(left: Set[Gram], right: Set[Gram]) -> float:
    """Jaccard's: shared over all."""
    return len(left & right) / len(left | right)


def choose_repeats(ids: Iterable[str], pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Which ids to drop so that no pair is left: those that resemble an earlier one that is kept."""
    earlier: dict[str, list[str]] = {}
    for first, second in pairs:
        earlier.setdefault(second, []).append(first)
    kept: set[str] = set()
    for key in sorted(ids):
        if not kept.intersection(earlier.get(key, ())):
            kept.add(key)
    return set(ids) - kept


def find_clusters(items: Iterable[str], pairs: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The items that any chain of pairs connects, each cluster and all clusters in order."""
    names = sorted(set(items))
    numbers = {name: number for number, name in enumerate(names)}
    clusters: dict[int, list[str]] = defaultdict(list)
    labels = label_clusters(len(names), [(numbers[left], numbers[right]) for left, right in pairs])
    for name, label in zip(names, labels.tolist(), strict=True):
        clusters[label].append(name)
    return [tuple(cluster) for cluster in clusters.values()]


def _shingles(text: str) -> set[Gram]:
    """A text shorter than an n-gram is one shingle, one without words is itself."""
    words = split_words(text)
    return set(grams(words, NGRAM)) or {tuple(words) or (text.strip(),)}
