"""Tests plans of evaluations: their problems, answers, judgements and graders, and the GPUs that servers share."""

import json
import re
from copy import deepcopy
from pathlib import Path

import pytest

from autodata.config import RecipeError
from autodata.eval.sampled_answers import ANSWERS, SAMPLED_ANSWER, SampledAnswer
from autodata.plan.evaluation import plan_evaluation
from autodata.plan.problems import count_examples, list_problems
from autodata.plan.simulation import Station, TooFewGpus, count_held, grow, share_gpu_seconds, simulate
from autodata.plan.speed import ReplicaSpeed
from autodata.plan.workload import Call, Story
from autodata.run.folder import Run
from autodata.serving.costs import LEDGER, Cost
from autodata.types import Outcome, Role
from tests.helpers.commands import options, plan
from tests.helpers.recipes import ON_CPU, load_committed

CS, PRBENCH = "recipes/cs/eval_base.yaml", "recipes/legal/prbench_base.yaml"
RECIPES = sorted(str(p) for name in ("eval", "prbench") for p in Path("recipes").glob(f"*/{name}_*.yaml"))
__all__ = ["plan"]  # a fixture
SPEED = ReplicaSpeed(0.001, 0.01, 0.001)


@pytest.fixture
def cs_run(tmp_path) -> Path:
    """Write a finished evaluation: 10 answers of 100 tokens, of which 5 were judged."""
    recipe = load_committed(CS, f"run={tmp_path / 'run'}")
    answers = [SampledAnswer("cot_test", f"e{i}", "d", 1, 1.0, Outcome.ANSWERED, True, 100) for i in range(10)]
    ledger = {Role.WEAK_SOLVER: Cost(10, prompt_tokens=500, completion_tokens=1000),
              Role.JUDGE: Cost(5, prompt_tokens=1000, completion_tokens=50)}  # fmt: skip
    with Run(recipe.run, "eval", recipe, {}) as run:
        run.start()
        run.write(ANSWERS, "".join(SAMPLED_ANSWER.dump_json(a).decode() + "\n" for a in answers))
        run.note(ledger=json.loads(LEDGER.dump_json(ledger)), evaluated={"model": "Qwen/Qwen3.5-4B"})
        run.finish([])
    return tmp_path / "run"


@pytest.mark.parametrize("path", [path for path in RECIPES if not path.startswith(ON_CPU)])
def test_every_evaluation_of_the_repository_can_be_planned(path):
    recipe = load_committed(path)
    made = plan_evaluation(recipe, options(documents=5))
    assert made.total == 5 * len(list_problems(recipe)) * recipe.samples
    assert made.summarize(None)["GPUs"] in ("16", "40")
    assert made.show("recipe")


@pytest.mark.parametrize("path", [path for path in RECIPES if path.startswith(ON_CPU)])
def test_an_evaluation_on_the_cpu_is_as_fast_as_the_embedded_model(path):
    made = plan_evaluation(load_committed(path, "dataset=/not/made/yet"), options())
    assert made.total == 4 * (156 + 8)
    assert made.gpus == 0
    (station,) = made.stations.values()
    assert station.speed.origin == "chosen, unmeasured"
    assert 5 < made.seconds[0] < 600


def test_an_evaluation_of_a_model_of_unknown_speed_leaves_time_open(plan):
    path = "recipes/demo/eval_base.yaml", "dataset=/not/made/yet", "models.endpoints.small.model=other"
    out = " ".join(plan(*path).replace("│", " ").split())
    assert "wall-clock –; the speed of small is not known; give it with --speed small=" in out
    assert "wall-clock –" not in " ".join(plan(*path, "--speed", "small=1000,50,64").replace("│", " ").split())


def test_the_papers_sizes_stand_in_for_a_data_set(plan):
    assert {name: p.count for name, p in list_problems(load_committed(CS)).items()} == {
        "cot_test": 100,
        "agentic_test": 100,
    }
    assert {name: p.count for name, p in list_problems(load_committed(PRBENCH)).items()} == {
        "prbench_legal": 500,
        "prbench_legal_hard": 250,
    }
    science = list_problems(load_committed("recipes/science/eval_base.yaml"))
    assert science["principia_bench"].count == 2113


def test_files_on_this_machine_are_counted():
    sample = load_committed(PRBENCH, "prbench.path=recipes/legal/prbench_sample", "prbench.splits=[legal]")
    lines = Path("recipes/legal/prbench_sample/legal.jsonl").read_text().splitlines()
    assert list_problems(sample)["prbench_legal"].count == len(lines)
    limited = load_committed(PRBENCH, "prbench.limit=3")
    assert [problems.count for problems in list_problems(limited).values()] == [3, 3]


def test_every_grader_checks_every_criterion():
    recipe = load_committed(PRBENCH, "graders.qwen3_5_397b_a17b={endpoint: strong, sampling: {max_tokens: 99}}")
    made = plan_evaluation(recipe, options(documents=4))
    outcome = made.outcomes[0]
    assert outcome.calls == {Role.WEAK_SOLVER: 8, "kimi": 8 * 18, "qwen3_5_397b_a17b": 8 * 18}
    assert made.served["qwen3_5_397b_a17b"] == "strong"


def test_a_run_gives_tokens_and_judgements(cs_run):
    made = plan_evaluation(load_committed(CS), options(like=cs_run, documents=100))
    outcome = made.outcomes[0]
    assert outcome.calls[Role.WEAK_SOLVER] == made.simulated == 600
    assert outcome.completion[Role.WEAK_SOLVER] == 100 * 600
    assert outcome.prompt[Role.WEAK_SOLVER] == 50 * 600
    assert outcome.calls[Role.JUDGE] == pytest.approx(300, rel=0.2)  # half of the answers were judged
    assert outcome.prompt[Role.JUDGE] == 200 * outcome.calls[Role.JUDGE]
    assert made.total == 600


def test_gpus_are_split_over_solver_and_judge():
    made = plan_evaluation(load_committed(CS), options(documents=20, gpus=17))
    assert made.gpus <= 17
    assert made.stations["kimi"].replicas >= 1


@pytest.mark.parametrize(("arguments", "message"), [
    ([CS, "dataset=null"], "nothing to evaluate on"),
    ([CS, "--gpus", 8], "one replica of each endpoint takes 9 (kimi 8, weak 1); give at least 9"),
    ([CS, "--accepted", 3], "only documents of a generation are accepted"),
    ([PRBENCH, "prbench.splits=[poetry]"], "prbench.splits: unknown split poetry"),
    ([CS, "--like", "runs/none"], "runs/none: no such run"),
])  # fmt: skip
def test_what_cannot_be_planned_says_why(plan, arguments, message):
    assert message in plan(*arguments)


def test_a_data_set_of_a_domain_without_priors_has_to_be_there():
    with pytest.raises(RecipeError, match="/nope: no such data set, and its size is not known; make it with"):
        count_examples("/nope", "cot_test", "own")


def test_a_run_of_another_kind_is_refused(plan, cs_run):
    assert "a run of kind eval; name one of kind grpo, which training/grpo.py makes" in plan(
        "recipes/cs/grpo.yaml", "recipes/models/paper.yaml", "--like", cs_run
    )


# ── servers that share a GPU ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("arguments", "gpus"), [(["--gpus", 1], 1), ([], 1)])
def test_the_recipe_for_one_gpu_takes_one_gpu(plan, arguments, gpus):
    documents = "documents.path=recipes/cs/documents"
    out = plan("recipes/cs/generate.yaml", "recipes/models/one_gpu.yaml", documents, *arguments)
    assert re.search(rf"GPUs +│ {gpus} ", out)


def share(place: str) -> dict[str, Station]:
    return {name: Station(SPEED, 1, 64, gpus=1, place=place) for name in ("weak", "large")}


@pytest.mark.parametrize(("place", "held"), [("shared", {"shared": 1}), ("", {"weak": 1, "large": 1})])
def test_shared_gpus_count_once(place, held):
    assert count_held(share(place)) == held


def test_servers_that_share_a_gpu_fit_one_and_never_grow():
    work = {"weak": 1.0, "large": 5.0}
    assert list(grow(share("shared"), work, 1)) == [{"weak": 1, "large": 1}]
    assert list(grow(share("shared"), work, 4)) == [{"weak": 1, "large": 1}]
    with pytest.raises(TooFewGpus, match=r"takes 2 \(weak 1, large 1\)"):
        list(grow(share(""), work, 1))


@pytest.mark.parametrize(("place", "gpus"), [("shared", 1), ("", 2)])
def test_the_seconds_of_a_place_are_shared_by_its_roles(place, gpus):
    served, stations = {Role.WEAK_SOLVER: "weak", Role.JUDGE: "large"}, share(place)
    story = Story((((Call(Role.WEAK_SOLVER, 10, 10),),), ((Call(Role.JUDGE, 10, 30),),)), 0, False)
    outcome = simulate([story], served, stations, 1)
    shares = share_gpu_seconds(outcome, served, stations)
    assert sum(shares.values()) == pytest.approx(gpus * outcome.seconds)
    assert shares[Role.JUDGE] >= shares[Role.WEAK_SOLVER]


def test_a_domain_of_ones_own_is_asked_as_many_problems_as_the_one_that_it_is_like():
    recipe = deepcopy(load_committed(CS, "dataset=/not/made/yet"))
    known = list_problems(recipe)
    recipe.domain.name, recipe.domain.like = "mine", "cs"
    assert list_problems(recipe) == known
    recipe.domain.like = None
    with pytest.raises(RecipeError, match="no such data set, and its size is not known"):
        list_problems(recipe)
