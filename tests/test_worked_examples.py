"""Holds the worked examples in the prompts to the rules that they are to show, and their length to a bound."""

import json

import pytest

from autodata.domains.cs import verifier
from autodata.domains.legal import post_filter
from autodata.loop import rubric
from autodata.loop.checks.addressing import speaks_of_solvers
from autodata.loop.checks.lint import find_faults, lint
from autodata.types import Document
from tests.helpers import prompt_material as material
from tests.helpers.golden_prompts import Recorder, load_domain

GOOD, BAD = "A good one:", "A bad one, and why:"
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
    text = render(name, True).partition(GOOD)[2].partition(BAD)[0]
    record = json.JSONDecoder().raw_decode(text.strip())[0]  # as strict as JSON is: a model copies its form
    labels = {"question_type": "decision", "reasoning_skills": ["causality"]}
    return load_domain(name, Recorder()).read_candidate(DOCUMENTS[name], {**labels, **record}, [], 1)


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
