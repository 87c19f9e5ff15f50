"""Provides the frame of every command: reads the arguments, prints the help and turns errors into exit codes.

A command ends with 0 when it is done, with 1 when its run failed or is not complete, and with 2 when it was called
wrongly, its recipe cannot be used, or a run or file that it names is not there.
"""

import argparse
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from autodata.types import UserError

DISTRIBUTION = "open-autodata"  # the name that pip knows; `autodata` belongs to another project
# The packages that most commands do without, by the extra of pyproject.toml that brings them.
EXTRAS = {
    "ingest": ("spacy",),
    "train": ("accelerate", "peft", "safetensors", "torch", "transformers", "trl"),
    "serve": ("vllm", "vllm_router"),
}


class MissingPackage(UserError):
    """A package is not installed that only some commands need; the message says how to install it."""

    def __init__(self, package: str, extra: str):
        advice = f"pip install '{DISTRIBUTION}[{extra}]', or '.[{extra}]' in a checkout"
        super().__init__(f"this needs {package}, which is not installed: {advice}")


class Parser(argparse.ArgumentParser):
    """Reads the arguments of one command."""

    def add_recipe(self) -> None:
        """Take a recipe as autodata.config.load does."""
        text = "the recipe, then any further .yaml files and key=value settings; later ones override earlier ones"
        self.add_argument("recipe", nargs="+", metavar="RECIPE", help=text)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; --help lists the arguments\n")


def make_parser(text: str | None) -> Parser:
    """Make a parser whose help begins with the docstring of the command's module, which shows how to call it."""
    return Parser(usage=argparse.SUPPRESS, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def read_recipe(text: str | None) -> list[str]:
    """Read the arguments of a command that takes a recipe and no options."""
    parser = make_parser(text)
    parser.add_recipe()
    return parser.parse_intermixed_args().recipe


@contextmanager
def report_errors() -> Iterator[None]:
    """Print a UserError to stderr and exit with its code; every other exception is a bug and keeps its traceback.

    Logged warnings are printed with their level and source, unless a library has set up logging (inspect_ai does).
    """
    logging.lastResort.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    try:
        yield
    except UserError as error:
        _end(error)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if not (extra := find_extra(package)):
            raise
        _end(MissingPackage(package, extra))


def _end(error: UserError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code) from None


def find_extra(package: str) -> str | None:
    """Return the extra that brings a package; None for a package that is always installed, or is not of ours."""
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)


def require_package(package: str, extra: str) -> None:
    """Raise MissingPackage unless a package can be imported; for packages that another process imports."""
    if importlib.util.find_spec(package) is None:
        raise MissingPackage(package, extra)
