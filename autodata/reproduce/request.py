"""Reads what is to be reproduced: tables, the files and values that go to their steps, and the scale."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from autodata.config import RecipeError
from autodata.eval.tables.write import find_recipes
from autodata.recipes.shipped import find_included, find_shipped
from autodata.types import WrongCall

RUNS = "runs"  # folder in which the committed recipes put their runs
SCALES = ("paper", "small")
_SMALL = "recipes/scale/small"
CORPUS, _RUNS = "corpus", "runs"  # keys that are the command's own; all others go to the steps


@dataclass(frozen=True)
class Request:
    """Everything that one call of the command asks for."""

    tables: tuple[Path, ...]
    name: str  # the folder below `runs` in which the graph and the numbers of its jobs are kept
    files: tuple[str, ...] = ()  # a file of recipes/models and the like; each goes to the steps that have its keys
    values: tuple[str, ...] = ()  # key=value, likewise
    corpora: Mapping[str, str] = field(default_factory=dict)  # `corpus` or `corpus.DOMAIN` → folder
    runs: str = RUNS  # folder of all runs, in place of `runs`
    ignored: tuple[str, ...] = ()  # files that the small scale does not read

    def explain_ignored(self) -> str:
        return f"--scale small has models of its own and does not read {', '.join(self.ignored)}."

    @property
    def folder(self) -> Path:
        return Path(self.runs) / "reproduce" / self.name

    def find_corpus(self, domain: str) -> str | None:
        """Find the key that names the corpus of a domain; None if the recipes name it."""
        return next((key for key in (f"{CORPUS}.{domain}", CORPUS) if key in self.corpora), None)

    def move(self, value: str) -> str:
        """Move a path of a run folder to where this request keeps its runs; leave any other text as it is."""
        is_run = value == RUNS or value.startswith(f"{RUNS}/")
        return f"{self.runs}{value.removeprefix(RUNS)}" if is_run else value


def read_request(arguments: Sequence[str], scale: str) -> Request:
    """Read the command's arguments. Raises WrongCall, RecipeError."""
    if not arguments or "=" in arguments[0]:
        raise WrongCall("the first argument must be a table's recipe, for example recipes/tables/table2.yaml")
    table, *others = arguments
    files, values = [a for a in others if "=" not in a], [a for a in others if "=" in a]
    if wrong := next((name for name in files if not name.endswith(".yaml")), None):
        raise WrongCall(f"{wrong!r} is neither a .yaml file nor of the form key=value")
    steps = tuple(text for text in values if not _is_own(text))
    _require_shared(steps)
    own = _read_own([text for text in values if _is_own(text)])
    runs = tidy(own.pop(_RUNS, RUNS))
    tables = _find_tables(Path(find_shipped(table)), scale)
    name = Path(table).stem + ("_small" if scale == "small" else "")
    if scale == "small":  # its recipes name the embedded model, so that the same command line tries the same graph
        return Request(tables, name, (), steps, own, runs, ignored=tuple(files))
    return Request(tables, name, tuple(files), steps, own, runs)


def _is_own(text: str) -> bool:
    """True for a value that is the command's own and goes to no step as it is."""
    return text.partition("=")[0].partition(".")[0] in (CORPUS, _RUNS)


def _read_own(texts: Sequence[str]) -> dict[str, str]:
    """Read the values that are the command's own, by their keys. Raises WrongCall."""
    own = {key: value for key, _, value in (text.partition("=") for text in texts)}
    for key, value in own.items():
        name, _, domain = key.partition(".")
        if key.endswith(".") or (domain and name == _RUNS):
            raise WrongCall(f"{key}={value}: write runs=FOLDER, corpus=FOLDER or corpus.DOMAIN=FOLDER")
        if not value:
            raise WrongCall(f"{key}=: name a folder")
    if CORPUS in own and len({*own} - {CORPUS, _RUNS}):
        raise WrongCall(f"{CORPUS}={own[CORPUS]}: write {CORPUS}.DOMAIN=FOLDER for each domain, or {CORPUS} alone")
    return own


def tidy(folder: str) -> str:
    """Write a folder in one way, because runs remember the paths that they were made from: below this one if it is."""
    path = Path(os.path.abspath(folder))
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _find_tables(table: Path, scale: str) -> tuple[Path, ...]:
    """List the recipes of a table, or of all tables in a folder. Raises RecipeError."""
    tables = find_recipes(table)
    if scale == "small":
        tables = [Path(find_shipped(f"{_SMALL}/{path.name}")) for path in tables]
    if missing := next((path for path in tables if not path.is_file()), None):
        there = ", ".join(sorted(path.name for path in missing.parent.glob("*.yaml")))
        raise RecipeError(f"{missing}: no such file; this folder has {there or 'no recipe'}")
    return tuple(tables)


def _require_shared(values: Sequence[str]) -> None:
    """Raise WrongCall for a key whose value differs from step to step."""
    for text in values:
        if (key := text.partition("=")[0]) in ("run", "label", "arm", "arms", "rows"):
            advice = "; runs=FOLDER moves all runs" if key == "run" else ""
            raise WrongCall(f"{key}=…: every step has its own {key}, so it cannot be set for all of them{advice}")


def has_keys(schema: type, argument: str) -> bool:
    """True if a kind of recipe has the whole key of a `key=value`, or all keys at the top level of a file."""
    if "=" in argument:
        return has_key(schema, argument.partition("=")[0])
    return {field.name for field in fields(schema)}.issuperset(list_keys(argument))


def has_key(schema: type, key: str) -> bool:
    """Follow a dotted key through nested settings; below a free dictionary, every key may be there."""
    name, _, rest = key.partition(".")
    kind = get_type_hints(schema).get(name)
    if not rest or kind is None or get_origin(kind) is dict:
        return kind is not None
    nested = [part for part in (kind, *get_args(kind)) if is_dataclass(part)]
    return any(has_key(part, rest) for part in nested)


def list_keys(argument: str) -> set[str]:
    """List the keys at the top level of a file. Raises RecipeError."""
    path = Path(find_shipped(argument))
    if not path.is_file():
        raise RecipeError(f"{argument}: no such file")
    keys = {str(key) for key in OmegaConf.load(path)}
    included = (OmegaConf.load(path).get("include") or []) if "include" in keys else []
    return (keys - {"include"}).union(*(list_keys(str(find_included(name, path.parent))) for name in included))
