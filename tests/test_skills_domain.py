"""Tests the skills domain: the challenger's choices, the judge and the answer sheet."""

import asyncio
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autodata.domains.skills.compare import normalize, read_answer
from autodata.domains.skills.domain import LENGTHS, Domain, Option, find_open_options, find_sentences, strip_words
from autodata.domains.skills.tasks import SKILLS, Task
from autodata.loop.parsing import ParseError
from autodata.recipes.domain import DomainConfig
from autodata.types import Candidate, Criterion, Document, Failure, Round, Verdict

DOMAIN = Domain(DomainConfig("skills"), client=None)
SENTENCES = [
    "The old keeper counts nine ships near the harbour before every storm.",
    "A quiet engine carried grain over three narrow bridges yesterday.",
    "Most captains trust a lamp that never fails in winter.",
    "Her brother paints small signs for every shop in town.",
]
DOCUMENT = Document("d", "A title\n\n" + " ".join(SENTENCES), "d.txt")


# ── the challenger's choices ────────────────────────────────────────────────────────────────


def propose(number: int = 1, rounds=(), domain: Domain = DOMAIN, **record: object) -> Candidate:
    return domain.read_candidate(DOCUMENT, {"passage": 1, "skill": 1} | record, rounds, number)


def failed(skill: str, difficulty: int, failure: Failure | None, question: str = "q") -> Round:
    labels = {"skill": skill, "difficulty": difficulty}
    made = Candidate(question, "a", (Criterion("c", 1),), labels=labels)
    return Round(1, made, None, (), (), Verdict(failure is None, failure))


def list_levels(*rounds: Round, skill: str = "sum") -> list[int]:
    return [option.difficulty for option in find_open_options(rounds) if option.skill == skill]


@pytest.mark.parametrize(
    ("failures", "levels"),
    [
        ([], [1, 2, 3]),
        ([(1, Failure.TOO_EASY)], [2, 3]),
        ([(2, Failure.TOO_EASY)], [3]),
        ([(3, Failure.TOO_EASY)], []),
        ([(2, Failure.TOO_EASY), (1, Failure.TOO_EASY)], [3]),
        ([(3, Failure.NO_SIGNAL)], [1, 2]),
        ([(2, Failure.TOO_HARD)], [1]),
        ([(1, Failure.NO_SIGNAL)], []),
        ([(1, Failure.TOO_EASY), (3, Failure.NO_SIGNAL)], [2]),
        ([(1, Failure.TOO_EASY), (2, Failure.NO_SIGNAL)], []),
        ([(2, None)], [1, 2, 3]),
    ],
)
def test_an_easy_skill_may_only_get_harder_and_a_hard_one_only_easier(failures, levels):
    rounds = [failed("sum", difficulty, failure) for difficulty, failure in failures]
    assert list_levels(*rounds) == levels
    assert list_levels(*rounds, skill="product") == [1, 2, 3]


def test_a_round_without_a_candidate_closes_nothing():
    malformed = Round(1, None, None, (), (), Verdict(False, Failure.MALFORMED))
    assert len(find_open_options([malformed])) == len(SKILLS) * len(LENGTHS)


def test_the_challenger_is_told_what_earlier_rounds_found():
    rounds = [failed("sum", 1, Failure.TOO_EASY), failed("capitals", 2, Failure.NO_SIGNAL)]
    (challenge,) = DOMAIN.challenge(DOCUMENT, rounds, 3)
    (prompt,) = DOMAIN.prompts.render("challenger", {**challenge.slots, "instruction": ""})
    assert "Too easy in this text: sum (5 words)\n" in prompt.content
    assert "Never answered rightly in this text: capitals (8 words)\n" in prompt.content
    assert "Too hard" not in prompt.content


def test_equal_arguments_give_equal_choices_and_another_round_or_seed_another_menu():
    first, again, second = (DOMAIN.challenge(DOCUMENT, [], number)[0] for number in (1, 1, 2))
    assert first == again and propose() == propose()
    assert first.schema == second.schema and first.slots != second.slots
    other = Domain(DomainConfig("skills"), client=None, seed=1)
    assert other.challenge(DOCUMENT, [], 1)[0].slots != first.slots


def test_the_menu_and_the_reply_mean_the_same_skill_and_passage():
    (challenge,) = DOMAIN.challenge(DOCUMENT, [], 4)
    for passage, sentence in enumerate(challenge.slots["sentences"], 1):
        for skill, option in enumerate(challenge.slots["options"], 1):
            made = propose(4, passage=passage, skill=skill)
            assert made.labels == {"skill": option.skill, "difficulty": option.difficulty}
            words, _, beginning = made.question.partition("\n")
            assert sentence.startswith(words) and len(words.split()) == min(option.length, len(sentence.split()))
            assert Task(beginning, made.reference_answer) in SKILLS[option.skill](words.split())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"passage": 0}, "passage 0 is not a number from 1 to 3"),
        ({"passage": 4}, "passage 4 is not"),
        ({"passage": True}, "passage True is not"),
        ({"passage": "1"}, "passage '1' is not"),
        ({"skill": 7}, "skill 7 is not a number from 1 to 6"),
        ({"skill": None}, "skill None is not"),
        ({"skill": 1.0}, "skill 1.0 is not"),
    ],
)
def test_a_reply_that_chooses_nothing_says_so(record, message):
    with pytest.raises(ParseError, match=re.escape(message)):
        propose(**record)


def test_a_passage_without_a_question_on_the_skill_is_an_error(monkeypatch):
    monkeypatch.setattr(Domain, "_choose_options", lambda *_: [Option("backwards", 1)])
    long = Document("d", "Lighthouses illuminate treacherous navigational passages everywhere.", "d.txt")
    with pytest.raises(ParseError, match="this passage has no new question on the skill “backwards”"):
        DOMAIN.read_candidate(long, {"passage": 1, "skill": 1}, [], 1)


def test_no_question_comes_twice_in_a_document_and_the_choices_come_to_an_end():
    rounds: list[Round] = []
    for number in range(1, 400):
        if not DOMAIN.challenge(DOCUMENT, rounds, number):
            break
        try:
            made = propose(number, rounds, passage=1 + number % 3)
        except ParseError:
            continue
        failure = Failure.TOO_EASY if number % 3 else Failure.NO_SIGNAL
        rounds.append(failed(made.labels["skill"], made.labels["difficulty"], failure, made.question))
    questions = [round.candidate.question for round in rounds]
    assert len(set(questions)) == len(questions) > len(SKILLS)
    assert not find_open_options(rounds)


@example("")
@given(st.text())
def test_any_text_has_candidates_whose_own_answer_is_right(text):
    document = Document("d", f"{text}\n\nAn old “one”two three four — {text} five {text} six.", "d.txt")
    sentences = find_sentences(document.text)
    assert sentences or text.strip()  # a text may end the paragraph before the sentence ends
    assert all(len(strip_words(s.split()[: LENGTHS[0]])) == LENGTHS[0] for s in sentences)
    for challenge in DOMAIN.challenge(document, [], 1):
        for skill in challenge.schema["properties"]["skill"]["enum"]:
            try:
                made = DOMAIN.read_candidate(document, {"passage": 1, "skill": skill}, [], 1)
            except ParseError:
                continue
            assert judge(made, f"{made.reference_answer}”.") == 1


def test_a_text_without_a_finished_sentence_of_five_words_has_no_challenge():
    for text in ("", "A title without an end", "Too short. So is this!", "— one — two — three — four."):
        assert DOMAIN.challenge(Document("d", text, "d.txt"), [], 1) == []


# ── the judge and the answer sheet ──────────────────────────────────────────────────────────


def judge(made: Candidate, answer: str) -> float | None:
    return asyncio.run(DOMAIN.judge(made, answer, 0)).score


@pytest.mark.parametrize(
    ("reference", "answer", "score"),
    [
        ("harbour", "harbour”.", 1),
        ("harbour", "harbour", 1),
        ("harbour", 'harbour". The next', 1),
        ("harbour", " Harbour,” and more", 1),
        ("harbour", "(harbour)", 1),
        ("harbour", "the harbour”", 0),
        ("harbour", "harbours”", 0),
        ("harbour", "harbour town”", 0),
        ("harbour", "”harbour”", 0),
        ("harbour", "", 0),
        ("harbour", "”", 0),
        ("the harbour", "The  harbour.”", 1),
        ("the harbour", "harbour”", 0),
        ("SHIP", "SHIP”", 1),
        ("SHIP", "ship”", 0),
        ("ship", "SHIP”", 0),
        ("A", "a”", 1),
        ("12", "12”", 1),
        ("12", "12.", 1),
        ("12", "123”", 0),
    ],
)
def test_the_answer_ends_at_its_quotation_mark(reference, answer, score):
    assert judge(Candidate("q", reference, (Criterion("c", 1),)), answer) == score


@given(st.text())
def test_reading_an_answer_never_fails_and_reading_it_again_changes_nothing(text):
    assert normalize(read_answer(text)) == read_answer(text)


def test_every_candidate_passes_the_quality_check():
    quality = asyncio.run(DOMAIN.check_quality(DOCUMENT, propose()))
    assert quality.passed and quality.candidate_hash == propose().hash


def test_the_answer_sheet_holds_the_asked_beginning_with_its_answer():
    for number in range(1, 30):
        made = propose(number)
        passage, _, beginning = made.question.partition("\n")
        sheet = DOMAIN.privileged(DOCUMENT, made).splitlines()
        answers = {task.beginning: task.answer for skill in SKILLS.values() for task in skill(passage.split())}
        assert f"{beginning} “{made.reference_answer}”." in sheet
        assert len(set(sheet)) == 4 and set(sheet) <= {f"{b} “{a}”." for b, a in answers.items()}
        assert DOMAIN.privileged(DOCUMENT, made) == "\n".join(sheet)


def test_the_weak_solver_sees_no_answer_sheet_and_nothing_else_differs():
    made = propose()
    passage, _, beginning = made.question.partition("\n")
    sheet = DOMAIN.privileged(DOCUMENT, made)
    weak, strong = DOMAIN.solver_prompt(made), DOMAIN.solver_prompt(made, sheet)
    assert weak[1].content == passage and strong[1].content == f"{sheet}\n\n{passage}"
    assert (weak[0], weak[2]) == (strong[0], strong[2])
    assert weak[2].content == f"{beginning} “"


def test_the_demo_has_documents_enough_for_both_kinds():
    names = [p.name for p in Path("recipes/demo/documents").glob("*.txt")]
    assert sum(n.startswith("cs_") for n in names) >= 12
    assert sum(n.startswith("law_") for n in names) >= 12
