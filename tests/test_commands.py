"""Tests every command's help and its exit codes 0 (done), 1 (failed) and 2 (called wrongly)."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
FILES = [p for folder in ("autodata", "eval", "training") for p in sorted((REPO / folder).rglob("*.py"))]
FRAME = "@command.report_errors()\ndef main("
COMMANDS = [".".join(p.relative_to(REPO).with_suffix("").parts) for p in FILES if FRAME in p.read_text("utf-8")]
OPTIONS = {"autodata.publish": ["--to", "owner/name"]}  # options that a command requires


@pytest.fixture
def call(monkeypatch, capsys):
    """call(command, *arguments) returns exit code, stdout and stderr."""

    def run(name: str, *arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit) as end:
            importlib.import_module(name).main()
        return end.value.code, *capsys.readouterr()

    return run


def list_required(call, name: str) -> list[str]:
    """List the names of the arguments that a command requires, in their order."""
    if name == "autodata.fidelity":  # it takes no arguments and would write its page
        return []
    code, _, error = call(name)
    assert code == 2
    return re.search("arguments are required: (.*); --help", error)[1].split(", ")


def test_only_workers_that_no_user_starts_read_their_arguments_by_hand():
    assert [p.stem for p in FILES if "sys.argv" in p.read_text("utf-8")] == ["pdf", "symbolic"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_how_to_call_a_command_and_names_its_arguments(call, name):
    code, out, error = call(name, "--help")
    assert (code, error) == (0, "")
    assert "python -m" in out or "accelerate launch" in out
    assert all(re.search(rf"^  {argument}\b", out, re.MULTILINE) for argument in list_required(call, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_a_wrong_call(call, name):
    values = ["1" for argument in list_required(call, name) if not argument.startswith("-")]
    code, out, error = call(name, *values, *OPTIONS.get(name, []), "--nonsense")
    assert (code, out) == (2, "")
    assert error == "error: unrecognized arguments: --nonsense; --help lists the arguments\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_recipe_that_is_not_there_is_a_wrong_call(call, name, tmp_path):
    required = list_required(call, name)
    if "RECIPE" not in required:
        pytest.skip("takes no recipe")
    missing = str(tmp_path / "generate.yaml")
    code, out, error = call(name, *["autodata.generate"] * (len(required) - 1), missing)
    assert (code, out) == (2, "")
    assert error == f"error: {missing}: no such file\n"


@pytest.mark.parametrize("name", ["autodata.verify", "autodata.report.index", "autodata.status"])
def test_a_run_that_is_not_there_is_a_failure(call, name, tmp_path):
    code, out, error = call(name, str(tmp_path / "nowhere"))
    assert (code, out) == (1, "")
    assert error.startswith("error: ")


def test_the_exit_code_reaches_the_shell_without_a_traceback(tmp_path):
    arguments = ["recipes/demo/generate.yaml", f"run={tmp_path / 'run'}", f"documents.path={tmp_path}"]
    for change, code in (("seed=1", 1), ("sed=1", 2)):
        done = subprocess.run(
            [sys.executable, "-m", "autodata.generate", *arguments, change], capture_output=True, text=True, cwd=REPO
        )
        assert (done.returncode, done.stdout) == (code, "")
        assert re.fullmatch("error: .*\n", done.stderr)


def test_a_logged_warning_is_printed_with_its_level_and_source():
    script = "import logging\nfrom autodata import command\nwith command.report_errors():\n"
    script += "    logging.getLogger('some.library').warning('slow disk')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPO)
    assert (done.stdout, done.stderr) == ("", "WARNING some.library: slow disk\n")
