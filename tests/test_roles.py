"""Tests that every role is sampled the same way in every command of a domain, with a stated budget."""

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from autodata.config import RecipeError, load, schema_for
from autodata.recipes.budgets import list_called_roles
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Models, RoleConfig, Sampling
from autodata.recipes.training import GrpoRecipe
from autodata.serving.request import resolve_sampling
from tests.helpers.recipes import MODELS, load_committed

REPO = Path(__file__).parent.parent
COMMANDS = ("generate*", "grpo*", "eval*", "prbench*", "question_types*")
BESIDE = {"cs": ["judge_audit/judge_audit", *(f"meta/{p.stem}" for p in (REPO / "recipes/meta").glob("cs*.yaml"))]}
RECIPES = {
    domain: sorted(
        {f"{domain}/{p.stem}" for command in COMMANDS for p in (REPO / "recipes" / domain).glob(f"{command}.yaml")}
        | {*BESIDE.get(domain, [])}
    )
    for domain in ("cs", "legal", "science")
}
RENAMED = ["graders.kimi=null", "graders.judge=${models.judge}"]  # recipes in which another model than Kimi grades
Answer = tuple[str, str, dict]  # endpoint, its model, its sampling


def load_with(recipe: str, models: str | None) -> Any:
    """Load a recipe with one of the models files; None is the paper's."""
    renamed = RENAMED if "prbench" in recipe and models != "paper" else []
    return load_committed(f"recipes/{recipe}.yaml", *(MODELS[models] if models else []), *renamed)


@cache
def read(recipe: str, models: str | None) -> dict[str, tuple]:
    """Return the endpoint, model and sampling of each role, under the role's name in generation."""
    loaded = load_with(recipe, models)
    answers = {key: describe(loaded.models, role) for key, role in list_called_roles(loaded).items()}
    by_role = {key.removeprefix("models."): answer for key, answer in answers.items() if key.startswith("models.")}
    if "prbench" in recipe:
        (by_role["judge"],) = (answer for key, answer in answers.items() if key.startswith("graders."))
    asks = (loaded.domain.criteria_per_call, loaded.domain.judge_retries)
    return by_role | {"judge": (*by_role["judge"], *asks)}


def describe(models: Models, role: RoleConfig) -> Answer:
    endpoint = models.endpoints[role.endpoint]
    return role.endpoint, endpoint.model, asdict(resolve_sampling(role.sampling, endpoint.sampling, "role"))


@pytest.mark.parametrize("models", MODELS)
@pytest.mark.parametrize(("domain", "recipe"), [(d, r) for d, recipes in RECIPES.items() for r in recipes])
def test_a_role_answers_alike_in_all_commands_of_a_domain(domain, recipe, models):
    reference, answers = read(f"{domain}/generate", models), read(recipe, models)
    shared = answers.keys() & reference.keys()
    assert "judge" in shared
    assert {role: answers[role] for role in shared} == {role: reference[role] for role in shared}
    if "question" not in recipe and "grpo" not in recipe and "audit" not in recipe:
        budget = reference["weak_solver"][2]["max_tokens"]
        evaluated = load_with(recipe, models).models.weak_solver
        assert evaluated.sampling.max_tokens == budget, "the evaluated model has the same room"


@pytest.mark.parametrize("recipe", [r for paths in RECIPES.values() for r in paths if "/eval" in r or "prbench" in r])
def test_an_evaluation_without_a_models_file_asks_the_papers_judge(recipe):
    models = load_committed(f"recipes/{recipe}.yaml")
    judges = [role for key, role in list_called_roles(models).items() if key != "evaluated"]
    paper = read(f"{recipe.split('/')[0]}/generate", "paper")["judge"]
    assert [describe(models.models, judge) for judge in judges] == [paper[:3]]


def test_a_role_without_a_budget_is_an_error_that_names_file_and_key(tmp_path):
    path = tmp_path / "generate.yaml"
    path.write_text(
        "run: r\ndocuments: {path: d}\ndomain: {name: cs}\n"
        "models: {endpoints: {a: {model: m}}, judge: {endpoint: a}}\n"
    )
    with pytest.raises(RecipeError, match=r"generate\.yaml: no value for models\.judge\.sampling\.max_tokens"):
        load(GenerateRecipe, [str(path)])
    assert load(GenerateRecipe, [str(path), "models.endpoints.a.sampling.max_tokens=7"])
    assert load(GenerateRecipe, [str(path), "domain.name=skills"]), "whose code judges"


@pytest.mark.parametrize(
    ("recipe", "more", "key"),
    [
        ("cs/grpo", ["second_judge.endpoint=kimi"], "second_judge"),
        ("cs/generate", ["models.orchestrator.sampling.max_tokens=null"], "models.orchestrator"),
        ("meta/cs", ["models.editor.sampling.max_tokens=null"], "models.editor"),
        ("cs/eval_base", ["models.weak_solver.sampling.max_tokens=null"], "evaluated"),
        ("legal/prbench_base", ["graders.judge={endpoint: kimi}"], "graders.judge"),
        ("science/question_types", ["models.judge.sampling.max_tokens=null"], "models.judge"),
    ],
)
def test_every_command_checks_the_roles_that_it_asks(recipe, more, key):
    arguments = [f"recipes/{recipe}.yaml", "recipes/models/paper.yaml", *more]
    with pytest.raises(RecipeError) as raised:
        load(schema_for(arguments[0]), arguments)
    assert f"{recipe}.yaml: no value for {key}.sampling.max_tokens" in str(raised.value)


def test_a_role_that_a_command_never_asks_needs_no_budget():
    more = ["models.orchestrator.sampling.max_tokens=null", "orchestrator=fixed"]
    assert load(GenerateRecipe, ["recipes/cs/generate.yaml", "recipes/models/paper.yaml", *more])
    trained = load(GrpoRecipe, ["recipes/cs/grpo.yaml", "recipes/models/paper.yaml"])
    assert trained.models.challenger is trained.models.weak_solver is None, "nobody serves them for a training"
    assert trained.models.judge.endpoint == "kimi"


def test_a_budget_that_its_server_cannot_hold_is_an_error_and_one_elsewhere_is_not():
    arguments = ["recipes/science/generate.yaml", "recipes/models/one_node.yaml"]
    arguments.append("models.endpoints.weak.server.flags.max-model-len=65536")
    with pytest.raises(RecipeError, match=r"models\.weak_solver\.sampling\.max_tokens=65536: .*max-model-len=65536"):
        load(GenerateRecipe, arguments)
    assert load(GenerateRecipe, [*arguments, "models.endpoints.weak.base_url=http://there/v1"])


def test_models_made_in_python_have_no_silent_budget_either():
    with pytest.raises(RecipeError, match=r"models\.judge\.sampling\.max_tokens is not set"):
        resolve_sampling(Sampling(0.5), Sampling(), "judge")
    assert resolve_sampling(Sampling(0.5), Sampling(max_tokens=3), "judge") == Sampling(0.5, None, 3)
