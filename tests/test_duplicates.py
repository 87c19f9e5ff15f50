"""Tests near-duplicates among questions: their threshold, the one that is kept, and the clusters."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.text.words import is_spaceless, split_quickly, split_words
from autodata.data.duplicates import choose_repeats, find_clusters, find_pairs

WORDS = [f"{a}{b}" for a in string.ascii_lowercase for b in string.ascii_lowercase]


def test_words_are_compared_without_case_accents_and_punctuation():
    assert split_words("Café—Über 3.14, x_1 and 1,000!") == ["cafe", "uber", "3.14", "x", "1", "and", "1,000"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("缓存的成本，在于写入。", list("缓存的成本在于写入")),
        ("キャッシュのコスト", list("キャッシュのコスト")),
        ("GPU 的成本是 3.5 倍", ["gpu", *"的成本是", "3.5", "倍"]),
        ("캐시의 비용은", ["캐시의", "비용은"]),  # Korean has spaces
        ("fac-\ntors of a sta-  tute", ["factors", "of", "a", "statute"]),
        ("pre- and post-test", ["pre", "and", "post", "test"]),
        ("ｆｕｌｌ　ｗｉｄｔｈ, ﬁne, co\u200bde", ["full", "width", "fine", "code"]),
        ("हिन्दी", ["हनद"]),  # one word, its vowel signs left out
    ],
)
def test_a_script_without_spaces_is_compared_by_characters(text, words):
    assert split_words(text) == [
        unicodedata.normalize("NFKD", word) if ord(word[0]) >= 0xAC00 else word for word in words
    ]


def test_corpora_are_split_into_the_same_words():
    text = "Café—Über, x_1 (and) “the fac-\ntors”: 缓存的成本。 naïve"
    assert split_quickly(text).decode().split() == split_words(text)


def test_which_texts_have_a_script_without_spaces():
    assert is_spaceless(split_words("缓存的成本 of caches"))
    assert not is_spaceless(split_words("缓存 of caches"))
    assert not is_spaceless([])


def test_questions_in_chinese_that_differ_in_one_character_are_near_duplicates():
    question = "请说明在写入密集的负载下缓存的成本为什么主要由写入而不是读取决定并给出证明"
    other = question.replace("证", "说")
    assert find_pairs({"a": question, "b": other}, 0.8) == [("a", "b")]
    assert find_pairs({"a": question, "b": question[:20] + question[:18:-1]}, 0.8) == []


def test_questions_are_near_duplicates_from_the_threshold_on():
    # One more word at the end: of n + 1 shingles, n are shared.
    nine, eight = WORDS[:9], WORDS[:8]
    both = {"a": " ".join(nine), "b": " ".join(eight)}  # 4 of 5: exactly 0.8
    assert find_pairs(both, 0.8) == [("a", "b")]
    assert find_pairs(both, 0.81) == []
    shorter = {"a": " ".join(WORDS[:8]), "b": " ".join(WORDS[:7])}  # 3 of 4
    assert find_pairs(shorter, 0.8) == []


def test_a_threshold_of_one_finds_what_is_equal_word_for_word():
    questions = {"a": " ".join(WORDS[:30]), "b": " ".join(WORDS[:30]).upper(), "c": " ".join(WORDS[:31])}
    assert find_pairs(questions, 1.0) == [("a", "b")]


def test_short_questions_are_compared_whole():
    questions = {"a": "Why not?", "b": "why NOT", "c": "Why?", "d": "¿?", "e": "¡!", "f": "In 1901", "g": "In 1902"}
    assert find_pairs(questions, 0.8) == [("a", "b")]


def test_pairs_do_not_depend_on_the_order_of_the_questions():
    questions = {f"q{i}": " ".join(WORDS[i // 2 : i // 2 + 30]) for i in range(12)}
    pairs = find_pairs(questions, 0.8)
    assert pairs == find_pairs(dict(reversed(questions.items())), 0.8)
    assert ("q0", "q1") in pairs
    assert ("q0", "q11") not in pairs


def test_the_first_is_kept_and_what_resembles_only_a_dropped_one_too():
    assert choose_repeats([("a", "b"), ("b", "c")]) == {"b"}
    assert choose_repeats([("a", "b"), ("a", "c")]) == {"b", "c"}


ITEMS = st.sampled_from("abcdefgh")


@given(st.sets(ITEMS, min_size=1), st.lists(st.tuples(ITEMS, ITEMS)))
def test_clusters_hold_every_item_once_and_tear_no_pair(items, pairs):
    pairs = [p for p in pairs if set(p) <= items]
    clusters = find_clusters([*items, *items], pairs)  # several examples of a document repeat its name
    assert sorted(i for c in clusters for i in c) == sorted(items)
    assert all(any({left, right} <= set(c) for c in clusters) for left, right in pairs)
    kept = items - choose_repeats([tuple(sorted(p)) for p in pairs if p[0] != p[1]])
    assert not any(left in kept and right in kept for left, right in pairs if left != right)
