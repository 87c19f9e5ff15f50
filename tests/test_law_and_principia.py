"""Tests the readers of Pile of Law and of the Principia collection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora import pile_of_law, principia
from autodata.corpora.record import Drop
from autodata.corpora.text.layout import HEADS
from autodata.recipes.corpora import PileOfLawFilters, PrincipiaFilters

REASONED = "The court held that the notice was late, because the statute requires ten days. "
LAW = PileOfLawFilters(min_chars=100)


def opinion(text=REASONED * 4, **more):
    return {
        "text": text,
        "created_timestamp": "03-01-2019",
        "downloaded_timestamp": "01-01-2022",
        "url": "https://x.org/opinions/1/",
    } | more


def reason_of(parse, *arguments):
    with pytest.raises(Drop) as raised:
        parse(*arguments)
    return raised.value.reason


def test_an_opinion_with_its_fields():
    record = pile_of_law.parse(opinion(), LAW)
    assert record.text == (REASONED * 4).strip()
    assert (record.licence, record.fields["created_timestamp"]) == ("cc-by-nc-sa-4.0", "03-01-2019")
    assert record.id == pile_of_law.parse(opinion("x " + REASONED * 5), LAW).id  # the url names it
    assert record.id != pile_of_law.parse(opinion(url="https://x.org/opinions/2/"), LAW).id


@pytest.mark.parametrize(
    ("row", "filters", "reason"),
    [
        (opinion(None), LAW, "no text"),
        (opinion("  "), LAW, "no text"),
        ({}, LAW, "no text"),
        (opinion("x" * 99), LAW, "too short"),
        (opinion(), PileOfLawFilters(min_chars=1, max_chars=318), "too long"),
        (opinion("The motion is denied. It is so ordered. " * 20), LAW, "no reasoning"),
    ],
)
def test_what_is_no_opinion_is_dropped_with_a_reason(row, filters, reason):
    assert reason_of(pile_of_law.parse, row, filters) == reason


def test_lengths_on_both_sides():
    length = len((REASONED * 4).strip())
    for least, most in ((length, length), (1, length)):
        assert pile_of_law.parse(opinion(), PileOfLawFilters(min_chars=least, max_chars=most))
    assert reason_of(pile_of_law.parse, opinion(), PileOfLawFilters(min_chars=length + 1)) == "too short"
    shorter = PileOfLawFilters(min_chars=1, max_chars=length - 1)
    assert reason_of(pile_of_law.parse, opinion(), shorter) == "too long"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("<p>One <i>line</i> &amp; more.</p><p>Two.</p>", "One line & more.\n\nTwo."),
        ("if a<b and c>d, <p class='x'>a<b></p >then", "if a<b and c>d,\n\na\n\nthen"),
        ("the fac-\r\ntors of\rit\r\n\r\nTwo", "the factors of it\n\nTwo"),
        ("<style>p {color: red}</style><p>Text.</p>", "Text."),
        ("First line\nof a paragraph.\n\nNext.", "First line of a paragraph.\n\nNext."),
        ("Before.\n\nAfter.\n*34\nmore.", "Before.\n\nAfter. more."),
        ("The amount was\n1500\ndollars.", "The amount was 1500 dollars."),
        ("1\nOne.\n2\nTwo.\n3\nThree.", "1 One. 2 Two. 3 Three."),  # closer than pages are
        ("He sued Co.<sup>1</sup> and <b>Co.</b><sup>12</sup>", "He sued Co.[1] and Co.[12]"),
        ("10<sup>6</sup> on the 5<sup>th</sup>", "10^6 on the 5th"),
        ("<strong>One</strong>\n<ul><li>two</li><li>three</li></ul>", "One\n\ntwo\n\nthree"),
        ("42 U.S.C. &sect; 1983, R&D; a&b", "42 U.S.C. § 1983, R&D; a&b"),
        ("Page 3 of 9\nText.\n- 4 -\n____\nEnd.", "Text. End."),
        ("One.\fTwo.", "One.\n\nTwo."),
        ("If a < b and c > d, the rule holds.", "If a < b and c > d, the rule holds."),
        ("See § 12, at 34.\n\nIn 1999\nthe law changed.", "See § 12, at 34.\n\nIn 1999 the law changed."),
        ("AT&amp;T without tags", "AT&T without tags"),
    ],
)
def test_mark_up_and_pages_go_and_paragraphs_stay(text, cleaned):
    assert pile_of_law.clean(text)[0] == cleaned


@pytest.mark.parametrize(
    ("numbers", "removed"),
    [(("7", "8", "9"), 3), (("Page 7", "Page 8", "[9]"), 3), (("7", "8"), 0), (("7", "9", "11"), 0)],
)
def test_numbers_that_count_up_page_by_page_are_page_numbers(numbers, removed):
    page = "The notice was late. " * 20
    text, changes = pile_of_law.clean("".join(f"{page}and it\n\n{number}\n\ngoes on. " for number in numbers))
    assert changes == ({HEADS: removed} if removed else {})
    assert text.count("and it goes on.") == removed
    assert all((number in text) == (not removed) for number in numbers)


@given(st.text() | st.text(alphabet="<p>/ \n1*-abc&;"))
def test_any_text_comes_out_in_paragraphs(text):
    paragraphs = pile_of_law.clean(text)[0].split("\n\n")
    assert paragraphs == [""] or all(p == " ".join(p.split()) != "" for p in paragraphs)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("train.courtlisteneropinions.0.jsonl.xz", True),
        ("train.courtlisteneropinions.15.jsonl.xz", True),
        ("validation.courtlisteneropinions.0.jsonl.xz", False),
        ("train.tos.0.jsonl.xz", False),
        ("train.courtlisteneropinions.jsonl.xz", True),
        ("notes.txt", False),
    ],
)
def test_shards_are_chosen_by_name(name, wanted):
    assert pile_of_law.is_wanted(name, PileOfLawFilters()) is wanted


PROBLEM = {"topic": "Algebra", "problem_statement": " Find x. ", "answer": "$x^2$", "answer_type": "expression"}


def test_a_problem_with_its_fields():
    record = principia.parse(PROBLEM | {"score": 3}, PrincipiaFilters())
    assert record.text == "Topic: Algebra\nProblem: Find x.\nAnswer: $x^2$"
    assert record.fields == PROBLEM | {"problem_statement": "Find x."}
    assert principia.parse(PROBLEM | {"topic": None}, PrincipiaFilters()).text.startswith("Problem: ")


@pytest.mark.parametrize(
    ("row", "filters", "reason"),
    [
        (PROBLEM | {"problem_statement": ""}, PrincipiaFilters(), "no problem"),
        (PROBLEM | {"answer": None}, PrincipiaFilters(), "no answer"),
        (PROBLEM, PrincipiaFilters(max_chars=11), "too long"),
        (PROBLEM, PrincipiaFilters(answer_types=["integer"]), "answer type not in the list"),
    ],
)
def test_what_is_no_problem_is_dropped_with_a_reason(row, filters, reason):
    assert reason_of(principia.parse, row, filters) == reason


def test_problem_filters_on_the_other_side():
    assert principia.parse(PROBLEM, PrincipiaFilters(max_chars=12, answer_types=["expression"]))
