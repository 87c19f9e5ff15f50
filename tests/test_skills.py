"""Tests the questions that every skill of the skills domain asks about a passage."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.domains.skills.compare import normalize
from autodata.domains.skills.domain import strip_words
from autodata.domains.skills.tasks import SKILLS, find_once


def ask(skill: str, passage: str) -> dict[str, str]:
    """Return the answer of every beginning."""
    tasks = SKILLS[skill](passage.split())
    assert len({task.beginning for task in tasks}) == len(tasks)
    return {task.beginning: task.answer for task in tasks}


# ── every skill on passages made by hand ────────────────────────────────────────────────────

KEEPER = "The old keeper saw the lighthouse"
COMPLETE = {
    ("first word", KEEPER): {"The first word is": "The"},
    ("second word", KEEPER): {"The second word is": "old"},
    ("third word", KEEPER): {"The third word is": "keeper"},
    ("fourth word", KEEPER): {"The fourth word is": "saw"},
    ("last word", KEEPER): {"The last word is": "lighthouse"},
    ("second last word", KEEPER): {"The second last word is": "the"},
    ("first two words", KEEPER): {"The first two words are": "The old"},
    ("last two words", KEEPER): {"The last two words are": "the lighthouse"},
    ("next word", KEEPER): {
        "The word right after “old” is": "keeper",
        "The word right after “keeper” is": "saw",
        "The word right after “saw” is": "the",
    },
    ("next word", "so so so so"): {},
    ("previous word", KEEPER): {
        "The word right before “old” is": "The",
        "The word right before “keeper” is": "old",
        "The word right before “saw” is": "keeper",
        "The word right before “lighthouse” is": "the",
    },
    ("previous word", "so so so so"): {},
    ("word between", KEEPER): {
        "The word between “old” and “saw” is": "keeper",
        "The word between “saw” and “lighthouse” is": "the",
    },
    ("word between", "so it is so"): {},
    ("missing word", "so it is so"): {
        "In “so ___ is so” the missing word is": "it",
        "In “so it ___ so” the missing word is": "is",
        "In “so it is ___” the missing word is": "so",
    },
    ("longest word", KEEPER): {"The longest word is": "lighthouse"},
    ("longest word", "The old keeper counts"): {},
    ("shortest word", "A keeper saw it"): {"The shortest word is": "A"},
    ("shortest word", KEEPER): {},
    ("word by first letter", KEEPER): {
        "The word that begins with “o” is": "old",
        "The word that begins with “k” is": "keeper",
        "The word that begins with “s” is": "saw",
        "The word that begins with “l” is": "lighthouse",
    },
    ("word by first letter", "Two two they the"): {},
    ("word by last letter", KEEPER): {
        "The word that ends with “d” is": "old",
        "The word that ends with “r” is": "keeper",
        "The word that ends with “w” is": "saw",
    },
    ("word by last letter", "one gone the bone"): {},
    ("first letter", "It saw 1987 ships"): {
        "The first letter of “saw” is": "s",
        "The first letter of “ships” is": "s",
    },
    ("first letter", "it is in 1987"): {},
    ("last letter", "It saw saw ships"): {"The last letter of “saw” is": "w", "The last letter of “ships” is": "s"},
    ("last letter", "it is in 1987"): {},
    ("capitals", "It is a ship"): {"In capital letters “ship” is": "SHIP"},
    ("capitals", "it is in 1987"): {},
    ("backwards", "the harbour of lighthouse"): {"Backwards “the” is": "eht", "Backwards “harbour” is": "ruobrah"},
    ("backwards", "it is a lighthouse"): {},
    ("number of words", KEEPER): {"The number of words is": "6"},
    ("number of letters", "It is a keeper"): {"The number of letters of “keeper” is": "6"},
    ("number of letters", "it is in 1987"): {},
    ("sum", "the keeper saw it"): {
        "“the” has 3 letters and “keeper” has 6. 3 + 6 =": "9",
        "“keeper” has 6 letters and “saw” has 3. 6 + 3 =": "9",
    },
    ("sum", "it is a keeper"): {},
    ("difference", "the keeper saw it"): {
        "“keeper” has 6 letters and “the” has 3. 6 - 3 =": "3",
        "“keeper” has 6 letters and “saw” has 3. 6 - 3 =": "3",
    },
    ("difference", "it is a keeper"): {},
    ("product", "the keeper is it"): {"“the” has 3 letters and “keeper” has 6. 3 x 6 =": "18"},
    ("product", "it is a keeper"): {},
    ("which comes first", "so it is so"): {"Of “is” and “it” the one that comes first in the text is": "it"},
    ("which comes first", "old keeper saw saw"): {
        "Of “keeper” and “old” the one that comes first in the text is": "old"
    },
    ("which comes first", "so so so so"): {},
    ("alphabet", "the old keeper it"): {
        "Of “the” and “old” the one that comes first in the alphabet is": "old",
        "Of “old” and “keeper” the one that comes first in the alphabet is": "keeper",
    },
    ("alphabet", "the Tower is it"): {},
}


@pytest.mark.parametrize(("skill", "passage"), COMPLETE, ids=lambda value: value)
def test_a_skill_asks_what_has_one_answer_and_nothing_else(skill, passage):
    assert ask(skill, passage) == COMPLETE[skill, passage]


def test_every_skill_is_tested_by_hand():
    assert {skill for skill, _ in COMPLETE} == set(SKILLS)
    assert len(SKILLS) >= 20  # from trivial to impossible for the embedded model


# ── any text ────────────────────────────────────────────────────────────────────────────────

PASSAGES = st.lists(st.text(min_size=1, max_size=8), min_size=4, max_size=20).map(
    lambda texts: strip_words(" ".join(texts).split())
).filter(lambda words: len(words) >= 4)  # fmt: skip
PLAIN = st.lists(st.text("abcdABCD", min_size=1, max_size=4), min_size=4, max_size=12)


@given(PASSAGES)
def test_any_passage_has_questions_with_answers(words):
    for skill in SKILLS.values():
        tasks = skill(words)
        assert len({task.beginning for task in tasks}) == len(tasks)
        assert all(task.answer and normalize(task.answer) and "\n" not in task.beginning for task in tasks)


def quoted(beginning: str) -> list[str]:
    return re.findall("“(.*?)”", beginning)


@given(PLAIN)
def test_answers_about_neighbours_are_right(words):
    lowered = [word.casefold() for word in words]
    for beginning, answer in ask("next word", " ".join(words)).items():
        (at,) = (i for i, word in enumerate(lowered) if word == quoted(beginning)[0].casefold())
        assert words[at + 1] == answer
    for beginning, answer in ask("previous word", " ".join(words)).items():
        (at,) = (i for i, word in enumerate(lowered) if word == quoted(beginning)[0].casefold())
        assert words[at - 1] == answer
    for beginning, answer in ask("word between", " ".join(words)).items():
        before, after = quoted(beginning)
        assert f" {before} {answer} {after} " in f" {' '.join(words)} "


@given(PLAIN)
def test_answers_about_one_word_of_many_are_right(words):
    for beginning, answer in ask("missing word", " ".join(words)).items():
        assert quoted(beginning)[0].replace("___", answer) == " ".join(words)
    for answer in ask("longest word", " ".join(words)).values():
        assert sum(len(word) >= len(answer) for word in words) == 1
    for answer in ask("shortest word", " ".join(words)).values():
        assert sum(len(word) <= len(answer) for word in words) == 1
    for beginning, answer in ask("word by first letter", " ".join(words)).items():
        assert [word for word in words if word.casefold().startswith(quoted(beginning)[0])] == [answer]
    for beginning, answer in ask("word by last letter", " ".join(words)).items():
        assert [word for word in words if word.casefold().endswith(quoted(beginning)[0])] == [answer]


@given(PLAIN)
def test_answers_about_two_words_are_right(words):
    for beginning, answer in ask("which comes first", " ".join(words)).items():
        places = {words.index(word): word for word in quoted(beginning)}
        assert answer == places[min(places)] and len(places) == 2
        assert set(quoted(beginning)) <= set(find_once(words))
    for beginning, answer in ask("alphabet", " ".join(words)).items():
        first, second = quoted(beginning)
        assert answer == (first if ord(first[0].lower()) < ord(second[0].lower()) else second)
    for skill in ("sum", "difference", "product"):
        for beginning, answer in ask(skill, " ".join(words)).items():
            sizes, formula = list(map(len, quoted(beginning))), beginning.rpartition(". ")[2]
            assert list(map(int, re.findall(r"\d+", formula))) == sizes
            assert str(eval(formula.rstrip(" =").replace("x", "*"))) == answer
