"""Tests the filters of the dataset command, one stage each."""

import pytest

from autodata.data.filters import find_source_reference, find_stage
from autodata.recipes.data import Filters
from autodata.recipes.domain import RubricBounds, Shape
from autodata.types import Candidate, Criterion, Quality, Round, Verdict
from tests.helpers.fake_runs import RUBRIC, candidate, checked

SHAPE = Shape(tolerated=RubricBounds([3, 3], [1, 3], [1, 2]))
FILTERS = Filters(context_chars=20, source_references=True)
FINE = candidate("Why does the cache admit it?", context="x" * 20)


def stage(proposal: Candidate, filters: Filters = FILTERS, final: Quality | None = None) -> str | None:
    return find_stage(Round(1, proposal, None, (), (), Verdict(True), final=final), SHAPE, filters)


def test_a_candidate_that_has_everything_passes_each_stage():
    assert stage(FINE) is None
    assert stage(FINE, final=checked(FINE, passed=True)) is None


def test_the_second_check_must_have_passed_and_be_of_this_candidate():
    assert stage(FINE, final=checked(FINE, passed=False)) == "final check"
    assert stage(FINE, final=checked(candidate("Another?"), passed=True)) == "final check"


@pytest.mark.parametrize(
    "values", [{"question": " "}, {"reference_answer": ""}, {"rubric": (Criterion(" ", 1), *RUBRIC[1:])}]
)
def test_an_empty_field_is_dropped(values):
    assert stage(candidate(**{"question": "q", "context": "x" * 20, **values})) == "complete"


def test_a_reference_answer_is_asked_for_only_where_the_domain_has_one():
    assert stage(candidate("q", reference_answer=""), Filters(reference_answer=False)) is None


@pytest.mark.parametrize(
    ("rubric", "is_sound"),
    [
        (RUBRIC, True),
        ((*RUBRIC, Criterion("more", 1)), False),
        (RUBRIC[:2], False),
        ((Criterion("a", 10), Criterion("b", 1), Criterion("c", -10)), True),
        ((Criterion("a", 11), Criterion("b", 1), Criterion("c", -1)), False),
        ((Criterion("a", -1), Criterion("b", -1), Criterion("c", -1)), False),
    ],
)
def test_the_rubric_is_counted_again(rubric, is_sound):
    assert stage(candidate("q", context="x" * 20, rubric=rubric)) == (None if is_sound else "rubric")


def test_a_context_one_character_too_short_is_dropped():
    assert stage(candidate("q", context="x" * 19 + " ")) == "context length"
    assert stage(candidate("q", context="x" * 20)) is None


@pytest.mark.parametrize("text", [
    "What do the authors conclude?", "How does this paper measure it?", "Explain Figure 2.", "See fig. 3a",
    "as defined in Section 3.1", "In Appendix B, which", "What, as shown in the plot, follows?", "In Table IV,",
    'a method entitled "Fast Caches"', "In this work we", "THE STUDY",
])  # fmt: skip
def test_words_that_point_at_the_source_are_found(text):
    assert find_source_reference(candidate(text))
    assert stage(candidate(text, context="x" * 20)) == "no source reference"
    assert find_source_reference(candidate("q", context=text))


@pytest.mark.parametrize("text", [
    "Authors of libraries face this.", "a paper tray", "Which section of the tree is cut?", "figure out 3 ways",
    "a table of 20 rows", "as described in the context", "the table a user sees", "wait 30 sec. 5 times",
])  # fmt: skip
def test_words_that_only_look_like_it_are_left(text):
    assert find_source_reference(candidate(text)) == ""
    assert stage(candidate(text, context="x" * 20)) is None


def test_source_references_are_looked_for_only_on_demand():
    assert stage(candidate("What do the authors say?"), Filters()) is None
