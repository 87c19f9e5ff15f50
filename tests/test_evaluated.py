"""Tests that a models file, a label or a running server cannot swap the evaluated model for another."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from autodata import config
from autodata.cluster import commands, fleet
from autodata.config import RecipeError, load
from autodata.doctor import data
from autodata.doctor.finding import Mark
from autodata.eval.tables.rows import check_rows
from autodata.recipes.evaluated import EVALUATED, is_family, is_name
from autodata.recipes.evaluation import EvalRecipe, TableRow
from autodata.recipes.training import GrpoRecipe
from autodata.run import identity
from autodata.run.folder import identify_weights
from autodata.run.records import RunError, hash_path
from tests.helpers import fake_server as fake
from tests.helpers.fake_server import completion, fake_server
from tests.helpers.recipes import MODELS, load_committed
from tests.test_roles import RENAMED

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent
RECIPES = sorted(
    p
    for d in ("cs", "demo", "legal", "science")
    for kind in ("eval", "prbench")
    for p in (REPO / "recipes" / d).glob(f"{kind}*.yaml")
)
SERVED = {
    "eval_base": "Qwen/Qwen3.5-4B",
    "prbench_base": "Qwen/Qwen3.5-4B",
    "prbench_strong": "Qwen/Qwen3.5-397B-A17B-FP8",
}
TRAINED = {"agentic": "grpo", "cot": "grpo_cot", "combined": "grpo_combined", "trained": "grpo"}


def expect(path: Path) -> str:
    """Return the weights that a recipe's name promises."""
    domain, name = path.parent.name, path.stem
    if domain == "demo" and name == "eval_base":
        return "embedded"
    if name in SERVED:
        return SERVED[name]
    training = TRAINED[name.rpartition("_")[2]]
    return f"runs/{domain}/{training}/{'model_at_200' if domain == 'cs' else 'model'}"


def read(path: Path, *more: str) -> EvalRecipe:
    return load(EvalRecipe, [str(path.relative_to(REPO)), *more])


@pytest.mark.parametrize("models", [None, *MODELS])
@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_no_models_file_swaps_what_is_evaluated(path, models):
    more = [*(MODELS[models] if models else []), *(RENAMED if "prbench" in path.stem else [])]
    recipe = load_committed(str(path.relative_to(REPO)), *more)
    endpoint = recipe.models.endpoints[recipe.models.weak_solver.endpoint]
    assert endpoint.server.weights == recipe.evaluated.weights == expect(path)
    used = {
        recipe.models.weak_solver.endpoint,
        *(role.endpoint for role in (recipe.models.judge,) if role),
        *(role.endpoint for role in recipe.graders.values()),
    }
    assert set(recipe.models.endpoints) == used
    others = ("challenger", "quality_verifier", "orchestrator", "strong_solver", "analyser", "editor")
    assert [getattr(recipe.models, role) for role in others] == [None] * 6
    assert (recipe.models.judge is None) == ("prbench" in path.stem or path.parent.name == "demo")
    graders = {role.endpoint for role in recipe.graders.values()}
    served = {name for name in used if recipe.models.endpoints[name].server}
    assert set(fleet.find_served(recipe.models, graders)) == served
    if sum(recipe.models.endpoints[name].server.shares_gpus for name in served) < 2:
        assert {g.endpoint for g in fleet.plan(recipe.models, Path("runs/x"), 8, graders)} == served


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recipe_is_the_same_when_its_resolved_yaml_is_read_again(path, tmp_path):
    first = load_committed(str(path.relative_to(REPO)))
    (tmp_path / "eval.yaml").write_text(config.to_yaml(first))
    again = load(EvalRecipe, [str(tmp_path / "eval.yaml")])
    assert again == first
    assert config.semantic_hash(again) == config.semantic_hash(first)
    assert replace(first) == first


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_the_label_of_a_recipe_belongs_to_its_weights(path, tmp_path, monkeypatch):
    recipe = read(path)
    monkeypatch.chdir(tmp_path)
    if "/" in recipe.evaluated.weights and recipe.evaluated.weights.startswith("runs/"):
        with pytest.raises(RecipeError, match=r"evaluated\.weights=runs/.*: no such folder; train the model first"):
            identity.check_label(recipe)
        trained = Path(recipe.evaluated.weights).parent.name
        source = load(
            GrpoRecipe,
            [
                str(REPO / f"recipes/{path.parent.name}/{trained}.yaml"),
                *([] if path.parent.name == "demo" else [str(REPO / "recipes/models/paper.yaml")]),
            ],
        )
        weights = Path(recipe.evaluated.weights)
        make_training(weights.parent, source.arms, base=source.model, name=weights.name)
        kept = [f"model_at_{step}" for step in source.save_models_at]
        assert weights.name in ["model", *kept]  # the training saves what is evaluated
    identity.check_label(recipe)
    with pytest.raises(RecipeError, match="label=Another"):
        identity.check_label(replace(recipe, label="Another"))


def make_training(run: Path, arms: list[str], base: str = "Qwen/Qwen3.5-4B", name: str = "model") -> Path:
    """Write the part of a finished training of 240 steps that an evaluation reads."""
    (run / name).mkdir(parents=True)
    (run / name / "model.safetensors").write_text("w")
    inputs = {"kind": "grpo", "arms": arms, "model": base}
    (run / "manifest.json").write_text(json.dumps({"inputs": inputs, "finished": "now", "steps": 240}))
    return run / name


@pytest.mark.parametrize(
    ("arms", "label", "fits"),
    [
        (["agentic"], "4B + RL Agentic data", True),
        (["agentic"], "4B + RL CoT data", False),
        (["agentic"], "Qwen3.5-4B", False),
        (["agentic"], "Agentic and CoT", False),
        (["agentic"], "Qwen3.5-397B + RL Agentic data", False),
        (["agentic"], "Kimi-K2.6 Agentic", False),
        (["agentic"], "untrained baseline (agentic test)", False),
        (["best_of_n"], "4B, best-of-n", True),
        (["cot", "agentic"], "Combined", True),
        (["cot", "agentic"], "CoT and agentic", True),
        (["cot", "agentic"], "Agentic", False),
        (["cot"], "Combined", False),
    ],
)
def test_a_label_names_the_arms_that_were_trained_on(arms, label, fits, tmp_path):
    weights = make_training(tmp_path / "grpo", arms)
    recipe = read(REPO / "recipes/cs/eval_agentic.yaml", f"evaluated.weights={weights}", f"label='{label}'")
    finding = data.check_label(recipe)
    assert (finding.mark is Mark.OK) == fits
    if fits:
        return
    assert f"is Qwen3.5-4B, trained on {' and '.join(arms)}; write a label" in finding.detail
    suggested = finding.detail.rpartition("label='")[2].rstrip("'")
    identity.check_label(replace(recipe, label=suggested))


@pytest.mark.parametrize(
    ("name", "model", "fits"),
    [
        ("Qwen3.5-4B", "Qwen/Qwen3.5-4B", True),
        ("Qwen3.5-397B-A17B", "Qwen/Qwen3.5-397B-A17B-FP8", True),
        ("SmolLM2-135M", "smollm2-135m-instruct", True),
        ("DeepSeek V3", "deepseek/deepseek-v3-0324", True),
        ("gpt-4o", "openai/gpt-4o-mini", False),
        ("4B", "Qwen/Qwen3-14B", False),
        ("7B", "Qwen/Qwen3.5-397B-A17B", False),
        ("e", "owner/everything", False),
        ("Qwen3.5-4B", "someone/Qwen3.5-4B-RL-Agentic-cheat", False),
        ("", "a/b", False),
    ],
)
def test_a_name_is_a_models_by_its_words(name, model, fits):
    assert is_name(name, model) is fits


@pytest.mark.parametrize(
    ("name", "model", "fits"),
    [("kimi", "moonshotai/Kimi-K2.6", True), ("gpt5", "openai/gpt-5", True), ("gpt5", "openai/gpt-5-mini", False),
     ("gpt", "openai/gpt-5-mini", False), ("fake", "fake", True), ("kimi", "openai/gpt-5", False),
     ("kimi_k2_6", "moonshotai/Kimi-K2.6", True), ("smollm2", "smollm2-135m-instruct", False),
     ("smollm2_135m", "smollm2-135m-instruct", True)],
)  # fmt: skip
def test_a_grader_stands_for_a_family_and_not_for_a_smaller_sister(name, model, fits):
    assert is_family(name, model) is fits


@pytest.mark.parametrize("label", ["4B + RL Agentic data", "Qwen3.5-397B", "Qwen3.5-4B + CoT", "+"])
def test_untrained_weights_bear_their_own_name(label):
    recipe = read(REPO / "recipes/cs/eval_base.yaml", f"label={label}")
    with pytest.raises(RecipeError, match=r"the evaluated model Qwen/Qwen3\.5-4B, .*write label=Qwen3\.5-4B"):
        identity.check_label(recipe)


def test_only_the_recipe_and_the_command_line_say_what_is_evaluated(tmp_path):
    base, appended = "recipes/cs/eval_base.yaml", tmp_path / "models.yaml"
    for line in ("evaluated: {weights: embedded}", "label: mine"):
        appended.write_text(f"{line}\n")
        key = line.partition(":")[0]
        with pytest.raises(RecipeError, match=rf"models\.yaml: {key} belongs to {base}.*append {key}="):
            load(EvalRecipe, [base, str(appended)])
        including = tmp_path / "eval_mine.yaml"
        including.write_text(f"include: [{REPO / base}, models.yaml]\n")
        assert load(EvalRecipe, [str(including)])
    recipe = load(EvalRecipe, [base, "evaluated.weights=owner/other", "label=other"])
    assert recipe.models.endpoints[EVALUATED].server.weights == "owner/other"
    assert recipe.models.endpoints[EVALUATED].model == "owner/other"


def test_an_endpoint_in_a_models_file_does_not_swap_the_weights(tmp_path):
    appended = tmp_path / "models.yaml"
    appended.write_text("models: {endpoints: {weak: {server: {weights: owner/other}}}}\n")
    recipe = load(EvalRecipe, ["recipes/cs/eval_base.yaml", str(appended)])
    assert recipe.models.endpoints[recipe.models.weak_solver.endpoint].server.weights == "Qwen/Qwen3.5-4B"
    appended.write_text("models: {endpoints: {evaluated: {model: m, server: {weights: owner/other}}}}\n")
    with pytest.raises(
        RecipeError,
        match=r"models\.endpoints\.evaluated\.server: the command makes this server from evaluated\.weights=runs",
    ):
        load(EvalRecipe, ["recipes/cs/eval_agentic.yaml", str(appended)])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["evaluated.endpoint=nobody"], r"evaluated\.endpoint=nobody: not in models\.endpoints \(weak, strong, kimi"),
        (["evaluated.endpoint=a", "models.endpoints.a.model=m"], "has no server to load evaluated.weights=Qwen"),
        (
            ["prbench.path=p", "graders.gpt5=${models.judge}"],
            r"graders\.gpt5: this grader is moonshotai/Kimi-K2\.6.*append graders\.gpt5=null, .* graders\.kimi_k2_6=",
        ),
        (["prbench.path=p", "graders.kimi.endpoint=nobody"], r"graders\.kimi\.endpoint=nobody: not in models"),
    ],
)
def test_what_cannot_be_served_is_named_when_the_recipe_is_read(values, message):
    with pytest.raises(RecipeError, match=message):
        read(REPO / "recipes/cs/eval_base.yaml", *values)


def test_a_campaign_says_where_the_trained_weights_are_served(tmp_path, monkeypatch):
    """The campaign serves an endpoint that is in no file, and the command finds that endpoint."""
    arguments, started = ["recipes/cs/eval_agentic.yaml", "recipes/models/paper.yaml"], []
    monkeypatch.setattr(commands.subprocess, "Popen", lambda command, **_: started.append(command))
    models = load(EvalRecipe, arguments).models
    routers = {name: SimpleNamespace(url=f"http://{name}/v1", workers={"w"}) for name in models.endpoints}
    campaigns = {name: (SimpleNamespace(routers=routers, leases=tmp_path), "KEY") for name in routers}
    commands.Command(["autodata.eval.run", *arguments], models, campaigns).start_if_ready()
    _, _, module, *command_line = started[0]
    served = load(EvalRecipe, command_line).models.endpoints
    assert (module, set(served)) == ("autodata.eval.run", {EVALUATED, "kimi"})
    assert {name: e.base_url for name, e in served.items()} == {n: r.url for n, r in routers.items()}
    assert {(e.leases, e.api_key_env) for e in served.values()} == {(str(tmp_path), "KEY")}
    assert served[EVALUATED].server.weights == "runs/cs/grpo/model_at_200"
    assert served[EVALUATED].model == models.endpoints[EVALUATED].model == "cs/grpo/model_at_200"


def test_the_address_of_the_untrained_model_is_not_that_of_the_trained_one():
    at = "models.endpoints.small.base_url=http://here/v1"
    assert read(REPO / "recipes/demo/eval_base.yaml", at).models.endpoints["small"].base_url == "http://here/v1"
    trained = read(REPO / "recipes/demo/eval_trained.yaml", at)
    assert (list(trained.models.endpoints), trained.models.endpoints[EVALUATED].base_url) == ([EVALUATED], None)


def test_trained_weights_are_served_here_and_judged_by_an_api(tmp_path):
    recipe = read(REPO / "recipes/cs/eval_agentic.yaml", *MODELS["api"])
    judge = recipe.models.endpoints[recipe.models.judge.endpoint]
    assert (judge.server, judge.model) == (None, "owner/large")
    assert recipe.models.endpoints[EVALUATED].server.weights == "runs/cs/grpo/model_at_200"


@pytest.mark.parametrize(
    ("root", "weights", "fits"),
    [
        ("owner/fake", "owner/fake", True),
        ("/cache/models--owner--fake/snapshots/1", "owner/fake", True),
        (None, "owner/fake", True),
        ("owner/fake-FP8", "owner/fake", False),
        ("owner/other", "owner/fake", False),
    ],
)
def test_a_running_server_must_serve_the_evaluated_weights(root, weights, fits, monkeypatch):
    with fake_server(lambda body, count: completion("x")) as server:
        monkeypatch.setitem(fake.ROOTS, "fake", root)
        recipe = read(
            REPO / "recipes/cs/eval_base.yaml",
            "label=fake",
            f"evaluated.weights={weights}",
            f"models.endpoints.weak.server.weights={weights}",
            "models.endpoints.weak.model=fake",
            f"models.endpoints.weak.base_url={server.url}",
        )
        if fits:
            served = identity.identify(recipe)
            assert served == {"weights": weights, "model": "fake", "revision": None, "served": root, "step": None}
            return
        with pytest.raises(RecipeError, match=rf"serves {root}, not evaluated\.weights={weights}"):
            identity.identify(recipe)


def test_a_folder_is_known_by_its_content(tmp_path, monkeypatch):
    weights = make_training(tmp_path / "grpo", ["agentic"])
    monkeypatch.setattr(identity, "read_served", lambda endpoint: str(weights))
    recipe = read(REPO / "recipes/cs/eval_agentic.yaml", f"evaluated.weights={weights}")
    identify_weights(recipe.models)
    assert identity.identify(recipe)["revision"] == hash_path(weights)


@pytest.mark.parametrize(("name", "step"), [("model", 240), ("model_at_200", 200)])
def test_the_manifest_says_of_which_step_a_trained_model_is(name, step, tmp_path, monkeypatch):
    weights = make_training(tmp_path / "grpo", ["agentic"], name=name)
    monkeypatch.setattr(identity, "read_served", lambda endpoint: str(weights))
    recipe = read(REPO / "recipes/cs/eval_agentic.yaml", f"evaluated.weights={weights}")
    identify_weights(recipe.models)
    assert identity.identify(recipe)["step"] == step


def make_evaluation(run: Path, label: str, evaluated: dict | None) -> TableRow:
    run.mkdir()
    facts = {"inputs": {"kind": "eval"}, "finished": "now", "label": label}
    (run / "manifest.json").write_text(json.dumps(facts | ({"evaluated": evaluated} if evaluated else {})))
    return TableRow(label, str(run), "c")


def test_rows_of_a_table_show_what_they_say(tmp_path):
    one = {"weights": "runs/grpo/model", "model": "m", "revision": "1", "served": None}
    first = make_evaluation(tmp_path / "a", "Agentic", one)
    second = make_evaluation(tmp_path / "b", "CoT", one | {"revision": "2"})
    assert check_rows([first, second, TableRow("later", str(tmp_path / "none"), "c")]) == []
    with pytest.raises(RunError, match=r"row CoT: .*a evaluated Agentic; write label: Agentic"):
        check_rows([replace(first, label="CoT")])
    swapped = make_evaluation(tmp_path / "c", "Combined", one | {"weights": "elsewhere"})
    with pytest.raises(RunError, match="rows Agentic and Combined: both runs evaluated runs/grpo/model"):
        check_rows([first, second, swapped])


def test_a_row_from_before_the_identity_was_recorded_has_a_note(tmp_path):
    old = make_evaluation(tmp_path / "old", "Qwen3.5-4B", None)
    (note,) = check_rows([old])
    assert note.startswith("- Qwen3.5-4B: the identity of its weights is not recorded")
