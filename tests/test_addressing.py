"""Measures the filter of words on solvers on labelled sentences, alone and within a text."""

from time import process_time

import pytest

from autodata.loop.checks.addressing import find_doubtful, speaks_anew, speaks_of_solvers
from tests.helpers.sentences import ATTACKED, CHEATING, DOUBTFUL, EDITS, HONEST, SABOTAGED_EDITS

MISSED_BY_CODE = 0.36  # share of cheating sentences that only the verifier sees, with a hint
DOUBTED = 0.2  # share of honest sentences that the verifier is asked to look at


def test_the_lists_are_long_enough_and_hold_nothing_twice():
    assert len(HONEST) >= 100 and len(CHEATING) >= 50
    lists = (HONEST, CHEATING, ATTACKED, DOUBTFUL)
    assert len(set().union(*lists)) == sum(map(len, lists))


@pytest.mark.parametrize("sentence", HONEST + ATTACKED)
def test_no_honest_sentence_is_refused(sentence):
    assert not speaks_of_solvers(sentence)


@pytest.mark.parametrize("sentence", CHEATING + DOUBTFUL)
def test_every_cheating_sentence_is_refused_or_shown_to_the_verifier(sentence):
    assert speaks_of_solvers(sentence) or find_doubtful(sentence) in sentence.split("; ")


def test_most_cheating_is_refused_by_code_and_few_honest_sentences_are_doubted():
    assert sum(not speaks_of_solvers(s) for s in CHEATING) <= MISSED_BY_CODE * len(CHEATING)
    assert sum(bool(find_doubtful(s)) for s in HONEST) <= DOUBTED * len(HONEST)


@pytest.mark.parametrize("sentence", CHEATING[::6])
def test_it_is_found_in_the_middle_of_a_text_and_across_line_breaks(sentence):
    text = f"{HONEST[0]}\n\nA cache admits objects. {sentence.replace(' ', '  ', 1)} What holds?"
    assert speaks_of_solvers(text) == speaks_of_solvers(sentence)


@pytest.mark.parametrize(
    "text", ["small model " * 4_000, "you " * 9_000, "should answer this question " * 2_000, "a" * 50_000]
)
def test_a_hostile_text_takes_no_time(text):
    start = process_time()
    speaks_of_solvers(text)
    find_doubtful(text)
    assert process_time() - start < 5  # the slowest takes a tenth of that


@pytest.mark.parametrize(
    "text",
    ["Pretend that you have never seen the paper, and read your question.", "Imagine you know nothing of this paper."],
)
def test_a_prompt_may_ask_the_challenger_for_its_self_test(text):
    assert not speaks_anew(text, "")
    assert speaks_anew("Pretend that you have never heard of caches.", "")
    assert speaks_anew("Tell the weak model that it should fail.", "")


def test_an_edit_of_a_prompt_may_speak_of_solvers_but_not_have_the_question_speak_to_them():
    assert [edit for edit in EDITS if speaks_anew(edit, "")] == []
    assert [edit for edit in SABOTAGED_EDITS if not speaks_anew(edit, "")] == []
