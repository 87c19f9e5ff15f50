"""Texts grouped by what they are about: k-means over hashed TF-IDF, with the words that tell a group from the rest."""

import math
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy

from autodata.duplicates import split_words

_BUCKETS = 1024  # words share them by hash: no vocabulary to keep, and memory bounded
_RESTARTS = 5
_SHORTEST_WORD = 4
# English words of four letters and more that name no topic.
_FUNCTION_WORDS = frozenset(split_words("""
    about above after again against also although among another because been before being below between both
    could does doing down during each either even every from have having here hers himself into itself just
    less many might more most much must neither only other ought ours over same shall should since some such
    than that their theirs them then there these they this those through thus under until upon very were what
    when where whether which while whom whose will with within without would your yours
"""))  # fmt: skip
_COMMON = 0.5  # a word of more than half the texts tells nothing
_FEWEST, _MOST = 2, 20


def group(texts: Sequence[str], count: int) -> list[int]:
    """The group of each text, from 0 and without gaps, the largest first; the same for the same texts."""
    vectors = _weigh([_words(text) for text in texts])
    distinct, same = numpy.unique(vectors, axis=0, return_inverse=True)
    labels = same if len(distinct) <= count else _find_clusters(vectors, count)
    return _renumber([int(label) for label in labels])


def _find_clusters(vectors: numpy.ndarray, count: int) -> numpy.ndarray:
    """The best of a few starts."""
    from scipy.cluster.vq import kmeans2  # slow to import, needed here only

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of groups that got nothing; there may be fewer
        tried = [kmeans2(vectors, count, iter=50, minit="++", rng=seed) for seed in range(_RESTARTS)]
    return min(tried, key=lambda found: float(((vectors - found[0][found[1]]) ** 2).sum()))[1]


def choose_count(documents: int) -> int:
    """How many topics to look for: few documents cannot show many."""
    return max(_FEWEST, min(_MOST, round(math.sqrt(documents))))


def find_terms(
    texts: Sequence[str], documents: Sequence[str], groups: Sequence[int], at_least: int
) -> list[list[str]]:
    """Per group its telling words, the best first. Only words that texts of `at_least` documents of it have.

    So nothing that stands in one document alone, planted or not, is ever named.
    """
    words = [set(_words(text)) for text in texts]
    overall = Counter(word for own in words for word in own)
    terms = []
    for number in range(max(groups, default=-1) + 1):
        members = [i for i, of in enumerate(groups) if of == number]
        inside = Counter(word for i in members for word in words[i])
        owners = {word: len({documents[i] for i in members if word in words[i]}) for word in inside}
        scores = {word: _tell(n / len(members), overall[word] / len(texts)) for word, n in inside.items()
                  if owners[word] >= at_least}  # fmt: skip
        terms.append(sorted((w for w, score in scores.items() if score > 0), key=lambda w: (-scores[w], w)))
    return terms


def effective(counts: Sequence[float]) -> float:
    """How many equally filled groups have the same entropy; 0 for none at all."""
    total = sum(counts)
    shares = [count / total for count in counts if count] if total else []
    return math.exp(-sum(p * math.log(p) for p in shares)) if shares else 0.0


def _words(text: str) -> list[str]:
    return [word for word in split_words(text) if _may_name(word)]


def _may_name(word: str) -> bool:
    return len(word) >= _SHORTEST_WORD and word.isalpha() and word not in _FUNCTION_WORDS


def _weigh(texts: Sequence[Sequence[str]]) -> numpy.ndarray:
    """One unit vector per text: tf, damped, times idf; a text without words is zero."""
    found = Counter(word for words in texts for word in set(words))
    idf = {word: math.log(len(texts) / n) for word, n in found.items() if n <= _COMMON * len(texts)}
    vectors = numpy.zeros((len(texts), _BUCKETS))
    for row, words in enumerate(texts):
        for word, n in Counter(words).items():
            vectors[row, zlib.crc32(word.encode()) % _BUCKETS] += (1 + math.log(n)) * idf.get(word, 0.0)
    norms = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / numpy.where(norms > 0, norms, 1.0)


def _tell(inside: float, overall: float) -> float:
    return inside * math.log(inside / overall)


def _renumber(labels: Sequence[int]) -> list[int]:
    order = {label: number for number, (label, _) in enumerate(Counter(labels).most_common())}
    return [order[label] for label in labels]
