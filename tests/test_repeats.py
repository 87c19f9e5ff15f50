"""Tests repeats among documents: their groups, and the one of each group that is kept."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.repeats import _HASHES, CONFIG, REASONS, Signature, find_repeats
from autodata.stats.clusters import label_clusters


def repeats_of(documents, *buckets):
    """Find repeats among `documents`, each (id, text) as numbers; a bucket is a list of pairs."""
    pairs = [numpy.array(bucket, numpy.int64).reshape(-1, 2) for bucket in buckets]
    repeats = find_repeats(numpy.array(documents, _HASHES), pairs)
    return {number: REASONS[reason] for number, reason in repeats.tolist()}


@pytest.mark.parametrize(
    ("documents", "buckets", "expected"),
    [
        ([], [], {}),
        ([(1, 1), (2, 2)], [], {}),
        ([(1, 1), (1, 2)], [], {1: "duplicate id with another text"}),
        ([(1, 1), (2, 1), (3, 1)], [], {1: "duplicate text", 2: "duplicate text"}),
        ([(1, 1), (1, 1)], [], {1: "duplicate id"}),
        ([(1, 1), (2, 2)], [[(0, 1)]], {1: "near-duplicate text"}),
        ([(1, 1), (2, 2), (3, 3)], [[(0, 1), (1, 2)]], {1: "near-duplicate text", 2: "near-duplicate text"}),
        # The text of a dropped row is kept where it comes next, and nothing is dropped because of the dropped row.
        ([(1, 1), (2, 2), (1, 3), (7, 3)], [], {2: "duplicate id with another text"}),
        ([(1, 1), (2, 1), (2, 2)], [], {1: "duplicate text"}),
        ([(1, 1), (1, 2), (3, 3)], [[(1, 2)]], {1: "duplicate id with another text"}),
        ([(1, 1), (2, 2), (3, 3)], [[(0, 1)], [(1, 2)]], {1: "near-duplicate text"}),
        # All documents of a bucket have the same signature, also where the bucket names only neighbours.
        (
            [(1, 1), (9, 9), (9, 2), (3, 3)],
            [[(0, 2), (2, 3)]],
            {2: "duplicate id with another text", 3: "near-duplicate text"},
        ),
    ],
)
def test_the_first_of_what_is_tied_stays(documents, buckets, expected):
    assert repeats_of(documents, *buckets) == expected


NUMBERS = st.integers(0, 5)
PAIRS = st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=8)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30), st.lists(PAIRS, max_size=3))
def test_what_stays_is_all_different_and_nothing_is_lost_without_a_tie_to_it(documents, buckets):
    pairs = [[pair for pair in bucket if max(pair) < len(documents)] for bucket in buckets]
    labels = [label_clusters(len(documents), bucket).tolist() for bucket in pairs]
    dropped = repeats_of(documents, *pairs)
    kept = [number for number in range(len(documents)) if number not in dropped]
    for place in (0, 1):
        assert len({documents[number][place] for number in kept}) == len(kept)
    assert all(len({groups[number] for number in kept}) == len(kept) for groups in labels)
    for number in dropped:  # each is tied to an earlier document that stays
        assert any(
            earlier < number
            and (
                documents[earlier][0] == documents[number][0]
                or documents[earlier][1] == documents[number][1]
                or any(groups[earlier] == groups[number] for groups in labels)
            )
            for earlier in kept
        )


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


def test_chinese_texts_that_differ_in_one_character_share_a_bucket(tmp_path):
    signature = Signature(tmp_path)
    text = "".join(chr(0x4E00 + (n * 37) % 2_000) for n in range(120))

    def buckets(text):
        return signature.get_signature(signature.get_shingles(text))

    changed = f"{text[:60]}变{text[61:]}"
    assert any(a == b for a, b in zip(buckets(text), buckets(changed), strict=True))
    assert not any(a == b for a, b in zip(buckets(text), buckets(text[::-1]), strict=True))


def test_punctuation_and_divided_words_make_no_difference(tmp_path):
    signature = Signature(tmp_path)
    shingles = [
        signature.get_shingles(text).tolist()
        for text in ("The court held: the factors, of the statute!", "the court “held” the fac-\ntors of the statute")
    ]
    assert shingles[0] == shingles[1]
