"""Provides the frame of every command: reads the arguments, prints the help and turns errors into exit codes.

A command ends with 0 when it is done, with 1 when its run failed or is not complete, and with 2 when it was called
wrongly, its recipe cannot be used, or a run or file that it names is not there.
"""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from autodata.types import UserError


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
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
