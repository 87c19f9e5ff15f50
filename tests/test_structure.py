"""Tests the rules of CONTRIBUTING.md that a machine can check."""

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from autodata import __main__ as program
from autodata.config import explain, load
from autodata.recipes.reading.kinds import MODULES, SCHEMAS
from autodata.recipes.training import GrpoRecipe
from tests.helpers.recipes import MODELS, load_committed
from tests.helpers.structure import find_room, list_files, list_imports, measure, parse

REPO = Path(__file__).parent.parent
RECIPES = sorted(
    p
    for p in (REPO / "recipes").rglob("*.yaml")
    if any(name.startswith(s) for s in SCHEMAS for name in (p.stem, p.parent.name))
)
# The domains' recipes do not name the servers of their roles; each file of recipes/models must fit them.
NEED_MODELS = ("cs", "legal", "science", "judge_audit", "meta")
CALLS_MODELS = ("generate", "grpo", "judge_audit", "cs")  # recipes/meta has cs*.yaml
ORDER = re.search(r"^`(types < .*)`$", (REPO / "CONTRIBUTING.md").read_text(), re.MULTILINE)[1]
FLOORS = [{name.strip() for name in floor.split(",")} for floor in ORDER.split("<")]


def find_floor(room: str) -> int:
    name = room.removeprefix("autodata.")
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


SOURCES = list_files(REPO)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(REPO)))
def test_imports_go_one_way(path):
    if path.name == "__init__.py":
        return
    room = find_room(".".join(path.relative_to(REPO).with_suffix("").parts))
    for module in list_imports(path):
        other = find_room(module)
        assert not other or other == room or find_floor(other) < find_floor(room), f"{path.name} imports {module}"


@pytest.mark.parametrize("folder", sorted({p.parent for p in SOURCES}), ids=lambda p: str(p.relative_to(REPO)))
def test_a_folder_is_seen_at_a_glance(folder):
    at_most = {"autodata": 29, "corpora": 24}.get(folder.name, 13)
    entries = [p for p in folder.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    entries = [p for p in entries if not p.is_symlink()]  # eval and training, which stand beside autodata
    assert len([p for p in entries if p.name not in ("__init__.py", "__main__.py")]) <= at_most


def test_the_page_on_the_structure_is_true_of_the_tree():
    page = (REPO / "docs" / "structure.md").read_text()
    named = set(re.findall(r"`([\w./]+\.py|[\w/]+/)`", page))
    assert len(named) > 30
    assert not [name for name in named if not any((REPO / place / name).exists() for place in ("", "autodata"))]
    sentence = "N rooms on N floors, N arrows, and N files with N lines".replace("N", r"([\d,]+)")
    numbers, measured = re.search(sentence, page), measure(REPO)
    for told, name in zip(numbers.groups(), ("rooms", "floors", "arrows", "Python files", "lines"), strict=True):
        assert int(told.replace(",", "")) == pytest.approx(measured[name], rel=0.1), name


@pytest.mark.parametrize("path", ["autodata/__init__.py", "README.md"])
def test_every_folder_is_introduced(path):
    folders = {p.name for p in (REPO / "autodata").iterdir() if (p / "__init__.py").exists() and not p.is_symlink()}
    introduced = set(re.findall(r"^ +(\w+)/ +\S", (REPO / path).read_text(), re.MULTILINE))
    assert len(folders) > 10
    assert folders <= introduced


def test_every_module_that_a_text_names_exists():
    named = set()
    for path in SOURCES:
        texts = (node.value for node in ast.walk(parse(path)) if isinstance(node, ast.Constant))
        for text in filter(lambda value: isinstance(value, str), texts):
            named.update(re.findall(r"python -m (autodata(?:\.\w+)+)", text))
            named.update(re.findall(r"^autodata(?:\.[a-z]\w*)+$", text))
    assert len(named) > 30
    assert not [name for name in sorted(named) if find_spec(name) is None]


def test_every_recipe_is_read_by_a_command_of_the_program():
    assert set(MODULES) == set(SCHEMAS.values())
    commands = set(program.MODULES.values())
    for module in {module for schema, module in MODULES.items() if schema is not GrpoRecipe}:  # accelerate starts it
        assert module in commands or any(name.startswith(f"{module}.") for name in commands), module


def test_no_file_bears_the_name_of_a_library_imported_beside_it():
    for folder in ("training", "eval"):
        names = {p.stem for p in (REPO / folder).glob("*.py")}
        assert not names & {"trl", "transformers", "datasets", "accelerate", "inspect_ai", "scipy", "matplotlib"}


def test_the_base_package_imports_without_the_heavy_ones():
    code = (
        "import sys\n"
        "for name in ('vllm', 'torch', 'transformers', 'trl', 'deepspeed', 'datasets'): sys.modules[name] = None\n"
        "import autodata.generate, autodata.dataset, autodata.servers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO)


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(REPO)))
def test_every_recipe_is_complete(path):
    name, needs_models = str(path.relative_to(REPO)), path.parent.name in NEED_MODELS
    for models in MODELS.values() if needs_models and path.stem.startswith(CALLS_MODELS) else [()]:
        load_committed(name, *models)
    assert explain([name, *models])


def test_api_models_replace_the_laptop_in_any_recipe():
    recipe = load(SCHEMAS["generate"], ["recipes/demo/generate_api.yaml"])
    endpoints = {name: e for name, e in recipe.models.endpoints.items()}
    used = endpoints[recipe.models.weak_solver.endpoint]
    assert used.server is None
    assert used.api_key_env.isupper()


@pytest.mark.parametrize("folder", [p for p in (REPO / "recipes").iterdir() if p.is_dir()], ids=lambda p: p.name)
def test_every_recipe_folder_is_explained(folder):
    assert (folder / "README.md").read_text().strip()
