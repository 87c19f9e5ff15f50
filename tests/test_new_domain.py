"""Tests how a user begins a domain: the folder is written, runs with made-up replies, and shows its prompts."""

import json
import random
from dataclasses import replace

import pytest

from autodata.config import RecipeError, load
from autodata.domains import show_prompt
from autodata.domains.cs.domain import candidate_schema
from autodata.domains.new import write_domain
from autodata.generate import generate, open_run
from autodata.loop.agents import make_object, verdict_schema
from autodata.plan.workload import from_priors
from autodata.recipes.domain import RubricBounds, Shape
from autodata.recipes.generation import GenerateRecipe
from autodata.run.folder import read_manifest
from autodata.serving import scripted
from autodata.serving.request import make_strict
from autodata.types import Role, WrongCall
from tests.helpers.scripted_endpoint import serve_scripted

pytestmark = pytest.mark.slow

SCRIPTED = "recipes/models/scripted.yaml"
ASKED = ("challenger", "quality_verifier", "weak_solver", "strong_solver", "judge")


@pytest.fixture
def url():
    with serve_scripted() as address:
        yield address


@pytest.fixture
def recipe(tmp_path, url):
    def write(like):
        write_domain(tmp_path / f"my_{like}", like)
        path = tmp_path / f"my_{like}/generate.yaml"
        settings = [f"run={tmp_path}/run", f"models.endpoints.scripted.base_url={url}"]
        return load(GenerateRecipe, [str(path), SCRIPTED, *settings])

    return write


@pytest.mark.parametrize("like", ["cs", "legal", "science", "skills"])
def test_a_new_domain_runs_at_once_and_says_that_its_numbers_are_made_up(recipe, like, capsys):
    loaded = recipe(like)
    run, corpus = open_run(loaded)
    with run:
        assert generate(loaded, run, corpus)
    manifest = read_manifest(run.folder)
    assert manifest["finished"]
    assert scripted.is_made_up(manifest["models"].values())
    assert "MADE UP" in capsys.readouterr().out
    from autodata.report.generation import render

    assert "These numbers are made up" in render(run.folder, manifest)
    if like != "skills":  # its solvers cannot guess right
        assert manifest["summary"]["accepted_documents"] == 1


def test_a_real_model_is_not_made_up():
    assert not scripted.is_made_up(["qwen", "a-scripted-name"])
    assert scripted.is_made_up(["qwen", "scripted-weak"])


def test_every_prompt_is_shown_without_a_model(recipe, tmp_path):
    loaded = recipe("cs")
    loaded.models = type(loaded.models)()
    document = show_prompt.find_document(loaded, 1)
    shown = list(show_prompt.choose(show_prompt.list_requests(loaded, document), None))
    assert {request.role for request, _ in shown} == {r for r in Role if r in ASKED}
    first, is_made_up = shown[0]
    assert (first.role, is_made_up) == (Role.CHALLENGER, False)
    assert document.text in first.messages[1].content
    assert all(made_up for _, made_up in shown[1:])
    assert "after made-up replies" in show_prompt.show(*shown[1])


def test_show_prompt_needs_no_models_file(tmp_path, monkeypatch, capsys):
    write_domain(tmp_path / "rfc", "cs")
    arguments = ["show-prompt", str(tmp_path / "rfc/generate.yaml"), "--role", "challenger"]
    monkeypatch.setattr("sys.argv", arguments)
    show_prompt.main()
    assert "Retries that wait" in capsys.readouterr().out
    for more, message in (
        (["--document", "2"], "there are 1 documents"),
        (["--role", "editor"], "asked this role nothing"),
    ):
        monkeypatch.setattr("sys.argv", arguments + more)
        with pytest.raises(SystemExit):
            show_prompt.main()
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("like", ["cs", "legal", "science"])
def test_a_new_domain_is_planned_as_the_one_that_it_is_like(tmp_path, like):
    write_domain(tmp_path / "mine", like)
    recipe = load(GenerateRecipe, [str(tmp_path / "mine/generate.yaml"), "recipes/models/openai.yaml"])
    theirs = replace(recipe, domain=replace(recipe.domain, name=like))
    mine, same = from_priors(recipe), from_priors(theirs)
    assert (mine.origin, mine.acceptance) == (same.origin, same.acceptance)
    assert mine.draw(random.Random(1)) == same.draw(random.Random(1))
    with pytest.raises(RecipeError, match=r"domain\.name=mine: there are no priors for it"):
        from_priors(replace(recipe, domain=replace(recipe.domain, like=None)))


@pytest.mark.parametrize("name", ["my-domain", "1st", "a b", ""])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(WrongCall):
        write_domain(tmp_path / name, "cs")


def test_nothing_is_overwritten(tmp_path):
    write_domain(tmp_path / "rfc", "cs")
    with pytest.raises(WrongCall, match="such a folder already"):
        write_domain(tmp_path / "rfc", "cs")


def test_equal_requests_get_equal_replies_that_fit_their_schema():
    schema = make_object(
        {"name": {"type": "string", "maxLength": 9}, "n": {"type": "integer", "minimum": 3, "maximum": 4}}
    )
    body = {"model": "scripted", "messages": [{"role": "user", "content": "x"}], "seed": 1}
    body["response_format"] = {"json_schema": {"schema": schema}}
    record = json.loads(scripted.reply(body)["content"])
    assert len(record["name"]) <= 9
    assert 3 <= record["n"] <= 4
    assert scripted.reply(body) == scripted.reply(json.loads(json.dumps(body))) != scripted.reply(body | {"seed": 2})


def test_replies_keep_to_a_strict_schema_whose_bounds_stand_in_the_prompt_alone():
    def fill(schema, prompt):
        body = {"model": "scripted", "messages": [{"role": "user", "content": prompt}]}
        body["response_format"] = {"json_schema": {"schema": make_strict(schema)}}
        return json.loads(scripted.reply(body)["content"])

    form = '- 10 to 15 criteria.\n{"scratchpad": "…", "question_type": "a short phrase"}'
    candidate = fill(candidate_schema(Shape(RubricBounds([10, 15]))), form)
    assert len(candidate["rubric"]) == 10
    assert len(candidate["question_type"]) <= 80 < len(candidate["context"])
    assert [v["criterion"] for v in fill(verdict_schema(3), "Judge.")["verdicts"]] == [1, 2, 3]


def test_strong_answers_meet_more_criteria_than_weak_ones():
    def count(model):
        criteria = "\n".join(f"{n}. Says that so {n}" for n in range(1, 41))
        messages = [{"role": "user", "content": f"{criteria}\nThis is an answer of {model}."}]
        body = {
            "model": "scripted",
            "messages": messages,
            "response_format": {"json_schema": {"schema": verdict_schema(40)}},
        }
        return sum(v["met"] for v in json.loads(scripted.reply(body)["content"])["verdicts"])

    assert count("scripted-strong") > 28 > 20 > count("scripted-weak")
