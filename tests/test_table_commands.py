"""Tests that every command that a table prints for a missing run works as it is printed."""

import importlib.util
import shlex
from pathlib import Path

import pytest

from autodata.config import load, schema_for
from autodata.recipes.evaluation import TableRecipe
from autodata.reproduce.graph import build
from autodata.reproduce.request import read_request

REPO = Path(__file__).parent.parent
KINDS = ("table", "figure")
TABLES = sorted(str(p.relative_to(REPO)) for kind in KINDS for p in REPO.glob(f"recipes/**/{kind}*.yaml"))
PAGE = (REPO / "docs" / "reproduce.md").read_text(encoding="utf-8")


def check(command: str) -> None:
    """Parse a command as its own program would: every file exists, every key is known, and no value is missing."""
    program, target, *arguments = shlex.split(command)
    if (program, target) == ("bash", "slurm/reproduce.sh"):
        assert (REPO / target).is_file()
        is_small = arguments[-2:] == ["--scale", "small"]
        assert build(read_request(arguments[: -2 if is_small else None], "small" if is_small else "paper"))
        return
    assert (program, target) == ("python", "-m")
    module, recipe, *more = arguments
    assert importlib.util.find_spec(module)
    assert load(schema_for(recipe), [recipe, *more])


@pytest.mark.parametrize("path", TABLES)
def test_every_command_names_files_that_exist_and_parses(path):
    for command in {row.command for row in load(TableRecipe, [path]).rows}:
        check(command)


@pytest.mark.parametrize("path", [path for path in TABLES if path.startswith("recipes/tables/")])
def test_a_table_of_the_paper_has_one_command_and_the_page_explains_it(path):
    (command,) = {row.command for row in load(TableRecipe, [path]).rows}
    assert command == f"bash slurm/reproduce.sh {path} recipes/models/paper.yaml"
    assert f"`{Path(path).stem}`" in PAGE


def test_gpt5_goes_to_the_evaluations_alone():
    arguments = ["recipes/tables/table4.yaml", "recipes/models/paper.yaml", "recipes/legal/grader_gpt5.yaml"]
    steps = build(read_request(arguments, "paper"))
    asked = [step.module for step in steps if "recipes/legal/grader_gpt5.yaml" in step.arguments]
    assert set(asked) == {"eval.run"} and len(asked) == 4
