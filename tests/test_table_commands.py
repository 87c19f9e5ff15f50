"""Tests that every command that a table prints for a missing run works as it is printed."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from autodata.config import load, schema_for
from autodata.recipes.evaluation import TableRecipe
from autodata.reproduce.graph import build
from autodata.reproduce.request import read_request

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent
KINDS = ("table", "figure")
TABLES = sorted(str(p.relative_to(REPO)) for kind in KINDS for p in REPO.glob(f"recipes/**/{kind}*.yaml"))
PAGE = (REPO / "docs" / "reproduce.md").read_text(encoding="utf-8")


# What the page prints: lines of its code blocks, and commands between backquotes. "…" stands for arguments left out.
BLOCKS = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
LINES = [re.sub(r"^([A-Z_]+=\S+ )+", "", line) for block in BLOCKS for line in block.splitlines()]  # without variables
INLINE = [text for text in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)) if " " in text]
STARTS = ("python -m ", "bash slurm/")
PRINTED = sorted({text for text in [*LINES, *INLINE] if text.startswith(STARTS) and "…" not in text})
WITH_VALUES = ("--scale", "--like", "--gpus", "--documents")


def check(command: str) -> None:
    """Parse a command as its own program would: every file exists, every key is known, and no value is missing."""
    program, target, *words = shlex.split(command, comments=True)
    module, arguments = (words[0], words[1:]) if (program, target) == ("python", "-m") else ("", words)
    assert importlib.util.find_spec(module) if module else program == "bash" and (REPO / target).is_file()
    options, arguments = split_options(arguments)
    if module == "autodata.reproduce" or target == "slurm/reproduce.sh":
        assert build(read_request(arguments, options.get("--scale", "paper")))
    elif arguments and arguments[0].endswith(".yaml"):
        assert load(schema_for(arguments[0]), arguments)
    else:  # a run folder, a folder of tables, or a helper without arguments
        assert all(name.startswith("runs/") or (REPO / name).exists() for name in arguments)


def split_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split the options of a command from its other arguments."""
    options, arguments, rest = {}, [], iter(words)
    for word in rest:
        if word.startswith("--"):
            options[word] = next(rest) if word in WITH_VALUES else ""
        else:
            arguments.append(word)
    return options, arguments


@pytest.mark.parametrize("path", TABLES)
def test_every_command_names_files_that_exist_and_parses(path):
    for command in {row.command for row in load(TableRecipe, [path]).rows}:
        check(command)


@pytest.mark.parametrize("command", PRINTED)
def test_every_command_of_the_page_parses(command):
    check(command)


def test_every_line_of_a_block_of_the_page_is_a_command():
    assert len(PRINTED) > 20
    assert not [line for line in LINES if line.strip() and not line.startswith(STARTS)]


@pytest.mark.parametrize("path", [path for path in TABLES if path.startswith("recipes/tables/")])
def test_a_table_of_the_paper_has_one_command_and_the_page_explains_it(path):
    (command,) = {row.command for row in load(TableRecipe, [path]).rows}
    more = " iteration_hours=48" if path.endswith("table7.yaml") else ""  # the recipe's six hours end its iterations
    assert command == f"bash slurm/reproduce.sh {path} recipes/models/paper.yaml{more}"
    assert f"`{Path(path).stem}`" in PAGE
    assert [line for line in LINES if line.startswith(command)]


def test_gpt5_goes_to_the_evaluations_alone():
    arguments = ["recipes/tables/table4.yaml", "recipes/models/paper.yaml", "recipes/legal/grader_gpt5.yaml"]
    steps = build(read_request(arguments, "paper"))
    asked = [step.module for step in steps if "recipes/legal/grader_gpt5.yaml" in step.arguments]
    assert set(asked) == {"autodata.eval.run"} and len(asked) == 4
