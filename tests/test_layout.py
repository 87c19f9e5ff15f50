"""Tests that what printing did to a text is undone: divided words, running heads, page numbers."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import pile_of_law
from autodata.corpora.text.layout import HEADS, WORDS, join_divided_words, mend
from autodata.corpora.text.pages import drop_running_heads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the fac-\ntors of it", "the factors of it"),
        ("the fac-\n   tors", "the factors"),
        ("the fac‐\ntors", "the factors"),
        ("a well-\nknown fact; it is well-known", "a well-known fact; it is well-known"),
        ("long-\nterm, because long and term are words", "long-term, because long and term are words"),
        ("COVID-\n19 is COVID-19", "COVID-19 is COVID-19"),
        (f"{'word ' * 9}Smith-\nJones", f"{'word ' * 9}Smith-Jones"),
        ("state-of-the-\nart", "state-of-the-art"),
        ("FAC-\nTORS", "FACTORS"),
        # Without another place in the text that shows it.
        (
            "a well-\nknown fact, a long-\nterm plan of high-\nquality",
            "a well-known fact, a long-term plan of high-quality",
        ),
        ("short-\nages, well-\nness, second-\nary, high-\nlights", "shortages, wellness, secondary, highlights"),
        (
            "a read-\nonly file, newly-\nfreed and position-\nindependent",
            "a read-only file, newly-freed and position-independent",
        ),
        (
            "cor-\nrelated, un-\nrelated, in-\ndependent, poly-\nmerized",
            "correlated, unrelated, independent, polymerized",
        ),
        (
            "uncor-\nrelated, autocor-\nrelated, inter-\nrelated, hyper-\nsensitive, di-\nagnostic, copoly-\nmerized",
            "uncorrelated, autocorrelated, interrelated, hypersensitive, diagnostic, copolymerized",
        ),
        (
            "long-\nitude, long-\nevity, six-\nties, real-\nlocated, real-\nisation, life-\nstyle, geo-\ncentric",
            "longitude, longevity, sixties, reallocated, realisation, lifestyle, geocentric",
        ),
        (
            "age-\nrelated, AI-\ndriven, two-\ndimensional, self-\nevident, third-\nparty, cost-\nsensitive",
            "age-related, AI-driven, two-dimensional, self-evident, third-party, cost-sensitive",
        ),
        ("self-\nishness, self-\nless, Well-\nington", "selfishness, selfless, Wellington"),
        ("https://example.org/long-\npath, see foo-\nbar.py", "https://example.org/long-path, see foo-bar.py"),
        ("run it with --long-\noption or my_file-\nname", "run it with --long-option or my_file-name"),
        ("infor-\nmation-theoretic, national/inter-\nnational", "information-theoretic, national/international"),
        # Inside a line, and before a blank line: only if the text has the word elsewhere.
        ("the fac- tors are factors", "the factors are factors"),
        ("a well- known fact; it is well-known", "a well-known fact; it is well-known"),
        ("at the end be-\n\ncause of it, because", "at the end because of it, because"),
        # Or if the layout divides words there.
        (
            "fac- tors no- tice sta- tute deter- mine factors notice statute",
            "factors notice statute determine factors notice statute",
        ),
        ("fac- tors no- tice deter- mine factors notice", "factors notice deter- mine factors notice"),
        # What stays as it is.
        ("the fac- tors", "the fac- tors"),
        ("pre- and post-test, ein- oder zweimal", "pre- and post-test, ein- oder zweimal"),
        ("short- as well as long, one- versus two-sided", "short- as well as long, one- versus two-sided"),
        ("low- rather than high, voor- en nadelen", "low- rather than high, voor- en nadelen"),
        ("short-\nas well as long, one-\nVersus", "short-\nas well as long, one-\nVersus"),
        ("say what you like of it- nothing helps", "say what you like of it- nothing helps"),
        ("Ingredients-\n1 cup", "Ingredients-\n1 cup"),
        ("Ingredients-\nFlour", "Ingredients-\nFlour"),
        ("Ingredients-\n\nflour", "Ingredients-\n\nflour"),
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


def write_pages(count: int) -> tuple[str, str]:
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
    return "\f".join(pages), "\n".join(bodies)


def test_running_heads_go_and_the_sentence_goes_on():
    text, expected = write_pages(8)
    mended, changes = mend(text)
    assert mended.split() == expected.split()
    assert changes == {HEADS: 16}
    assert "\n\n" not in mended.strip()  # a page that ends inside a sentence is no paragraph
    assert pile_of_law.clean(text)[0] == " ".join(expected.split())


def test_two_pages_have_no_head_in_common_and_three_do():
    pages = ["Title 1\nfirst", "Title 2\nsecond", "Title 3\nthird"]
    assert drop_running_heads(pages[:2]) == (pages[:2], 0)
    assert drop_running_heads(pages) == (["first", "second", "third"], 3)
    assert drop_running_heads(["Title\nfirst", "Title\nsecond", "Title\nthird"])[1] == 3


def test_heads_of_chapters_are_known_by_the_page_number():
    heads = [
        "4",
        "Chapter 2: Caches 5",
        "Chapter 2: Caches 6",
        "7",
        "Chapter 3: Wear 8",
        "Chapter 3: Wear 9",
        "Ends 10",
    ]
    pages = [f"{head}\nbody {'x' * n}" for n, head in enumerate(heads)]
    kept, count = drop_running_heads(pages)
    assert kept == [*(f"body {'x' * n}" for n in range(6)), pages[6]]  # a head on one page only may be text
    assert count == 6
    few = [*pages[1:3], *(f"body {'y' * n}" for n in range(3))]  # too few pages have a number
    assert drop_running_heads(few) == (few, 0)
    parts = [f"{n} {name}\nbody {'x' * n}" for n, name in enumerate(["Aims", "Methods", "Results", "Ends"], 1)]
    assert drop_running_heads(parts) == (parts, 0)


@pytest.mark.parametrize("numbers", [["- i -", "- ii -", "- iii -", "- iv -"], ["9", "10", "11"], ["iv", "v", "vi"]])
def test_page_numbers_in_any_form_go(numbers):
    pages = [f"{'abcd'[place]}\n{number}" for place, number in enumerate(numbers)]
    assert drop_running_heads(pages) == (list("abcd")[: len(numbers)], len(numbers))


@pytest.mark.parametrize(
    "lines",
    [
        ["Total: 1500 EUR", "Total: 2700 EUR"],
        ["Total: 1500 EUR", "Total: 2700 EUR", "Total: 3900 EUR"],  # no number that counts up by one
        ["Revenue in 2018", "Revenue in 2020", "Revenue in 2022"],
        ["Revenue in 2020", "Revenue in 2021", "Revenue in 2022"],
        ["2020 in review", "2021 in review", "2022 in review"],
        ["# Report", "# Report", "# Report"],
        ["## Step 1", "## Step 2", "## Step 3"],
        ["Chapter 1", "Chapter 2", "Chapter 3"],  # each part of a text can have a page
        ["1. Name", "2. Name", "3. Name"],
        ["---", "---", "---"],
        ["same", "same", "same", "x", "y", "z"],  # half of the pages
    ],
)
def test_the_ends_of_pages_that_are_no_running_heads_stay(lines):
    for pages in ([f"{line}\nbody {'x' * n}" for n, line in enumerate(lines)],
                  [f"body {'x' * n}\n{line}" for n, line in enumerate(lines)]):  # fmt: skip
        assert drop_running_heads(pages) == (pages, 0)


def test_a_line_inside_a_page_is_no_running_head():
    pages = [f"page {'x' * n}\nthe same line\nend {'y' * n}" for n in range(1, 5)]
    assert drop_running_heads(pages) == (pages, 0)


@pytest.mark.parametrize(
    "text",
    [
        "Total 12\nTotal 13\nTotal 14\nTotal 15",  # a table
        "\n".join(f"{n} Chapter of the book" for n in range(1, 9)),  # a list
        "One paragraph.\n\nAnother.\n\n2019 was a good year",
        *(
            "\n".join(f"{heading} {n}\n\n{'It says much. ' * 60}\n" for n in range(1, 6))
            for heading in ("Chapter", "## Step", "Article", "### Week", "Revenue in 201")
        ),
    ],
)
def test_a_text_without_pages_stays_as_it_is(text):
    assert mend(text) == (text, {})


@given(st.text(alphabet="ab-\n\f 12.", max_size=200))
def test_any_text_can_be_mended(text):
    mended, changes = mend(text)
    assert set(changes) <= {HEADS, WORDS}
    assert len(mended) <= len(text) + text.count("\f")
