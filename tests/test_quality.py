"""Tests the quality filters of an ingest, which are off unless a recipe names them."""

import sys

import pytest
from datatrove.data import Document

from autodata.config import RecipeError
from autodata.corpora.quality import QualityCheck, require_usable
from autodata.corpora.record import Drop
from autodata.recipes.corpora import QualityFilters

ENGLISH = "The keeper of the light wiped the salt from the glass, and then he wrote down what he had seen. "
GERMAN = "Der Wärter des Turms wischte das Salz vom Glas und schrieb danach auf, was er gesehen hatte. "
PROSE = (
    "The keeper of the light wiped the salt from the glass every evening, before the ships came in with the tide. "
    "He had learned from his father that a clean lamp can be seen two miles further than a dirty one.\n"
    "In winter the wind was so strong that he had to hold on to the rail with one hand and clean with the other.\n"
    "Nobody in the village thought that this was worth a word of thanks, and that was how he liked it to be."
)


def find_reason(text: str, **filters: object) -> str:
    """Return why a text is dropped; empty if it is kept."""
    try:
        QualityCheck(QualityFilters(**filters)).check(Document(text, "id"))
    except Drop as drop:
        return drop.reason
    return ""


def test_without_filters_everything_passes_and_no_library_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    monkeypatch.setitem(sys.modules, "spacy", None)
    assert find_reason("a") == ""


def test_only_the_named_languages_are_kept():
    assert find_reason(ENGLISH * 3, languages=["en"]) == ""
    assert find_reason(GERMAN * 3, languages=["en"]) == "another language"
    assert find_reason(GERMAN * 3, languages=["en", "de"]) == ""


@pytest.mark.parametrize(("at_least", "reason"), [(0.0, ""), (1.01, "language uncertain")])
def test_the_language_must_be_sure_enough(at_least, reason):
    assert find_reason(ENGLISH * 3, languages=["en"], language_at_least=at_least) == reason


def test_a_language_that_nobody_knows_is_a_wrong_recipe():
    with pytest.raises(RecipeError, match=r"quality\.languages: english is not among the known ones \(.*en, "):
        require_usable(QualityFilters(languages=["english"]))


@pytest.mark.slow
def test_the_filters_of_datatrove_drop_with_their_own_reasons():
    every = {"fineweb": True, "gopher_quality": True, "gopher_repetition": True}
    assert find_reason(PROSE, **every) == ""
    assert find_reason("home\nabout\ncontact\n" * 9, fineweb=True) == "FineWeb quality: line_punct_ratio"
    assert find_reason("Too few words.", gopher_quality=True) == "Gopher quality: gopher_short_doc"
    assert find_reason("0 1 2 3 4 5 6 7 8 9 " * 30, gopher_quality=True).startswith("Gopher quality: gopher_below")
    assert find_reason(ENGLISH * 20, gopher_repetition=True).startswith("Gopher repetition: ")
