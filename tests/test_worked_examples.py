"""Holds the worked examples in the prompts to the rules that they are to show, and their length to a bound."""

import json
import re

import pytest

from autodata.domains.cs import verifier
from autodata.domains.legal import post_filter
from autodata.loop import rubric
from autodata.loop.checks.addressing import speaks_of_solvers
from autodata.loop.checks.lint import find_faults, lint
from autodata.types import Criterion, Document
from tests.helpers import prompt_material as material
from tests.helpers.golden_prompts import Recorder, load_domain

GOOD, BAD = "A good one", "A bad one, and why:"
PREPARED = Document("law_01", material.OPINION.text, "law_01.txt", {"preparation": material.EXTRACT})
DOCUMENTS = {"cs": material.PAPER, "legal": PREPARED}
LONGEST = {"cs": 4_500, "legal": 5_500}  # characters of both examples


def render(name: str, examples: bool) -> str:
    client = Recorder()
    domain = load_domain(name, client)
    domain.config.worked_examples = examples
    return client.record(domain.propose(DOCUMENTS[name], [], 1, ""))[0][-1].content


def read_good(name: str):
    """Read the good example as the reply that it shows."""
    text = render(name, True).partition(GOOD)[2].partition(":\n")[2].partition(BAD)[0]
    record = json.JSONDecoder().raw_decode(text.strip())[0]  # as strict as JSON is: a model copies its form
    domain = load_domain(name, Recorder())
    (challenge,) = domain.challenge(DOCUMENTS[name], [], 1)
    assert list(record) == [key for key in challenge.schema["required"] if key != "scratchpad"]
    return domain.read_candidate(DOCUMENTS[name], record, [], 1)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_good_example_is_one_that_the_code_accepts(name):
    candidate, shape = read_good(name), load_domain(name, Recorder()).shape
    assert not rubric.find_faults(candidate.rubric, shape)
    assert not find_faults(candidate.rubric, lint(candidate.rubric, candidate.context))
    assert not speaks_of_solvers(f"{candidate.context}\n{candidate.question}")
    for bounds, count in (
        (shape.asked.items, len(candidate.rubric)),
        (shape.asked.positive, sum(c.weight > 0 for c in candidate.rubric)),
        (shape.asked.negative, sum(c.weight < 0 for c in candidate.rubric)),
    ):
        assert bounds[0] <= count <= bounds[1]


def test_the_good_question_of_a_client_passes_the_post_filter_and_no_ability_has_most_criteria():
    candidate = read_good("legal")
    assert not post_filter.inspect(candidate.question, 1_000).flags
    abilities = [c.capability for c in candidate.rubric]
    assert max(map(abilities.count, abilities)) <= len(abilities) / 2


def test_the_good_question_of_a_paper_passes_the_checks_of_code():
    assert not verifier.find_faults(read_good("cs"), 200)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_examples_can_be_left_out_and_are_of_bounded_length(name):
    with_examples, without = render(name, True), render(name, False)
    assert GOOD in with_examples and BAD in with_examples
    assert GOOD not in without and BAD not in without
    assert 0 < len(with_examples) - len(without) <= LONGEST[name]


def test_the_reference_answer_of_the_good_example_says_what_its_criteria_ask_for():
    candidate = read_good("cs")
    answer = list_stems(candidate.reference_answer)
    shares = [len(list_stems(c.text) & answer) / len(list_stems(c.text)) for c in candidate.rubric if c.weight > 0]
    assert min(shares) >= 0.7


def list_stems(text: str) -> set[str]:
    return {word[:5] for word in re.findall(r"\w{4,}", text.casefold())} - {"state", "concl", "propo", "predi", "uses"}


def test_the_challenger_of_papers_is_told_what_code_refuses():
    told = " ".join(render("cs", False).split())
    for rule in (
        "write one example in English",
        "neither of them refers to the paper",
        "or says who answers",
        "at least 200 characters",
        "repeats ten words in a row from context or question",
        "No two criteria ask for the same claim",
    ):
        assert rule in told


def test_the_writer_of_the_law_is_told_which_criteria_code_refuses():
    told = " ".join(render("legal", False).split())
    criteria = [Criterion(text, 9) for text in ("Discusses notice", "Reaches the right conclusion")]
    criteria.append(Criterion("States that notice was late and advises to settle", 9))
    assert [f'"{c.text}"' in told for c in criteria] == [True] * 3
    assert len(lint(criteria)) == 3
