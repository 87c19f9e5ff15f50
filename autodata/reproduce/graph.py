"""Builds the graph of a table: its rows name runs, the recipes of these runs name other runs, and so on.

A step is one command. It comes after every step in whose run folder one of its recipe's values lies.
"""

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autodata.config import RecipeError, load, schema_for
from autodata.generate import check_recipe
from autodata.recipes.corpora import IngestRecipe
from autodata.recipes.data import DatasetRecipe, JudgeAuditRecipe
from autodata.recipes.evaluated import EVALUATED
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe, TableRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.reading.kinds import MODULES
from autodata.recipes.shipped import list_recipes
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.record import TABLES, VERIFY, name_step
from autodata.reproduce.request import CORPUS, RUNS, Request, has_keys
from autodata.run.folder import read_manifest
from autodata.types import WrongCall

# What a step can be made from.
_SCHEMAS = (
    IngestRecipe,
    GenerateRecipe,
    DatasetRecipe,
    GrpoRecipe,
    EvalRecipe,
    QuestionTypesRecipe,
    MetaRecipe,
    JudgeAuditRecipe,
    TableRecipe,
)
_RUN = re.compile(r"^run: *[\"']?([^\s\"'#]+)", re.MULTILINE)
_COPY = f"models.endpoints.{EVALUATED}."  # an evaluation makes this endpoint from `evaluated`


@dataclass(frozen=True)
class Step:
    """One command of the graph."""

    module: str
    target: str  # the run folder that it makes, or the file of a table
    arguments: tuple[str, ...]
    after: tuple[str, ...]  # names of the steps whose results it reads
    recipe: Any  # None for a step that takes a folder
    beside: tuple[str, ...] = ()  # on a cluster: all steps of its job, if there are several
    behind: tuple[str, ...] = ()  # on a cluster: the steps beside which it has no room, so that it waits for their end

    @property
    def name(self) -> str:
        return name_step(self.module, self.target)


def build(request: Request) -> list[Step]:
    """Build the steps of all tables, each after those that it needs. Raises RecipeError, WrongCall."""
    graph = _Graph(request)
    for table in request.tables:
        graph.add_table(table)
    if unused := next((a for a in (*request.files, *request.values) if a not in graph.used), None):
        kinds = sorted({step.module for step in graph.steps.values()})
        problem = (
            "no step has a key of this name" if "=" in unused else "no step has the keys of this file; leave it out"
        )
        raise WrongCall(f"{unused}: {problem}; the steps are of {', '.join(kinds)}")
    graph.check_corpora()
    return list(graph.steps.values())


class _Graph:
    """Collects steps in the order in which they can run."""

    def __init__(self, request: Request):
        self.steps: dict[str, Step] = {}
        self.used: set[str] = set()
        self._domains: dict[str, str] = {}  # documents → the domain whose steps read them
        self._replaced: dict[str, set[str]] = defaultdict(set)  # key of a corpus → what would be read without it
        self._request = request
        self._makers = find_makers([*list_recipes(), *_list_neighbours(request.tables)])
        self._ends: dict[str, str] = {}  # run folder → the step after which it can be read
        self._open: list[str] = []  # run folders whose steps are being added

    def add_table(self, path: Path) -> None:
        recipe = load(TableRecipe, [str(path)])
        after = tuple(dict.fromkeys(self.add_run(row.run) for row in recipe.rows if row.run))
        if not after:
            raise RecipeError(f"{path}: no row names a run, so there is nothing to do")
        moved = [f"{key}={value}" for key, value in self._find_moved(recipe)]
        recipe = load(TableRecipe, [str(path), *moved])
        self._add(Step(TABLES, recipe.output, (str(path), *moved), after, recipe))

    def add_run(self, run: str) -> str:
        """Add the steps that make a run; return the name of the last one. Raises RecipeError."""
        if run in self._ends:
            return self._ends[run]
        if run in self._open:
            raise RecipeError(f"{self._find_maker(run)}: {' → '.join([*self._open, run])} need one another")
        self._open.append(run)
        step = self._read(self._find_maker(run))
        end = self._add(step)
        if isinstance(step.recipe, DatasetRecipe):
            end = self._add(Step(VERIFY, step.target, (step.target,), (end,), None))
        self._open.remove(run)
        self._ends[run] = end
        return end

    def _add(self, step: Step) -> str:
        self.steps[step.name] = step
        return step.name

    def _find_maker(self, run: str) -> Path:
        found = self._makers.get(run, [])
        if len(found) == 1:
            return found[0]
        problem = f"{' and '.join(map(str, found))} all make it" if found else "no recipe has this value of `run`"
        raise RecipeError(f"{run}: {problem}")

    def _read(self, path: Path) -> Step:
        """Read a recipe, add the steps that it needs, and make its own step."""
        schema, name = schema_for(str(path)), os.path.relpath(path)
        if schema not in _SCHEMAS:
            raise RecipeError(f"{name}: no step of a table is made from a {schema.__name__}")
        given = self._choose_arguments(schema)
        recipe = load(schema, [name, *given])
        corpus = self._choose_corpus(recipe)
        arguments = [name, *given, *corpus]
        recipe = load(schema, arguments) if corpus else recipe
        if isinstance(recipe, GenerateRecipe):
            check_recipe(recipe)  # not only when its job has loaded its servers
        fixed = {text.partition("=")[0] for text in (*corpus, *self._list_fixed())}  # read where the user says
        texts = [text for key, text in list_strings(asdict(recipe)) if key not in fixed]
        inputs = dict.fromkeys(filter(None, map(self._find_input, texts)))
        after = tuple(dict.fromkeys(self.add_run(run) for run in inputs if run != recipe.run))
        if moved := [f"{key}={value}" for key, value in self._find_moved(recipe) if key not in fixed]:
            arguments += moved
            recipe = load(schema, arguments)
        return Step(MODULES[schema], recipe.run, tuple(arguments), after, recipe)

    def _choose_arguments(self, schema: type) -> list[str]:
        """Choose the files and values of the request whose keys this kind of recipe has."""
        chosen = [a for a in (*self._request.files, *self._request.values) if has_keys(schema, a)]
        self.used.update(chosen)
        return chosen

    def _choose_corpus(self, recipe: Any) -> list[str]:
        """Choose what a step reads in place of the corpus, or the documents, that its recipe names."""
        if isinstance(recipe, GenerateRecipe | MetaRecipe):
            domain = self._domains[recipe.documents.path] = recipe.domain.name
        elif isinstance(recipe, IngestRecipe):  # it has no domain of its own; its reader was added before it
            domain = self._domains.get(recipe.run, "")
        else:
            return []
        key = self._request.find_corpus(domain)
        folder = self._request.corpora.get(key or "", "")
        if not key or _is_ingested(folder) == isinstance(recipe, IngestRecipe):
            return []
        self._replaced[key].add(_name_corpus(recipe))
        return [f"{'path' if isinstance(recipe, IngestRecipe) else 'documents.path'}={folder}"]

    def check_corpora(self) -> None:
        """Raise WrongCall unless each corpus of the request is there and stands in for exactly one of the recipes'."""
        for key, folder in self._request.corpora.items():
            given, domains, domain = f"{key}={folder}", sorted({*self._domains.values()}), key.partition(".")[2]
            if not (names := sorted(self._replaced[key])):
                others = f" of {domain}; the domains of this table: {', '.join(domains)}" if domain else ""
                raise WrongCall(f"{given}: no step of this table reads a corpus{others}")
            if len(names) > 1:
                keys = " ".join(f"{CORPUS}.{name}=FOLDER" for name in domains)
                is_one = domain or len(domains) == 1
                advice = "give the tables of each corpus in a command of their own" if is_one else f"write {keys}"
                raise WrongCall(f"{given}: would stand in for {', '.join(names)}; {advice}")
            _require_corpus(given, Path(folder))
            for step in self.steps.values():
                if isinstance(step.recipe, IngestRecipe) and step.recipe.path == folder:
                    _require_files(given, step.recipe)

    def _list_fixed(self) -> tuple[str, ...]:
        """List the values that name what is there already: all runs that the steps make lie elsewhere."""
        return self._request.values if self._request.runs != RUNS else ()

    def _find_input(self, value: str) -> str | None:
        """Find the run in whose folder a value lies; None if no recipe makes such a run."""
        return next((str(p) for p in (Path(value), *Path(value).parents) if str(p) in self._makers), None)

    def _find_moved(self, recipe: Any) -> Iterator[tuple[str, str]]:
        """List the keys whose values lie in `runs` and must be elsewhere, with their new values."""
        for key, value in list_values(asdict(recipe)):
            if key.startswith(_COPY):
                continue
            moved = _move(value, self._request)
            if moved != value:
                yield key, moved if isinstance(moved, str) else json.dumps(moved, ensure_ascii=False)


def _is_ingested(folder: str) -> bool:
    return (read_manifest(Path(folder)) or {}).get("inputs", {}).get("kind") == "ingest"


def _require_corpus(given: str, folder: Path) -> None:
    """Raise WrongCall unless a folder exists, and is no run other than that of a finished ingest."""
    if not folder.exists():
        raise WrongCall(f"{given}: no such folder; name that of the corpus files, or the run of an ingest")
    manifest = read_manifest(folder) or {}
    kind = manifest.get("inputs", {}).get("kind", "ingest")
    if kind != "ingest":
        raise WrongCall(f"{given}: the run of a {kind}; name the folder of the corpus files, or the run of an ingest")
    if manifest and not manifest.get("finished"):
        raise WrongCall(f"{given}: not finished; run python -m autodata.corpora.ingest again")


def _require_files(given: str, recipe: IngestRecipe) -> None:
    """Raise WrongCall unless a corpus has files that its ingest reads; the message names their kinds."""
    from autodata.corpora.sources import list_files  # slow to import, and most calls name no corpus

    try:
        list_files(recipe)
    except RecipeError as problem:
        raise WrongCall(f"{given}: {problem}") from problem


def _name_corpus(recipe: IngestRecipe | GenerateRecipe | MetaRecipe) -> str:
    """Name what a step reads: the files of an ingest, or the documents of any other step."""
    return recipe.path if isinstance(recipe, IngestRecipe) else recipe.documents.path


def _move(value: Any, request: Request) -> Any:
    if isinstance(value, str):
        return request.move(value)
    if isinstance(value, list):
        return [_move(item, request) for item in value]
    return {key: _move(item, request) for key, item in value.items()} if isinstance(value, dict) else value


def _list_neighbours(tables: Sequence[Path]) -> list[Path]:
    """List the recipes beside the tables' own, which may be in a folder of the user."""
    return [path for table in tables for path in table.parent.rglob("*.yaml")]


def find_makers(recipes: Sequence[Path]) -> dict[str, list[Path]]:
    """Find the recipes that have a `run` of their own, by its value. Whatever they include does not count.

    Files beside a table may be anything: what is no text, or cannot be read, makes no run.
    """
    makers: dict[str, list[Path]] = defaultdict(list)
    for path in sorted({path.resolve() for path in recipes}):
        with suppress(OSError):
            if found := _RUN.search(path.read_text(encoding="utf-8", errors="replace")):
                makers[found[1]].append(path)
    return makers


def list_values(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """List the leaves of nested dictionaries by their keys; a list is a leaf."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from list_values(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def list_strings(value: Any) -> Iterator[tuple[str, str]]:
    """List all texts of a recipe by their keys, those in lists as well."""
    for key, leaf in list_values(value):
        for text in leaf if isinstance(leaf, list) else [leaf]:
            if isinstance(text, str):
                yield key, text
