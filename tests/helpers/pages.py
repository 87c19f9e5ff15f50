"""Reads pages of the documentation: their links, their headings, and the commands that they tell a reader to run."""

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from autodata.__main__ import MODULES

REPO = Path(__file__).parent.parent.parent
FOLDERS = ("*.md", "docs/**/*.md", "recipes/**/*.md", "slurm/*.md", "skills/**/*.md")
PAGES = sorted(page for pattern in FOLDERS for page in REPO.glob(pattern))
_FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_PLACEHOLDER = re.compile(r"[A-Z]+(_[A-Z]+)*")
_OPTIONAL = re.compile(r"(?<!\S)\[([^\]]*)\](?!\S)")  # [--like RUN], as usage lines write it


class Command(NamedTuple):
    """A command of a page. `name` is a module of Python, the path of a script, or `make`."""

    name: str
    arguments: list[str]


def list_links(text: str) -> list[tuple[str, str]]:
    """List (file, heading) of all links within the repository; one of the two may be empty."""
    links = re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", _FENCE.sub("", text))
    return [(file, heading) for file, _, heading in (link.partition("#") for link in links)]


def list_headings(text: str) -> set[str]:
    """List the headings of a page as links write them (GitHub's rule)."""
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def list_commands(text: str) -> list[Command]:
    """List the commands in the blocks and in the code spans of a page."""
    blocks = "\n".join(_FENCE.findall(text)).replace("\\\n", " ")
    spans = _SPAN.findall(_FENCE.sub("", text).replace("\\|", "|"))
    return [found for line in (*blocks.splitlines(), *spans) for found in _read_line(line)]


def _read_line(line: str) -> Iterator[Command]:
    line = _OPTIONAL.sub(r"\1", line.replace("\n", " "))
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # prose with an apostrophe, or a part of a program
        return
    if end := next((place for place, word in enumerate(words) if word in ("|", "&&", ";")), None):
        words = words[:end]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    found = _recognise(words)
    if found and not _PLACEHOLDER.fullmatch(found.name):
        arguments = [word for place, word in enumerate(found.arguments) if "…" not in word or not place]
        yield Command(found.name, ["1" if _PLACEHOLDER.fullmatch(word) else word for word in arguments])


def _recognise(words: list[str]) -> Command | None:
    match words:
        case [python, "-m", "autodata", name, *rest] if Path(python).name == "python":
            name = MODULES.get(name, name)
        case [python, "-m", name, *rest] if Path(python).name == "python" and name.startswith("autodata."):
            pass
        case [autodata, name, *rest] if (
            re.fullmatch(r"(\S*/)?autodata", autodata) and name != "completion" and name[0] != "-"
        ):
            name = MODULES.get(name, name)
        case [accelerate, "launch", *rest] if Path(accelerate).name == "accelerate" and "training/grpo.py" in rest:
            name, rest = "training/grpo.py", rest[rest.index("training/grpo.py") + 1 :]
        case ["bash", name, *rest] if name.startswith(("slurm/", "bench/", "recipes/")):
            pass
        case ["make" as name, goal, *values] if all("=" in word for word in values):
            rest = [goal]
        case _:
            return None
    return Command(name, rest)


def find_main(module: str) -> str:
    """Return the module that has the `main` of `python -m MODULE`."""
    spec = find_spec(module)
    if not spec or not spec.submodule_search_locations:
        return module
    return re.search(
        r"^from (\S+) import main$", (Path(spec.origin).parent / "__main__.py").read_text(), re.MULTILINE
    )[1]
