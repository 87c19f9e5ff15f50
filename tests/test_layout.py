"""Tests that what printing did to a text is undone: divided words, running heads, page numbers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import pile_of_law
from autodata.corpora.text.layout import HEADS, WORDS, drop_running_heads, join_divided_words, mend


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the fac-\ntors of it", "the factors of it"),
        ("the fac-\n   tors", "the factors"),
        ("the fac- tors", "the factors"),
        ("the fac‐\ntors", "the factors"),
        ("at the end be-\n\ncause of", "at the end because of"),
        ("a well-\nknown fact; it is well-known", "a well-known fact; it is well-known"),
        ("long-\nterm, because long and term are words", "long-term, because long and term are words"),
        ("Smith-\nJones and COVID-\n19 in 2019-\n2020", "Smith-Jones and COVID-19 in 2019-2020"),
        ("state-of-the-\nart", "state-of-the-art"),
        ("FAC-\nTORS", "FACTORS"),
        # What stays as it is.
        ("pre- and post-test, ein- oder zweimal", "pre- and post-test, ein- oder zweimal"),
        ("the man- who came; a man, who left", "the man- who came; a man, who left"),
        ("- one\n- two\n---\nrule", "- one\n- two\n---\nrule"),
        ("x -\ny and a-\nb", "x -\ny and a-\nb"),
        ("Smith- Jones", "Smith- Jones"),
    ],
)
def test_words_divided_at_the_end_of_a_line_are_joined(text, expected):
    joined, count = join_divided_words(text)
    assert joined == expected
    assert (count > 0) == (text != expected)


def write_pages(count: int, *, form_feeds: bool) -> tuple[str, str]:
    """Write an opinion with running heads as the Supreme Court prints them; also return it without them."""
    chance, pages, bodies = random.Random(5), [], []
    words = [
        "court",
        "held",
        "that",
        "the",
        "statute",
        "requires",
        "notice",
        "because",
        "evidence",
        "was",
        "therefore",
    ]
    for number in range(1, count + 1):
        lines = [" ".join(chance.choices(words, k=10)) for _ in range(20)]
        body = "\n".join([f"page{'x' * number} began", *lines, f"and so page {'y' * number} goes on with the"])
        head = f"Cite as: 558 U. S. 310 (2010)      {number}" if number % 2 else f"{number}      SMITH v. JONES"
        pages.append(f"{head}\n\nOpinion of the Court\n\n{body}\n")
        bodies.append(body)
    return ("\f" if form_feeds else "\n").join(pages), "\n".join(bodies)


@pytest.mark.parametrize("form_feeds", [True, False])
def test_running_heads_go_and_the_sentence_goes_on(form_feeds):
    text, expected = write_pages(8, form_feeds=form_feeds)
    mended, changes = mend(text)
    assert mended.split() == expected.split()
    assert changes == {HEADS: 16}
    assert "\n\n" not in mended.strip()  # a page that ends inside a sentence is no paragraph
    assert pile_of_law.clean(text)[0] == " ".join(expected.split())


def test_two_pages_have_a_head_in_common_only_if_it_counts_them():
    pages = ["Title 1\nfirst", "Title 2\nsecond"]
    assert drop_running_heads(pages) == (["first", "second"], 2)
    same = ["Title\nfirst", "Title\nsecond"]
    assert drop_running_heads(same) == (same, 0)
    assert drop_running_heads([*same, "Title\nthird"]) == (["first", "second", "third"], 3)


def test_page_numbers_in_any_form_go():
    pages = ["one\n- i -", "two\n- ii -", "three\n- iii -"]
    assert drop_running_heads(pages) == (["one", "two", "three"], 3)


@pytest.mark.parametrize(
    "text",
    [
        "Total 12\nTotal 13\nTotal 14\nTotal 15",  # a table
        "\n".join(f"{n} Chapter of the book" for n in range(1, 9)),  # a list
        "One paragraph.\n\nAnother.\n\n2019 was a good year",
    ],
)
def test_a_text_without_pages_stays_as_it_is(text):
    assert mend(text) == (text, {})


@given(st.text(alphabet="ab-\n\f 12.", max_size=200))
def test_any_text_can_be_mended(text):
    mended, changes = mend(text)
    assert set(changes) <= {HEADS, WORDS}
    assert len(mended) <= len(text) + text.count("\f")
