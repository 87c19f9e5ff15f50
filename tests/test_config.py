"""Tests the reading of recipes: errors that name a key, layers, comments, and the resolved recipe."""

import sys
from dataclasses import replace

import pytest
import yaml

from autodata import config
from autodata.config import RecipeError, explain, load, semantic_hash
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe

MINIMAL = "run: r\ndocuments: {path: docs}\ndomain: {name: skills}\n"


@pytest.fixture
def recipe(tmp_path):
    def write(text=MINIMAL, name="generate.yaml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def rows(*arguments):
    return {key: rest for key, *rest in explain(list(arguments))}


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("sed", "seed"),
        ("documens.path", "documents"),
        ("domain.weak_attemps", "weak_attempts"),
        ("domain.presets.mine.gap_at_lest", "gap_at_least"),
        ("models.endpoints.small.modle", "model"),
        ("models.judge.sampling.temprature", "temperature"),
    ],
)
def test_an_unknown_key_names_the_nearest_right_one(recipe, key, nearest):
    with pytest.raises(RecipeError) as raised:
        load(GenerateRecipe, [recipe(), f"{key}=1"])
    assert str(raised.value).startswith("command line: ")
    assert f"'{nearest}'" in str(raised.value)


def test_an_unknown_key_in_a_file_names_the_file(recipe):
    path = recipe(MINIMAL + "sed: 3\n")
    with pytest.raises(RecipeError, match=r"generate\.yaml: Key 'sed'.*Did you mean: 'seed'"):
        load(GenerateRecipe, [path])


def test_a_missing_value_names_its_keys_and_how_to_give_one(recipe):
    path = recipe("domain: {name: skills}\n")
    with pytest.raises(RecipeError, match=r"no value for documents\.path, run.*documents\.path=…"):
        load(GenerateRecipe, [path])


def test_a_value_of_the_wrong_type_names_its_key(recipe):
    with pytest.raises(RecipeError, match=r"'many'.*Integer.*seed"):
        load(GenerateRecipe, [recipe(), "seed=many"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the first argument must be a recipe"),
        (["seed=1"], "the first argument must be a recipe"),
        (["RECIPE", "seed"], "'seed' is neither a .yaml file nor of the form key=value"),
        (["RECIPE", "--dry-run"], "nor of the form key=value; options stand before the recipe"),
        (["RECIPE", "seed=[1"], "command line: "),
        (["RECIPE", "domain=skills"], "command line: "),
        (["RECIPE", "domain.name=skill"], "domain.name=skill: no such domain; there are cs"),
        (["RECIPE", "domain.name=../skills"], "no such domain"),
    ],
)
def test_wrong_arguments_are_explained(recipe, arguments, message):
    path = recipe()
    with pytest.raises(RecipeError) as raised:
        load(GenerateRecipe, [path if a == "RECIPE" else a for a in arguments])
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "a recipe must be a mapping"),
        ("seed: [1\n", "not a readable YAML file"),
        ("seed: 1\nseed: 2\n", "duplicate key seed"),
        ("include: [generate.yaml]\n", "includes itself"),
        ("include: [generat.yaml]\n", "no such file; did you mean generate.yaml?"),
    ],
)
def test_a_broken_file_is_named(recipe, text, message):
    with pytest.raises(RecipeError, match=r"generate?\.yaml: ") as raised:
        load(GenerateRecipe, [recipe(text)])
    assert message in str(raised.value)


def test_domain_yaml_lies_beneath_the_recipe(recipe):
    domain = load(GenerateRecipe, [recipe()]).domain
    assert (domain.preset, domain.privileged_strong) == ("just_right", True)
    changed = recipe("run: r\ndocuments: {path: d}\ndomain: {name: skills, weak_attempts: 3}\n")
    mine = load(GenerateRecipe, [changed]).domain
    assert mine.weak_attempts == 3
    assert mine == replace(domain, weak_attempts=3)


def test_later_layers_win_and_the_command_line_is_last(recipe):
    recipe("seed: 1\nmodels: {judge: {endpoint: a, sampling: {max_tokens: 5}}}\n", "base.yaml")
    recipe("seed: 2\narm: cot\n", "second.yaml")
    path = recipe(
        "include: [base.yaml, second.yaml]\nmodels: {judge: {endpoint: b}, endpoints: {b: {model: m}}}\n" + MINIMAL
    )
    loaded = load(GenerateRecipe, [path])
    assert (loaded.seed, loaded.arm) == (2, "cot")
    assert loaded.models.judge.endpoint == "b"
    assert loaded.models.judge.sampling.max_tokens == 5
    assert load(GenerateRecipe, [path, "seed=4", "seed=5"]).seed == 5
    assert load(GenerateRecipe, [path, "domain.weak_attempts=9"]).domain.weak_attempts == 9


@pytest.mark.parametrize(
    ("key", "value"),
    [("domain.path", "mine"), ("documents.path", "recipes_of_mine/texts"), ("domain.prompts", "prompts")],
)
def test_a_path_that_is_seen_from_another_folder_names_that_folder(tmp_path, monkeypatch, key, value):
    file = tmp_path / "work" / "recipes_of_mine" / "generate.yaml"
    (tmp_path / "work" / value).mkdir(parents=True)
    file.parent.mkdir(exist_ok=True)
    base = yaml.safe_load(MINIMAL)
    base[key.partition(".")[0]][key.partition(".")[2]] = value
    file.write_text(yaml.safe_dump(base))
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "work"
    with pytest.raises(RecipeError, match=rf"change to the folder {place}, or append {key}={place / value}$"):
        load(GenerateRecipe, [str(file)])
    with pytest.raises(RecipeError) as other:  # what is nowhere, or named in the command, has its own error or none
        load(GenerateRecipe, [str(file), f"{key}=nowhere", "domain.path=nowhere"])
    assert "change to the folder" not in str(other.value)


@pytest.mark.parametrize("width", [40, 80, 130, 200])
def test_no_place_is_broken_on_any_terminal(monkeypatch, capsys, width):
    monkeypatch.setattr(sys, "argv", ["config", "recipes/demo/generate.yaml"])
    for name, value in {"COLUMNS": str(width), "FORCE_COLOR": "1", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)  # as a terminal of this width
    config.main()
    shown = capsys.readouterr().out
    assert all(place in shown for _, _, place, _ in explain(["recipes/demo/generate.yaml"]))
    assert ("┃" in shown) == (width >= 130)


def test_explain_gives_value_place_and_comment(recipe):
    recipe("seed: 1\nmodels:\n  judge:\n    endpoint: small  # paper Sec. 3\n", "base.yaml")
    path = recipe("include: [base.yaml]\n" + MINIMAL + "seed: 2  # ours\n")
    shown = rows(path, "arm=cot")
    assert shown["seed"] == ["2", f"{path}:5", "ours"]
    base = path.replace("generate.yaml", "base.yaml")
    assert shown["models.judge.endpoint"] == ["small", f"{base}:4", "paper Sec. 3"]
    assert shown["arm"] == ["cot", "command line", ""]
    assert shown["documents_in_flight"] == ["16", "default", ""]
    value, place, comment = shown["domain.presets.just_right.weak_mean_at_least"]
    assert (value, comment) == ("0.125", "chosen: 1 of 8, below it every group of GRPO has reward 0")
    line = int(place.removeprefix("autodata/domains/skills/domain.yaml:"))
    text = (config.REPO / "autodata/domains/skills/domain.yaml").read_text().splitlines()
    assert "weak_mean_at_least" in text[line - 1]


def test_explain_shows_what_has_no_value(recipe):
    assert rows(recipe("seed: 1\n"))["run"] == ["???", "default", ""]


def test_explain_resolves_what_the_command_line_takes_from_the_recipe(recipe):
    assert rows(recipe(MINIMAL + "seed: 7\n"), "documents.limit=${seed}")["documents.limit"][:2] == [
        "7",
        "command line",
    ]


def test_a_recipe_survives_its_resolved_yaml(recipe):
    models = ["models.endpoints.a.model=m", "models.weak_solver={endpoint: a, sampling: {max_tokens: 5}}"]
    loaded = load(GenerateRecipe, [recipe(), *models])
    again = load(GenerateRecipe, [recipe(config.to_yaml(loaded), "generate_again.yaml")])
    assert again == loaded
    assert semantic_hash(again) == semantic_hash(loaded)


ENDPOINT = ["models.endpoints.a.model=m", "models.endpoints.a.server.weights=w"]


@pytest.mark.parametrize(
    "change",
    [
        "run=elsewhere",
        "documents.path=elsewhere",
        "documents_in_flight=1",
        "max_error_rate=0.9",
        "journal=j",
        "fork=f",
        "models.endpoints.a.base_url=http://other/v1",
        "models.endpoints.a.timeout_s=1",
        "models.endpoints.a.retries=1",
        "models.endpoints.a.max_in_flight=1",
        "models.endpoints.a.api_key_env=KEY",
        "models.endpoints.a.server.port=1",
        "models.endpoints.a.server.flags.dtype=float32",
        "models.endpoints.a.server.env.X=1",
    ],
)
def test_operational_values_leave_the_identity_alone(recipe, change):
    arguments = [recipe(), *ENDPOINT]
    before, after = (load(GenerateRecipe, a) for a in (arguments, [*arguments, change]))
    assert after != before
    assert semantic_hash(after) == semantic_hash(before)


@pytest.mark.parametrize(
    "change",
    [
        "seed=1",
        "arm=cot",
        "documents.limit=3",
        "domain.weak_attempts=3",
        "domain.preset=wide",
        "domain.presets.just_right.gap_at_least=0.1",
        "domain.privileged_strong=false",
        "models.endpoints.a.model=n",
        "models.endpoints.a.revision=2",
        "models.endpoints.a.server.weights=v",
        "models.judge.endpoint=a",
        "models.judge={endpoint: a, sampling: {extra: {top_k: 5}}}",
    ],
)
def test_values_that_change_results_change_the_identity(recipe, change):
    arguments = [recipe(), *ENDPOINT]
    before = load(GenerateRecipe, arguments)
    assert semantic_hash(load(GenerateRecipe, [*arguments, change])) != semantic_hash(before)


def test_the_recipe_of_an_older_run_may_have_keys_that_are_gone(recipe):
    kept = recipe(f"guidance: null\nmetrics_port: null\n{MINIMAL}", "recipe.yaml")
    with pytest.raises(RecipeError, match="guidance"):
        load(GenerateRecipe, [kept])
    recipe("{}", "manifest.json")
    assert load(GenerateRecipe, [kept]) == load(GenerateRecipe, [recipe()])


def test_the_file_name_selects_the_schema():
    assert config.schema_for("recipes/demo/generate_cot.yaml") is GenerateRecipe
    assert config.schema_for("dataset.yaml") is DatasetRecipe
    with pytest.raises(RecipeError, match=r"other\.yaml: no such file"):
        config.schema_for("other.yaml")
    with pytest.raises(RecipeError, match="must begin with one of download, ingest, generate, dataset"):
        config.schema_for("recipes/accelerate/cpu.yaml")


def test_the_recipe_in_a_run_folder_belongs_to_the_command_that_made_the_run(recipe):
    kept = recipe(MINIMAL, "recipe.yaml")
    recipe('{"inputs": {"kind": "generate"}}', "manifest.json")
    assert config.schema_for(kept) is GenerateRecipe
    with pytest.raises(
        RecipeError, match=r"recipe for python -m autodata\.generate, not for python -m autodata\.eval"
    ):
        load(EvalRecipe, [kept])
    for damaged in ("{", "[]", '{"inputs": 1}', "{}"):
        recipe(damaged, "manifest.json")
        with pytest.raises(RecipeError, match="must begin with one of"):
            config.schema_for(kept)


@pytest.mark.parametrize("schema", [GenerateRecipe, DatasetRecipe, TableRecipe, EvalRecipe])
def test_a_file_beside_the_recipes_that_is_none_is_named(schema, recipe):
    for choose in (config.schema_for, lambda name: load(schema, [name])):
        with pytest.raises(RecipeError, match=r"only says which models are asked; name a recipe before it"):
            choose("recipes/models/openai.yaml")
    with pytest.raises(RecipeError, match=r"describes a domain; name a recipe whose domain\.path is its folder"):
        load(schema, [recipe("weak_attempts: 3", "domain.yaml")])


def test_a_recipe_that_brings_its_models_along_is_one(recipe):
    recipe("run: somewhere", "base.yaml")
    with pytest.raises(RecipeError, match=r"mine\.yaml: no value for .*documents\.path"):
        load(GenerateRecipe, [recipe("include: [base.yaml]\nmodels: {}", "mine.yaml")])


@pytest.mark.parametrize("change", ["run=${oc.env:NO_SUCH_VARIABLE}", "domain.name=${nope}"])
def test_an_interpolation_that_fails_is_a_recipe_error(recipe, change):
    with pytest.raises(RecipeError):
        explain([recipe(), change])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("models.endpoints.small.price=5", r"models\.endpoints\.small\.price=5: write a mapping"),
        ("models.endpoints.small.headers=[a]", r"models\.endpoints\.small\.headers=\['a'\]: write a mapping"),
        ("models.endpoints.small.batch=true", r"models\.endpoints\.small\.batch=True: write a mapping"),
        ("models.endpoints.small.price={input: a, output: 2}", r"full_key: models\.endpoints\.small\.price\.input"),
        ("budget=5", "budget=5: write a mapping"),
        ("domain.roles=judge", r"domain\.roles"),
    ],
)
def test_a_value_of_another_form_is_named(value, message):
    with pytest.raises(RecipeError, match=message):
        load(GenerateRecipe, ["recipes/demo/generate.yaml", value])
