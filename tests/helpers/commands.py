"""Runs commands as their users do: each in a process of its own, one by one or all at once."""

import io
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr

import pytest


def run(module: str, *arguments: str) -> str:
    """Run a command, which must succeed, and return its output."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def run_at_once(*commands: tuple[str, ...]) -> list[str]:
    """Run commands at once and return their outputs: a server answers several calls in little more time than one."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda command: run(*command), commands))


def find_failure(main: Callable[[], None]) -> str:
    """Run a command in this process and return its error on stderr, empty if it succeeds."""
    with redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as end:
            return f"{errors.getvalue()}{end.code or ''}"
    return ""


def options(**values: object) -> Namespace:
    """Make the options of `autodata plan` as they are if a user gives none but these."""
    unset = {"like": None, "runs": (), "documents": None, "speed": [], "gpus": None, "accepted": None, "repeats": 1}
    return Namespace(**unset | values)


@contextmanager
def fails(message: str) -> Iterator[None]:
    """Expect a command in this process to fail with an `error: …` that matches."""
    with redirect_stderr(io.StringIO()) as errors, pytest.raises(SystemExit) as ended:
        yield
    assert ended.value.code in (1, 2)
    assert re.search(f"error: .*{message}", errors.getvalue(), re.DOTALL), errors.getvalue()


@pytest.fixture
def plan(monkeypatch, capsys):
    """Run autodata.plan in this process and return its output or its error."""
    from autodata.plan import plan as command

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["plan", *map(str, arguments), "--repeats", "1"])
        return find_failure(command.main) or capsys.readouterr().out

    return run
