"""Tests repeats among documents: their groups, and the one of each group that is kept."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.repeats import _HASHES, CONFIG, REASONS, Signature, find_repeats

NO_PAIRS = numpy.empty((0, 2), numpy.int64)


def repeats_of(documents, near=NO_PAIRS):
    """Find repeats among `documents`, each (id, text) as numbers."""
    repeats = find_repeats(numpy.array(documents, _HASHES), numpy.array(near, numpy.int64).reshape(-1, 2))
    return {number: REASONS[reason] for number, reason in repeats.tolist()}


@pytest.mark.parametrize(
    ("documents", "near", "expected"),
    [
        ([], [], {}),
        ([(1, 1), (2, 2)], [], {}),
        ([(1, 1), (1, 2)], [], {1: "duplicate id"}),
        ([(1, 1), (2, 1), (3, 1)], [], {1: "duplicate text", 2: "duplicate text"}),
        ([(1, 1), (1, 1)], [], {1: "duplicate id"}),
        ([(1, 1), (2, 2)], [(0, 1)], {1: "near-duplicate text"}),
        ([(1, 1), (2, 2), (2, 3)], [(0, 2)], {1: "duplicate id", 2: "duplicate id"}),  # tied through the third
    ],
)
def test_the_first_of_what_is_tied_stays(documents, near, expected):
    assert repeats_of(documents, near) == expected


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_what_stays_is_all_different_and_nothing_is_lost_without_a_tie(documents):
    gone = repeats_of(documents)
    kept = [d for number, d in enumerate(documents) if number not in gone]
    assert len({i for i, _ in kept}) == len({t for _, t in kept}) == len(kept)
    for number in gone:  # each is tied to something that came before or after it
        others = documents[:number] + documents[number + 1 :]
        assert any(documents[number][0] == i or documents[number][1] == t for i, t in others)


WORDS = [f"word{n}" for n in range(6_000)]


@pytest.mark.parametrize("length", [400, 6_000])  # all shingles, and a sample of them
def test_near_duplicates_share_a_bucket_and_others_do_not(tmp_path, length):
    signature = Signature(tmp_path)
    text = WORDS[:length]

    def buckets(words):
        return signature.get_signature(signature.get_shingles(" ".join(words)))

    def matches(left, right):
        return sum(a == b for a, b in zip(buckets(left), buckets(right), strict=True))

    changed = [w.upper() if i % 3 else w for i, w in enumerate(text)]
    edited = [*text[: length // 2], "inserted", *text[length // 2 :]]
    half = [*text[: length // 2], *reversed(text[length // 2 :])]
    assert matches(text, changed) == CONFIG.num_buckets  # case does not count
    assert matches(text, edited) >= 1
    assert matches(text, half) == 0
    assert matches(text, text[::-1]) == 0


def test_a_text_of_few_words_has_no_shingles(tmp_path):
    signature = Signature(tmp_path)
    assert [len(signature.get_shingles(" ".join(WORDS[:n]))) for n in (0, 4, 5, 6)] == [0, 0, 1, 2]
