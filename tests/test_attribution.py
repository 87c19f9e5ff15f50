"""Tests flips between two models, cut-off answers, and the statistics of both."""

from itertools import product

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.eval.attribution import Cause, attribute, find_cause
from autodata.eval.sampled_answers import SampledAnswer, measure_efficiency
from autodata.eval.statistics import Answers, chance_of_one, compare, pass_at_k
from autodata.eval.truncation import measure, measure_rate, rate_at, show
from autodata.run.records import RunError
from autodata.types import Outcome

OK, CUT = Outcome.ANSWERED, Outcome.CUT_OFF


def generation(score, outcome=OK, example="e", epoch=1, tokens=10, **values) -> SampledAnswer:
    fields = {
        "task": "t",
        "example": example,
        "document": example,
        "epoch": epoch,
        "score": score,
        "outcome": outcome,
        "has_answer": outcome is OK,
        "tokens": tokens,
    }
    return SampledAnswer(**fields | values)


@pytest.mark.parametrize(
    ("base", "trained", "cause"),
    [
        (generation(0.0, CUT), generation(1.0), Cause.TRUNCATION),
        (generation(0.0), generation(1.0), Cause.REASONING),
        (generation(0.0, has_answer=False), generation(1.0), Cause.OTHER),
        (generation(0.0, Outcome.REFUSED), generation(1.0), Cause.OTHER),
        (generation(0.0, Outcome.CONTEXT_OVERFLOW), generation(1.0), Cause.OTHER),
        (generation(0.0), generation(1.0, CUT), Cause.OTHER),
        (generation(0.0, CUT), generation(1.0, CUT), Cause.OTHER),
    ],
)
def test_why_a_generation_flipped(base, trained, cause):
    assert find_cause(base, trained) is cause


def test_the_papers_own_counts_give_the_papers_shares():
    kinds = [generation(0.0, CUT)] * 518 + [generation(0.0)] * 388 + [generation(0.0, Outcome.REFUSED)] * 39
    base = [SampledAnswer(**{**vars(g), "example": str(i), "document": str(i)}) for i, g in enumerate(kinds)]
    trained = [generation(1.0, example=str(i)) for i in range(945)]
    flips = attribute(base, trained)
    shares = {cause: round(100 * share.value, 2) for cause, share in flips.gained.shares.items()}
    assert shares == {Cause.TRUNCATION: 54.81, Cause.REASONING: 41.06, Cause.OTHER: 4.13}
    assert flips.gained.total == flips.net == 945
    assert all(share.low <= share.value <= share.high for share in flips.gained.shares.values())


def test_both_directions_and_the_net():
    base = [generation(0.0, CUT, epoch=1), generation(1.0, epoch=2), generation(1.0, epoch=3)]
    trained = [generation(1.0, epoch=1), generation(0.0, CUT, epoch=2), generation(1.0, epoch=3)]
    flips = attribute(base, trained)
    assert (flips.gained.total, flips.lost.total, flips.net, flips.pairs) == (1, 1, 0, 3)
    assert flips.lost.counts[Cause.TRUNCATION] == 1


def test_missing_epochs_unpaired_examples_and_unscored_answers_are_in_no_pair():
    base = [
        generation(0.0, epoch=1),
        generation(0.0, epoch=2),
        generation(None, epoch=3),
        generation(0.0, example="b"),
    ]
    trained = [generation(1.0, epoch=1), generation(1.0, epoch=3), generation(1.0, example="c")]
    assert attribute(base, trained).pairs == 1
    with pytest.raises(RunError, match="no example in common with a scored answer in both"):
        attribute(base[:1], trained[2:])


@given(st.lists(st.booleans(), min_size=1, max_size=5), st.lists(st.booleans(), min_size=1, max_size=5), st.randoms())
def test_all_pairs_do_not_depend_on_the_order_of_samples(before, after, chance):
    base = [generation(float(right), epoch=i) for i, right in enumerate(before)]
    trained = [generation(float(right), epoch=i) for i, right in enumerate(after)]
    all_flips = attribute(base, trained, all_pairs=True)
    chance.shuffle(trained)
    shuffled = [SampledAnswer(**{**vars(g), "epoch": i}) for i, g in enumerate(trained)]
    again = attribute(base, shuffled, all_pairs=True)
    assert again.gained.total == pytest.approx(all_flips.gained.total)
    assert all_flips.pairs == pytest.approx(min(len(before), len(after)))
    flips = sum(not b and a for b, a in product(before, after))
    assert all_flips.gained.total == pytest.approx(flips * all_flips.pairs / (len(before) * len(after)))


def test_what_cut_off_answers_cost():
    answers = [
        generation(1.0, tokens=100),
        generation(0.0, CUT, tokens=200),
        generation(0.5, epoch=2, tokens=50),
        generation(None, epoch=3, tokens=1_000),
    ]
    assert measure_rate(answers).value == 0.25
    assert list(measure(answers).values()) == [0.75, 0.0, 0.5, 0.0, pytest.approx(1000 * 1.5 / 350)]
    assert [rate_at(answers, budget) for budget in (1_000, 100, 99, 49)] == [0.25, 0.5, 0.75, 1.0]
    assert measure_efficiency([generation(None)]) is None
    with pytest.raises(RunError, match="no answer to this task was received"):
        show([], 1.0, "")


@pytest.mark.parametrize(
    ("drawn", "right", "k", "chance"),
    [(8, 0, 8, 0.0), (8, 1, 8, 1.0), (8, 1, 1, 1 / 8), (4, 2, 2, 1 - 1 / 6), (8, 8, 3, 1.0)],
)
def test_the_chance_of_one_right_answer_in_k(drawn, right, k, chance):
    assert chance_of_one(drawn, right, k) == pytest.approx(chance)


def test_pass_at_k_leaves_out_examples_with_too_few_answers():
    answers = [Answers("a", (1.0, 0.0, 0.0)), Answers("b", (1.0, None, 0.0))]
    assert pass_at_k(answers, 3).value == 1.0
    assert pass_at_k(answers, 1).value == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert pass_at_k(answers, 4) is None
    assert pass_at_k([Answers("a", (1.0, 0.4))], 1).value == 0.5


def test_a_difference_is_paired_by_example():
    first = {str(i): Answers(str(i // 2), (0.2, 0.4)) for i in range(40)}
    second = {str(i): Answers(str(i // 2), (0.5, 0.5, None)) for i in range(5, 45)}
    comparison = compare(first, second)
    assert comparison.examples == 35
    assert comparison.estimate.value == pytest.approx(0.2)
    assert comparison.p < 0.01
    assert compare(first, first).p == 1.0
    assert compare(first, {}) is None
    assert compare({"a": Answers("d", (0.0,))}, {"a": Answers("d", (1.0,))}).p is None


def test_a_difference_that_is_chance_is_no_difference():
    chance = numpy.random.default_rng(3)
    first, second = ({str(i): Answers(str(i), tuple(chance.random(4))) for i in range(200)} for _ in range(2))
    comparison = compare(first, second)
    assert comparison.p > 0.01
    assert comparison.estimate.low < 0 < comparison.estimate.high
