"""Tests that links in the documentation lead somewhere and that quoted commands and messages exist."""

import re
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from autodata import command, config
from tests.helpers.pages import PAGES, REPO, find_main, list_commands, list_headings, list_links

SOURCES = ("autodata/**/*.py", "training/**/*.py", "eval/**/*.py", "requirements/*.sh")
CODE = "\n".join(p.read_text() for pattern in SOURCES for p in REPO.glob(pattern))
MESSAGES = [
    quoted
    for line in (REPO / "docs/troubleshooting.md").read_text().splitlines()
    if line.startswith("| `")
    for quoted in re.findall(r"`([^`]+)`", line.split("|")[1])
]
WITH_RECIPES = ("generate", "train", "eval", "meta", "ingest")  # scripts of slurm/ whose arguments are a recipe's
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))


class Parsed(Exception):
    """Carries what a command's parser read, instead of the command's work."""


@pytest.fixture
def parse(monkeypatch, capsys):
    """parse(module, arguments) returns what the command's own parser reads. It fails as the command would."""

    def stop(original):
        def run(self, *arguments):
            raise Parsed(original(self, *arguments))

        return run

    def parse(module: str, arguments: list[str]) -> object:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        try:
            import_module(find_main(module)).main()
        except Parsed as parsed:
            return parsed.args[0]
        except SystemExit:
            pytest.fail(f"{module} {' '.join(arguments)}: {capsys.readouterr().err}")

    for name in ("parse_args", "parse_intermixed_args"):
        monkeypatch.setattr(command.Parser, name, stop(getattr(command.Parser, name)))
    return parse


def check_recipe(arguments: list[str]) -> None:
    """Check that recipes of this repository exist and know the keys that a page sets."""
    own = arguments[: arguments.index("--and")] if "--and" in arguments else arguments
    arguments = [word for word in own if not word.startswith("-")]
    files = [word for word in arguments if word.endswith(".yaml") and "=" not in word]
    for file in files:
        assert not file.startswith("recipes/") or (REPO / file).is_file(), file
    if files and files == arguments[: len(files)] and all((REPO / file).is_file() for file in files):
        try:
            config.load(config.schema_for(files[0]), [*files, *(word for word in arguments if "=" in word)])
        except config.RecipeError as error:
            assert "no value for" in str(error), error  # what a reader is to append, such as models


EXAMPLE = """# A page: `one`
See [a](#a-page-one), [b](other.md#part) and [web](https://example.org). Run `autodata plan RECIPE [--like RUN]`, then
`make test`; `make it work` is prose, and so is `autodata/`.

```
export KEY=…
GPU=1 .venv/bin/python -m autodata plan recipes/a.yaml \\
    --documents 5 key='[1, 2]' | tail   # a comment
bash slurm/eval.sh a.yaml --and b.yaml
# no [link](nowhere.md)
```
"""


def test_a_page_is_read_as_its_reader_reads_it():
    assert list_links(EXAMPLE) == [("", "a-page-one"), ("other.md", "part")]
    assert list_headings(EXAMPLE) == {"a-page-one"}
    assert list_commands(EXAMPLE) == [
        ("autodata.plan.plan", ["recipes/a.yaml", "--documents", "5", "key=[1, 2]"]),
        ("slurm/eval.sh", ["a.yaml", "--and", "b.yaml"]),
        ("autodata.plan.plan", ["1", "--like", "1"]),
        ("make", ["test"]),
    ]


@every_page
def test_links_lead_somewhere(page):
    for file, heading in list_links(page.read_text()):
        goal = (page.parent / file) if file else page
        assert goal.exists(), file
        if heading and goal.suffix == ".md":
            assert heading in list_headings(goal.read_text()), f"{file}#{heading}"


@every_page
def test_commands_exist_and_take_these_arguments(page, parse, monkeypatch):
    monkeypatch.chdir(REPO)
    for name, arguments in list_commands(page.read_text()):
        if name == "make":
            assert f"\n{arguments[0]}:" in (REPO / "Makefile").read_text(), arguments
        elif name.endswith((".sh", ".py")):
            assert (REPO / name).is_file(), name
            if name == "training/grpo.py" or name.removeprefix("slurm/").removesuffix(".sh") in WITH_RECIPES:
                check_recipe(arguments)
        else:
            assert find_spec(name), name
            if arguments:
                check_recipe(vars(parse(name, arguments)).get("recipe", []))


def test_every_page_is_listed_with_the_minutes_that_it_takes():
    text = (REPO / "docs/README.md").read_text()
    minutes = {file: int(count) for file, count in re.findall(r"\]\(([^)]+)\) \((\d+)\)", text)}
    assert {page.name for page in REPO.glob("docs/*.md")} - {"README.md"} <= {*minutes}
    for file, stated in minutes.items():
        words = len((REPO / "docs" / file).read_text().split())
        assert words / 300 - 1 <= stated <= words / 150 + 1, f"{file} has {words} words"


def test_the_page_of_what_is_verified_cites_tests_that_exist():
    text = (REPO / "docs/verified.md").read_text()
    for file in re.findall(r"`(?:[^`]* )?((?:tests|bench)/[\w/]+(?:\.\w+)?)`", text):
        assert (REPO / file).exists(), file
    rows = [line.split(" | ") for line in text.splitlines() if line.count(" | ") == 3 and not line.startswith("|---")]
    assert len(rows) > 30
    words = ("verified", "real", "stand-in", "counted", "recorded", "never")
    assert [row[1] for row in rows if not row[1].startswith(words)] == []
    assert [row[0] for row in rows if "`" not in row[3] and "](" not in row[3] and row[1] != "verified"] == []


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_stands_in_the_code(message):
    assert message.strip("… ") in CODE


def test_there_are_messages():
    assert len(MESSAGES) > 20
