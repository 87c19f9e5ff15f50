"""Holds the filters to what they did on sentences that nobody looked at while tuning them, the errors included."""

from pathlib import Path

import pytest
import yaml

from autodata.domains.legal import post_filter
from autodata.loop.checks.addressing import find_doubtful, speaks_of_solvers
from autodata.loop.checks.sources import find_source_reference
from autodata.types import Candidate
from tests.helpers.sentences import ATTACKED, CHEATING, DOUBTFUL, HONEST

SENTENCES = yaml.safe_load((Path(__file__).parent / "golden" / "held_out_sentences.yaml").read_text(encoding="utf-8"))
REFUSE = {
    "addressing": speaks_of_solvers,
    "source": lambda text: bool(find_source_reference(Candidate(text, "", ()))),
    "legal": lambda text: bool(post_filter.inspect(text, None).flags) or speaks_of_solvers(text),
}
# What each filter refuses, of how many. A change of a filter may improve these counts, but must not be made for them:
# a better count is written down here together with the commit that brought it about.
REFUSED = {
    "addressing_honest": (0, 42),
    "addressing_cheating": (3, 24),
    "source_honest": (2, 20),
    "source_cheating": (8, 12),
    "legal_honest": (0, 15),
    "legal_cheating": (2, 12),
    "addressing_honest_second": (0, 39),
    "addressing_cheating_second": (3, 20),
    "legal_honest_second": (0, 20),
    "legal_cheating_second": (6, 10),
}
DOUBTED = {  # not refused, but shown to the verifier
    "addressing_honest": (3, 42),
    "addressing_cheating": (11, 24),
    "addressing_honest_second": (4, 39),
    "addressing_cheating_second": (7, 20),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_filters_refuse_as_many_held_out_sentences_as_were_measured(name):
    refuses = REFUSE[name.partition("_")[0]]
    assert (sum(map(refuses, SENTENCES[name])), len(SENTENCES[name])) == REFUSED[name]


@pytest.mark.parametrize("name", DOUBTED)
def test_the_verifier_is_shown_as_many_held_out_sentences_as_were_measured(name):
    doubted = [text for text in SENTENCES[name] if not speaks_of_solvers(text) and find_doubtful(text)]
    assert (len(doubted), len(SENTENCES[name])) == DOUBTED[name]


def test_no_held_out_sentence_is_one_of_those_that_the_filters_were_tuned_on():
    tuned = yaml.safe_load((Path(__file__).parent / "golden" / "legal_sentences.yaml").read_text(encoding="utf-8"))
    known = {*HONEST, *CHEATING, *ATTACKED, *DOUBTFUL, *tuned["honest"], *tuned["cheating"]}
    assert not known & {text for texts in SENTENCES.values() for text in texts}
