"""Tests the statistics of an evaluation, and that a failed judge leaves a sample without a score."""

import asyncio
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.eval.limits import EvaluationLimits
from autodata.eval.statistics import Answers, best_at_k, mean_at_k, unscored_bounds
from autodata.loop.rubric import judge as judge_rubric
from autodata.types import CANDIDATE, REPLY, Candidate, Criterion, Judgement, Outcome, Reply

SCORES = st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=4)
ANSWERS = st.lists(st.builds(Answers, st.sampled_from("abc"), SCORES.map(tuple)), max_size=6)


def test_mean_and_best_at_k():
    answers = [Answers("a", (0.0, 1.0)), Answers("b", (0.5, 0.5))]
    assert mean_at_k(answers).value == 0.5
    assert best_at_k(answers).value == 0.75


def test_unscored_samples_are_left_out_and_bounded():
    answers = [Answers("a", (1.0, None)), Answers("b", (None, None))]
    assert mean_at_k(answers).value == 1.0
    assert unscored_bounds(answers) == (0.25, 1.0)
    assert mean_at_k([Answers("a", (None,))]) is None


def test_intervals_are_clustered_by_document():
    spread = [Answers(str(i), (float(i % 2),)) for i in range(20)]
    repeated = [Answers(str(i % 2), (float(i % 2),)) for i in range(20)]
    narrow, wide = mean_at_k(spread), mean_at_k(repeated)
    assert wide.high - wide.low > narrow.high - narrow.low > 0.2
    assert mean_at_k(spread[:1]).low is None


@given(ANSWERS)
def test_estimates_stay_in_order_and_in_range(answers):
    mean, best, bounds = mean_at_k(answers), best_at_k(answers), unscored_bounds(answers)
    if mean is None:
        return
    assert 0 <= mean.value <= best.value + 1e-9
    assert bounds[0] <= bounds[1] <= 1 + 1e-9
    if mean.low is not None:
        assert not math.isnan(mean.low)
        assert -1e-9 <= mean.low <= mean.value + 1e-9 <= mean.high + 2e-9


@pytest.mark.parametrize(("met", "score"), [((True,), 1.0), (None, None)])
def test_a_failed_judge_leaves_a_sample_unscored(met, score):
    candidate = Candidate("They keep", "records", (Criterion("next", 1),))

    class Domain:
        seed = 0

        async def judge(self, candidate, answer, seed):
            return judge_rubric(candidate.rubric, met) if met else Judgement(None, None, "unreadable")

    from autodata.eval.tasks import judge

    reply = Reply(Outcome.ANSWERED, " records", "", "", "m", 1, 1, 0.0)
    kept = {"candidate": CANDIDATE.dump_json(candidate).decode(), "reply": REPLY.dump_python(reply, mode="json")}
    state = SimpleNamespace(sample_id="a", epoch=1, metadata=kept)
    judged = asyncio.run(judge(Domain(), EvaluationLimits(None, 0.1, 0.1))(state, None))
    assert math.isnan(judged.value) if score is None else judged.value == score
    assert judged.answer == " records"
