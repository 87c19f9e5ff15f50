"""Tests the cloze domain: its cuts, its quality check and its judge."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.domains.cloze.domain import MAX_WORDS, Domain, excerpt, find_cut_points, first_word
from autodata.recipes.domain import DomainConfig
from autodata.types import Candidate, Criterion, Document

DOMAIN = Domain(DomainConfig("cloze"), client=None)
TEXT = "A Title Without End\n\nOne two three four five six. Seven (eight) nine ten eleven twelve!"


def candidate(question: str, word: str) -> Candidate:
    return Candidate(question, word, (Criterion("next", 1),))


def test_cuts_lie_inside_sentences_and_titles_have_none():
    points = find_cut_points(TEXT)
    assert [p.word for p in points] == ["five", "six.", "eleven", "twelve!"]
    assert points[0].beginning == "One two three four"


@given(st.text(max_size=400))
def test_any_text_has_cut_points_that_stand_in_it(text):
    flat = " ".join(text.split())
    for point in find_cut_points(text):
        assert f"{point.beginning} {point.word}" in flat


def test_long_texts_are_cut():
    assert len(excerpt("word " * 999).split()) == MAX_WORDS


@pytest.mark.parametrize(
    ("question", "word", "passed"),
    [
        ("They keep all of their", "records,", True),
        ("They keep all of their", "keep", False),
        ("They keep all of their", "They.", False),
        ("They keep all of their", "38", False),
        ("They keep all of their", "—", False),
        ("They keep all of their", "of", False),
        ("They keep all of their", "non-trivial", True),
        ("They keep all of their", "naïve", True),
    ],
)
def test_quality(question, word, passed):
    quality = asyncio.run(DOMAIN.check_quality(Document("d", "", ""), candidate(question, word)))
    assert quality.passed == passed
    assert bool(quality.reason) != passed


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (" records, and", 1.0),
        ("Records", 1.0),
        (" record", 0.0),
        (" the records", 0.0),
        ("", 0.0),
        (" recordsets", 0.0),
        ('"records" they', 1.0),
    ],
)
def test_the_next_word_decides(answer, score):
    judged = asyncio.run(DOMAIN.judge(candidate("They keep all their", "records."), answer, 0))
    assert judged.score == score


@given(st.text())
def test_first_word_never_fails(text):
    assert first_word(text) == first_word(text + " ")


def test_the_demo_has_documents_enough_for_both_kinds():
    names = [p.name for p in Path("recipes/demo/documents").glob("*.txt")]
    assert sum(n.startswith("cs_") for n in names) >= 12
    assert sum(n.startswith("law_") for n in names) >= 12
