import asyncio
import json
from pathlib import Path

import pytest

from autodata.acceptance import scores
from autodata.arms import Arm, make_example
from autodata.domains.cloze.domain import Domain
from autodata.llm import EndpointError
from autodata.recipes import DomainConfig
from autodata.types import (
    CANDIDATE,
    Attempt,
    Candidate,
    Criterion,
    End,
    Judgement,
    Outcome,
    Round,
    Trajectory,
    Verdict,
)
from training.curve import draw_curve, smooth
from training.reward import Reward
from training.rows import TooFewExamples, require_examples

CANDIDATE_JSON = CANDIDATE.dump_json(Candidate("They keep all", "records", (Criterion("next", 1),))).decode()
DOMAIN = Domain(DomainConfig("cloze"), client=None)


def score(domain, completions: list[str]) -> list[float | None]:
    reward = Reward(domain)
    columns = {"prompts": ["p"] * len(completions), "trainer_state": None}
    return asyncio.run(reward.score(completions=completions, candidate=[CANDIDATE_JSON] * len(completions), **columns))


def test_the_reward_is_the_score_of_generation_to_the_bit():
    answers = [" records and", " the records", "", "  "]
    candidate = CANDIDATE.validate_json(CANDIDATE_JSON)
    judged = [asyncio.run(DOMAIN.judge(candidate, a, 0)) for a in answers]
    attempts = [
        Attempt(i, 0, Outcome.OK, a, "", 1, 1, j) for i, (a, j) in enumerate(zip(answers, judged, strict=True))
    ]
    assert score(DOMAIN, answers) == [float(s) for s in scores(candidate, attempts)] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("failure", ["unreadable", "endpoint down"])
def test_a_failed_judge_is_none_and_its_neighbours_keep_their_scores(failure):
    class Flaky(Domain):
        async def judge(self, candidate, answer, seed):
            if answer != " broken":
                return await super().judge(candidate, answer, seed)
            if failure == "endpoint down":
                raise EndpointError("judge at http://x: HTTP 503")
            return Judgement(None, None, "unreadable")

    assert score(Flaky(DomainConfig("cloze"), client=None), [" records", " broken", " x"]) == [1.0, None, 0.0]


def test_too_few_examples_are_refused_at_the_bound():
    candidate = CANDIDATE.validate_json(CANDIDATE_JSON)
    arm = Arm("agentic", "runs/a", (), DomainConfig("cloze", weak_attempts=1, strong_attempts=1), {}, "h", "p")
    tried = Round(1, candidate, None, (), (), Verdict(True))
    example = make_example(arm, Trajectory("d", "d", "agentic", "p", (tried,), End.ACCEPTED), tried, "unknown")
    require_examples([example] * 8, 8, "runs/d")
    with pytest.raises(TooFewExamples, match="runs/d: 7 training examples, fewer than min_examples=8"):
        require_examples([example] * 7, 8, "runs/d")


def test_the_curve_is_a_picture(tmp_path: Path):
    history = [{"step": i, "reward": i / 10} for i in range(10)]
    draw_curve(history, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert smooth([0.0, 1.0]) == [0.0, 0.5]


def test_recipes_send_trainer_keys_that_trl_knows():
    import dataclasses

    from trl import GRPOConfig

    from autodata.config import load
    from autodata.recipes import GrpoRecipe

    known = {f.name for f in dataclasses.fields(GRPOConfig)}
    recipe = load(GrpoRecipe, ["recipes/demo/grpo.yaml"])
    assert set(recipe.trainer) <= known
    assert recipe.trainer["max_completion_length"] == 6
    assert json.dumps(recipe.trainer)
