"""Tests with long hostile texts that no regular expression takes more than linear time."""

import ast
import importlib
import multiprocessing
import re
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

REPO = Path(__file__).parent.parent
PIECES = ["a", "A", "0", " ", "\n", "a ", "a.", "a@", "<", "</", "<p ", "<script>", "(", "[", "{", "\\", "$", "=", "-",
          "_", "*", "|", "'", "é", "a-", "a'", "0.", "0,", "```\n", "final answer", "+1 ", "a_{"]  # fmt: skip
LENGTH = 5_000
CPU_S = 10  # for all texts of a module; the slowest takes half a second, and several on a crowded machine


def find_modules() -> list[str]:
    """List the modules that define a pattern at their top."""
    modules = []
    for path in sorted(p for folder in ("autodata", "eval") for p in (REPO / folder).rglob("*.py")):
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)]
        if any(n.attr == "compile" and isinstance(n.value, ast.Name) and n.value.id == "re" for n in calls):
            modules.append(".".join(path.relative_to(REPO).with_suffix("").parts))
    return modules


def patterns_of(module: str) -> dict[str, re.Pattern[str]]:
    values = vars(importlib.import_module(module))
    nested = {
        f"{k}[{i}]": v for k, items in values.items() if isinstance(items, dict) for i, v in enumerate(items.values())
    }
    return {name: value for name, value in (values | nested).items() if isinstance(value, re.Pattern)}


def attack_all(patterns: Iterable[re.Pattern[str]]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    for pattern in patterns:
        attack(pattern)


def attack(pattern: re.Pattern[str]) -> None:
    """Match a pattern against long repetitions of each piece, with several unexpected ends."""
    for piece in PIECES:
        for end in ("", "\x00", "!", "a"):
            text = piece * (LENGTH // len(piece)) + end
            target = text if isinstance(pattern.pattern, str) else text.encode()
            for _ in pattern.finditer(target):
                pass
            pattern.fullmatch(target)


@pytest.mark.parametrize("module", find_modules())
def test_no_pattern_blows_up(module):
    """Runs in a fork that the kernel can end, because a match cannot be interrupted."""
    fork = multiprocessing.get_context("fork").Process(target=attack_all, args=(patterns_of(module).values(),))
    fork.start()
    fork.join()
    assert fork.exitcode == 0, f"{module}: a pattern takes too long"


def test_there_are_patterns_to_attack():
    assert sum(len(patterns_of(module)) for module in find_modules()) > 30
