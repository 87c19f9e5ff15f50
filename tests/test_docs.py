"""Tests that links in the documentation lead somewhere and that quoted commands and messages exist."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
PAGES = sorted([*REPO.glob("docs/*.md"), *REPO.glob("*.md"), *REPO.glob("recipes/**/*.md")])
SOURCES = ("autodata/**/*.py", "training/**/*.py", "eval/**/*.py", "requirements/*.sh")
CODE = "\n".join(p.read_text() for pattern in SOURCES for p in REPO.glob(pattern))
MESSAGES = [
    quoted
    for line in (REPO / "docs/troubleshooting.md").read_text().splitlines()
    if line.startswith("| `")
    for quoted in re.findall(r"`([^`]+)`", line.split("|")[1])
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(REPO)))
def test_links_and_commands_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text):
        assert (page.parent / link).exists(), link
    for module in re.findall(r"python -m ((?:autodata|eval|training)(?:\.\w+)+)", text):
        assert find_spec(module), module


@pytest.mark.parametrize("message", MESSAGES)
def test_a_quoted_message_stands_in_the_code(message):
    assert message.strip("… ") in CODE


def test_there_are_messages():
    assert len(MESSAGES) > 20
