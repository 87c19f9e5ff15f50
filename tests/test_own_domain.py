"""Tests domains in a user's own folder: their thresholds, templates and code, and who may run that code."""

import pytest

from autodata.config import RecipeError, explain, load, to_yaml
from autodata.loop import domain as base
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.types import Candidate

CODE = """from dataclasses import dataclass

from autodata.domains.cs import domain as cs


@dataclass
class Rule:
    name: str = "own"


class Domain(cs.Domain):
    rule = Rule()
"""


@pytest.fixture
def folder(tmp_path):
    """Make the folder of a domain that is like cs, with one threshold and one template of its own."""
    (tmp_path / "rfc/prompts").mkdir(parents=True)
    (tmp_path / "rfc/domain.yaml").write_text("like: cs\nmax_rounds: 3\nsource_words: [RFC]\n")
    (tmp_path / "rfc/prompts/solver.j2").write_text("{% block user %}Protocols: {{ question }}{% endblock %}")
    return tmp_path / "rfc"


@pytest.fixture
def recipe(tmp_path, folder):
    path = tmp_path / "generate.yaml"
    path.write_text(f"run: {tmp_path}/run\ndocuments: {{path: docs}}\ndomain: {{path: {folder}}}\n")
    return str(path)


def record(tmp_path, recipe):
    """Write a recipe as a run keeps it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/manifest.json").write_text("{}")
    (tmp_path / "run/recipe.yaml").write_text(to_yaml(load(GenerateRecipe, [recipe])))
    return str(tmp_path / "run/recipe.yaml")


def test_a_folder_begins_with_the_domain_that_it_is_like(recipe):
    config = load(GenerateRecipe, [recipe]).domain
    assert (config.name, config.max_rounds, config.weak_attempts, config.source_words) == ("rfc", 3, 3, ["RFC"])
    assert load(GenerateRecipe, [recipe, "domain.max_rounds=5", "domain.name=mine"]).domain.max_rounds == 5
    domain = base.load(config, None)
    assert domain.solver_prompt(Candidate("why?", "", ()))[0].content == "Protocols: why?"
    assert domain.prompts.render(
        "judge", {"question": "q", "context": "", "answer": "a", "criteria": [], "is_whole": True}
    )
    assert type(domain).__module__ == "autodata.domains.cs.domain"
    origin = {key: where for key, _, where, _ in explain([recipe])}
    assert origin["domain.max_rounds"].endswith("rfc/domain.yaml:2")
    assert origin["domain.weak_attempts"].startswith("autodata/domains/cs/domain.yaml:")


def test_code_of_the_folder_is_run_and_identifies_the_run(folder, recipe):
    config = load(GenerateRecipe, [recipe]).domain
    before = base.hash_prompts(config)
    (folder / "domain.py").write_text(CODE)
    assert base.load(config, None).rule.name == "own"
    after = base.hash_prompts(config)
    assert before != after
    (folder / "domain.py").write_text(CODE + "# another line\n")
    assert after != base.hash_prompts(config) != before
    assert not list(folder.rglob("__pycache__"))


def test_a_template_of_the_folder_identifies_the_run_and_its_place_does_not(folder, recipe, tmp_path):
    before = base.hash_prompts(load(GenerateRecipe, [recipe]).domain)
    moved = folder.rename(tmp_path / "moved")
    again = load(GenerateRecipe, [recipe, f"domain.path={moved}", "domain.name=rfc"]).domain
    assert before == base.hash_prompts(again)
    (moved / "prompts/solver.j2").write_text("{% block user %}{{ question }}{% endblock %}")
    assert before != base.hash_prompts(again)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (None, None, "no domain.yaml in it; name a folder that has one"),
        ("max_rounds: 3\n", None, "must say whose rules hold; write like: cs"),
        ("like: css\n", None, "domain.like=css: no such domain; there are cs"),
        ("like: ../cs\n", None, "no such domain"),
        ("like: cs\nmax_round: 3\n", None, "max_rounds"),
        ("like: cs\n", "class Domain:\n  x = (\n", "domain.py: SyntaxError"),
        ("like: cs\n", "x = 1\n1 / 0\n", "domain.py:2: ZeroDivisionError"),
        ("like: cs\n", "x = 1\n", "no class Domain in it"),
        ("like: cs\n", "Domain = 1\n", "no class Domain in it"),
    ],
)
def test_what_is_wrong_with_a_folder_is_named(folder, recipe, text, code, message):
    (folder / "domain.yaml").unlink()
    if text is not None:
        (folder / "domain.yaml").write_text(text)
    if code:
        (folder / "domain.py").write_text(code)
    with pytest.raises(RecipeError) as error:
        base.load(load(GenerateRecipe, [recipe]).domain, None)
    assert message in str(error.value)


def test_code_alone_needs_no_domain_that_it_is_like(folder, recipe):
    (folder / "domain.yaml").write_text(
        "preset: p\npresets: {p: {}}\nweak_attempts: 1\nstrong_attempts: 1\nmax_rounds: 2\n"
    )
    (folder / "domain.py").write_text(CODE)
    config = load(GenerateRecipe, [recipe]).domain
    assert list(config.presets) == ["p"]
    assert base.load(config, None).rule


def test_a_recipe_in_a_run_folder_never_runs_code(folder, recipe, tmp_path):
    recorded = record(tmp_path, recipe)
    assert base.load(load(GenerateRecipe, [recorded]).domain, None).config.name == "rfc"  # templates are no code
    (folder / "domain.py").write_text(CODE)
    included = tmp_path / "generate_again.yaml"
    included.write_text("include: [run/recipe.yaml]\n")
    for arguments in ([recorded], [recorded, "domain.run_code=true"], [str(included)]):
        with pytest.raises(RecipeError, match=r"not run, because .* append domain\.path=FOLDER"):
            base.load(load(GenerateRecipe, arguments).domain, None)
    assert base.load(load(GenerateRecipe, [recorded, f"domain.path={folder}"]).domain, None).rule


def test_a_run_is_read_although_the_folder_of_its_domain_has_gone(folder, recipe, tmp_path):
    recorded = record(tmp_path, recipe)
    folder.rename(tmp_path / "elsewhere")
    assert load(GenerateRecipe, [recorded]).domain.max_rounds == 3


def test_a_pack_brings_no_code(recipe, tmp_path):
    from autodata.replay.make import Source, _find_hindrance

    source = Source(tmp_path, {})
    assert "folder of its own" in _find_hindrance(source, "generate", load(GenerateRecipe, [recipe]))
    assert not _find_hindrance(source, "eval", load(EvalRecipe, ["recipes/demo/eval_base.yaml"]))
    with pytest.raises(RecipeError, match=r"domain\.name=rfc: no such domain"):
        load(GenerateRecipe, [recipe, "domain.name=rfc", "domain.path=null"])
