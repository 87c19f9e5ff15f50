"""Finds repeated documents: the same id, the same text, or nearly the same text as an earlier one."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.hashing import HashConfig
from datatrove.utils.word_tokenizers import WhitespaceTokenizer

from autodata.corpora.text.checksums import checksum_words
from autodata.corpora.text.words import NGRAM_OF_CHARACTERS, is_spaceless, split_quickly
from autodata.stats.clusters import label_clusters

REASONS = ("duplicate id", "duplicate id with another text", "duplicate text", "near-duplicate text")
CONFIG = MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))  # 14 buckets of 8 hashes: similarity about 0.72
_HASHES = numpy.dtype([("id", "<u8"), ("text", "<u8")])
_MIX = numpy.uint64(0x9E3779B97F4A7C15)
_ONE_IN_EIGHT = numpy.uint64(7)  # the bits that are zero in the shingles that a long text uses
_LONG = 1_000  # shingles; a text with more is sampled


def save_hashes(folder: Path, documents: Iterable[Document], rank: int, _tasks: int) -> Iterator[Document]:
    """Pass the documents on, and write the hashes of their ids and texts, in one file per task."""
    hashes = []
    for document in documents:
        hashes.append((_hash(document.id), _hash(document.text)))
        yield document
    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / f"{rank:05d}.npy", numpy.array(hashes, _HASHES))


class Signature(MinhashDedupSignature):
    """Writes datatrove's MinHash signatures, from shingles that are made fifteen times as fast.

    For a long text one shingle in eight is used, chosen by its hash, so that near-duplicates choose the same ones.
    """

    def __init__(self, folder: Path):
        # This tokenizer is never called; the default one would need spaCy.
        super().__init__(str(folder), CONFIG, language=WhitespaceTokenizer())

    def get_shingles(self, text: str) -> numpy.ndarray:
        """Return hashes of the word 5-grams of a text: uint64, shape (n, 1); n is 0 below five words.

        In a script without spaces they are 3-grams of characters.
        """
        words = split_quickly(text)
        first = [] if text.isascii() else words.split(maxsplit=_LONG)[:_LONG]
        is_without_spaces = is_spaceless([word.decode() for word in first])
        size = NGRAM_OF_CHARACTERS if is_without_spaces else CONFIG.n_grams
        hashes = checksum_words(words)
        count = len(hashes) - size + 1
        if count < 1:
            return numpy.empty((0, 1), numpy.uint64)
        mixed = hashes[:count].copy()
        for i in range(1, size):
            mixed = mixed * _MIX + hashes[i : i + count]
        mixed = (mixed ^ (mixed >> numpy.uint64(29))) * _MIX
        mixed ^= mixed >> numpy.uint64(32)
        sample = mixed[mixed & _ONE_IN_EIGHT == 0] if count > _LONG else mixed
        return numpy.unique(sample).reshape(-1, 1)


def choose(work: Path, tasks: int, *_: object) -> None:
    """Keep the first document of each set of repeats, and write the numbers of the others for every task."""
    hashes = [numpy.load(work / "hashes" / f"{task:05d}.npy") for task in range(tasks)]
    starts = numpy.cumsum([0, *map(len, hashes)])
    # Near-duplicates that each bucket found: task, number, task, number.
    buckets = [numpy.fromfile(file, "<u4").reshape(-1, 4) for file in sorted((work / "pairs").glob("*.dups"))]
    near = [starts[pairs[:, ::2]] + pairs[:, 1::2] for pairs in buckets]
    repeats = find_repeats(numpy.concatenate(hashes), near)
    folder = work / "repeats"
    folder.mkdir(parents=True, exist_ok=True)
    for task, (start, end) in enumerate(pairwise(starts)):
        task_repeats = repeats[(repeats[:, 0] >= start) & (repeats[:, 0] < end)]
        numpy.save(folder / f"{task:05d}.npy", task_repeats - [start, 0])


def find_repeats(hashes: numpy.ndarray, buckets: Sequence[numpy.ndarray]) -> numpy.ndarray:
    """Return the documents that repeat an earlier one that is kept, ascending, each with the index of its reason.

    A document is compared only with documents that are kept, so that no text is lost because of a text that is lost
    itself. The shape is (n, 2). Each bucket holds pairs of documents with the same signature, shape (n, 2).
    """
    links = [_link_equals(hashes["id"]), _link_equals(hashes["text"]), *buckets]
    tied = numpy.unique(numpy.concatenate([pairs.ravel() for pairs in links])).astype(numpy.int64)
    labels = [label_clusters(len(tied), numpy.searchsorted(tied, pairs)) for pairs in links]
    firsts: list[dict[int, int]] = [{} for _ in links]  # label → text of the document that is kept, per kind of link
    repeats = []
    for row, groups in zip(tied.tolist(), numpy.stack(labels, axis=1).tolist(), strict=True):
        shared = next((kind for kind, label in enumerate(groups) if label in firsts[kind]), None)
        if shared is None:
            for kind, label in enumerate(groups):
                firsts[kind][label] = groups[1]
        else:
            has_same_text = firsts[shared][groups[shared]] == groups[1]
            repeats.append((row, _find_reason(shared, has_same_text)))
    return numpy.array(repeats, numpy.int64).reshape(-1, 2)


def _find_reason(shared: int, has_same_text: bool) -> int:
    """Return the index in `REASONS` for a kind of link to a kept document: 0 id, 1 text, from 2 on a bucket."""
    return (0 if has_same_text else 1) if shared == 0 else min(shared + 1, 3)


def _link_equals(values: numpy.ndarray) -> numpy.ndarray:
    """Link each place of a value to the next place of the same value. Shape (n, 2)."""
    order = numpy.argsort(values, kind="stable")
    is_equal = values[order][1:] == values[order][:-1]
    return numpy.stack([order[:-1][is_equal], order[1:][is_equal]], axis=1)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
