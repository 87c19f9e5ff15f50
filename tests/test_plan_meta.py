"""Tests plans of meta-optimisation, of labelling questions, and of the commands that call no model."""

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from autodata.config import RecipeError, load
from autodata.plan.commands import estimate_command, estimate_ingest, measure_corpus
from autodata.plan.evaluation import plan_question_types
from autodata.plan.meta import _Draw, _make_workload, count_documents, estimate_documents, plan_meta
from autodata.plan.simulation import Station, simulate
from autodata.plan.speed import ReplicaSpeed
from autodata.plan.workload import Call, Story
from autodata.recipes.corpora import IngestRecipe
from autodata.recipes.evaluation import QuestionTypesRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.types import Role
from tests.helpers.commands import options
from tests.helpers.training_world import make_dataset

PAPER = "recipes/models/paper.yaml"
SMALL = ("iterations=3", "splits={training: 4, validation: 3, test: 2}", "minibatch=2", "domain.max_rounds=2")


def meta(*changes: str) -> MetaRecipe:
    return load(MetaRecipe, ["recipes/meta/cs.yaml", PAPER, *SMALL, *changes])


@pytest.mark.parametrize(("inner", "seconds"), [(1, 4.0), (2, 2.0)])
def test_stories_in_a_story_run_as_many_at_a_time_as_there_is_room(inner, seconds):
    part = Story((((Call(Role.JUDGE, 0, 10),),),), 1, True)
    whole = Story((((part,), (part,)), ((part,), (part,))), 0, True)
    station = Station(ReplicaSpeed(0, 0.1, 0), 1, 64)
    outcome = simulate([whole], {Role.JUDGE: "small"}, {"small": station}, 1, inner)
    assert outcome.seconds == pytest.approx(seconds)
    assert len(outcome.finished) == 4  # the parts
    assert outcome.calls == Counter({Role.JUDGE: 4})


def test_the_strict_rule_tries_as_many_documents_in_every_iteration():
    recipe = meta("acceptance.rule=strict")
    expected = (
        3 * (2 + 2 * 3) + 4 * 3 + 2 * 4 * 2
    )  # iterations, passes of the baseline, passes over the test documents
    assert estimate_documents(recipe, _make_workload(recipe, options())) == expected


def test_an_iteration_learns_asks_for_an_edit_and_compares():
    recipe = meta()
    draw = _Draw(recipe, _make_workload(recipe, options()))
    story = draw.make(None, random.Random(0))
    learned, edit, compared = story.stages[:3]
    assert len(learned) == 2
    assert [call.role for call in edit[0]] == [Role.ANALYSER, Role.EDITOR]
    assert len(compared) == 2 * 3
    assert count_documents(draw.make(5, random.Random(0))) == 5
    unchanged = _Draw(meta("mutation=none"), draw.workload).make(None, random.Random(0))
    assert len(unchanged.stages[0]) == 2 * 3


def test_a_plan_says_whether_iterations_have_time_enough():
    plan = plan_meta(meta(), options())
    assert plan.warn_of_limit() == ""
    assert plan.summarize(None)["an iteration"] == "ends within iteration_hours=6"
    assert re.search(
        r"^\d+ \(\d+ simulated\); calls from priors.yaml, unmeasured$", plan.summarize(None)["documents tried"]
    )
    short = plan_meta(meta("iteration_hours=0.001"), options())
    assert re.search(r"but iteration_hours=0.001 ends it: raise replicas of kimi or", short.warn_of_limit())


def test_the_documents_of_a_search_are_set_in_its_recipe():
    with pytest.raises(RecipeError, match=r"set splits\.training, splits\.validation and splits\.test"):
        plan_meta(meta(), options(documents=3))


def test_as_many_questions_are_labelled_as_the_data_set_has(tmp_path):
    recipe = load(QuestionTypesRecipe, ["recipes/science/question_types.yaml", PAPER])
    plan = plan_question_types(recipe, options())
    assert (plan.total, plan.tokens, plan.bottleneck) == (1000, 6_000_000, ("kimi", Role.JUDGE))
    recipe.dataset = str(make_dataset(tmp_path / "data"))
    assert 0 < plan_question_types(recipe, options()).total < 1000
    assert plan_question_types(recipe, options(documents=7)).total == 7
    with pytest.raises(RecipeError, match="--like x: no run says how long labels are"):
        plan_question_types(recipe, options(like=Path("x")))


def test_an_ingest_takes_as_long_as_its_files_are_large(tmp_path):
    recipe = load(IngestRecipe, ["recipes/ingest/ingest_s2orc.yaml", f"path={tmp_path / 'none'}", "papers=null"])
    assert measure_corpus(recipe) == 225
    assert estimate_ingest(recipe) == pytest.approx(60 + 3600 * 225 / 36 / 16)
    recipe.workers = 1
    assert estimate_ingest(recipe) == pytest.approx(60 + 3600 * 225 / 36)
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.jsonl").write_bytes(b"x" * 500_000)
    recipe.path = str(tmp_path)
    assert measure_corpus(recipe) == 0.0005


def test_a_command_that_calls_models_is_not_looked_up():
    assert estimate_command("autodata.verify") == 60
    assert estimate_command("autodata.generate") is None
