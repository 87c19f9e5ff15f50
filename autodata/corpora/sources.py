"""Connects a recipe to its source: lists the files, reads them, makes documents, and drops what was opted out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from autodata.config import RecipeError
from autodata.corpora import own, pile_of_law, principia, s2orc
from autodata.corpora.papers import Abstracts, Eligible
from autodata.corpora.record import Drop, Record, require_drawn
from autodata.corpora.remote import files as corpus_files
from autodata.corpora.remote.files import locate
from autodata.corpora.rows import SUFFIXES, BadRow, Row, read_rows
from autodata.recipes.corpora import IngestRecipe

EXPECTED = {  # source → the files that it is read from
    "s2orc": "it needs .jsonl.gz (or .gz parts of the release), .zst or .parquet files",
    "pile_of_law": "it needs data/train.<subset>[.<n>].jsonl.xz of the subsets in pile_of_law.subsets",
    "principia": "it needs the .parquet files of the collection",
    "own": f"it needs {own.KINDS}",
}
_TASK_BYTES, _TASK_FILES = 64 << 20, 1_000  # small files share a task; a large one has its own
_PREFIX = re.compile(r"\A(?:(?:https?://)?(?:dx\.)?doi\.org/|doi:\s*|arxiv:\s*|(?:https?://)?arxiv\.org/(?:abs|pdf)/)")
# A paper of arXiv with its version: four digits after the dot until 2014; until 2007 a field and a number, as in
# math.AG/0601001, where the part of the field may be left out.
_VERSION = re.compile(
    r"\A(?:(\d{4}\.\d{4,5})|((?:[a-z]{1,8}-[a-z]{2,4}|cs|math|nlin|physics|stat))(?:\.[a-z]{2})?(/\d{7}))"
    r"(?:v\d{1,2})?(?:\.pdf)?\Z"
)
Listing = dict[str, tuple[int, str]]  # name → bytes and version


class Source:
    """Reads one corpus; each process has its own Source."""

    def __init__(self, recipe: IngestRecipe, join: Path):
        self._recipe = recipe
        self._eligible = Eligible.load(join) if recipe.source == "s2orc" else None
        self._abstracts = Abstracts(join / "abstracts") if recipe.source == "s2orc" and recipe.abstracts else None
        self._opted_out = read_opt_out(recipe.opt_out)

    def read(self, name: str) -> Iterator[Row | BadRow]:
        """Yield the rows of a file, named as in `list_files`."""
        return (own.read if self._recipe.source == "own" else read_rows)(locate(self._recipe.path, name), name)

    def select(self, row: Row) -> None:
        """Raise Drop for a row that cannot become a document, whatever the filters, before its text is looked at."""
        if self._eligible is not None:
            s2orc.require_eligible(s2orc.read_corpusid(row.value), self._eligible)
        if self._recipe.one_in > 1:
            require_drawn(self._identify(row), self._recipe.one_in)

    def parse(self, row: Row) -> Record:
        """Make the document of a row. Raises Drop, also for a document that was opted out."""
        record = self._parse(row)
        names = (record.id, *(record.fields.get(key) for key in ("doi", "url", "arxiv", "corpusid")))
        if not self._opted_out.isdisjoint(_write_name(str(name)) for name in names if name):
            raise Drop("opted out")
        return record

    def identify(self, row: Row) -> str:
        """Return the id of a row's document, '' if it has none."""
        try:
            return self._identify(row)
        except Drop:
            return ""

    def _identify(self, row: Row) -> str:
        match self._recipe.source:
            case "s2orc":
                return f"s2orc-{s2orc.read_corpusid(row.value)}"
            case "pile_of_law":
                return pile_of_law.identify(row.value)
            case "principia":
                return principia.identify(row.value)
        return own.identify(row, self._recipe.own)

    def _parse(self, row: Row) -> Record:
        recipe = self._recipe
        if self._eligible is not None:
            return s2orc.parse(row.value, recipe.s2orc, self._eligible, self._abstracts)
        if recipe.source == "pile_of_law":
            return pile_of_law.parse(row.value, recipe.pile_of_law)
        if recipe.source == "principia":
            return principia.parse(row.value, recipe.principia)
        return own.parse(row, recipe.own)


def list_files(recipe: IngestRecipe) -> tuple[Listing, Counter[str]]:
    """List the files to read, by their name below `path`, and count the others by their ending. Raises RecipeError."""
    if recipe.source not in EXPECTED:
        raise RecipeError(f"source={recipe.source}: choose one of {', '.join(EXPECTED)}")
    every = corpus_files.list_files(recipe.path, "path")
    match recipe.source:
        case "own":
            files = {name: fact for name, fact in every.items() if own.can_read(name)}
        case "pile_of_law":
            files = {n: fact for n, fact in every.items() if pile_of_law.is_wanted(Path(n).name, recipe.pile_of_law)}
            _require_subsets(recipe, files)
        case _:
            files = {name: fact for name, fact in every.items() if name.lower().endswith(SUFFIXES)}
    if not files:
        raise RecipeError(f"path={recipe.path}: no file for source={recipe.source}; {EXPECTED[recipe.source]}")
    return files, own.count_endings(name for name in every if name not in files)


def _require_subsets(recipe: IngestRecipe, files: Iterable[str]) -> None:
    """Raise RecipeError for a subset of Pile of Law without a file in one of the splits."""
    filters = recipe.pile_of_law
    there = {pile_of_law.read_name(Path(name).name) for name in files}
    missing = [f"{split}.{subset}" for split in filters.splits for subset in filters.subsets]
    missing = [name for name in missing if tuple(name.split(".", 1)) not in there]
    if missing:
        problem = f"path={recipe.path}: no file for source=pile_of_law, {', '.join(missing)}"
        raise RecipeError(f"{problem}; {EXPECTED['pile_of_law']}, or take them out of the recipe")


def list_joined(recipe: IngestRecipe) -> dict[str, Listing]:
    """List the files of `papers`, which has years and fields of study, and of `abstracts`. Raises RecipeError."""
    if recipe.source != "s2orc":
        return {}
    if not recipe.papers:
        raise RecipeError("papers: name the folder of the `papers` data set; the texts have no year or field of study")
    folders = {"papers": recipe.papers, "abstracts": recipe.abstracts}
    return {key: _list_rows(folder, key) for key, folder in folders.items() if folder}


def read_values(folder: str, names: Iterable[str]) -> Iterator[dict[str, object] | None]:
    """Yield the rows of files, None for one that is damaged."""
    for name in names:
        for row in read_rows(locate(folder, name), name):
            yield row.value if isinstance(row, Row) else None


def read_opt_out(path: str | None) -> frozenset[str]:
    """Read the ids, DOIs and URLs that must not be used, one per line; # begins a comment. Raises RecipeError."""
    if path is None:
        return frozenset()
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"opt_out={path}: the file cannot be read ({error})") from error
    return frozenset(_write_name(n) for line in lines if (n := line.partition(" #")[0].strip()) and n[0] != "#")


def _write_name(name: str) -> str:
    """Write an id, DOI or URL in the form in which they are compared: a DOI without resolver, a URL with https."""
    plain = _PREFIX.sub("", name.strip().casefold()).rstrip("/")
    return _VERSION.sub(r"\1\2\3", plain).replace("http://", "https://")


def share_out(files: dict[str, int]) -> list[list[str]]:
    """Divide the files into tasks, in order. Neither tasks nor output depend on the number of workers."""
    tasks, total = [[]], 0
    for name, size in files.items():
        if tasks[-1] and (total + size > _TASK_BYTES or len(tasks[-1]) == _TASK_FILES):
            tasks.append([])
            total = 0
        tasks[-1].append(name)
        total += size
    return tasks


def _list_rows(folder: str, key: str) -> Listing:
    listed = corpus_files.list_files(folder, key)
    files = {name: fact for name, fact in listed.items() if name.lower().endswith(SUFFIXES)}
    if not files:
        raise RecipeError(f"{key}={folder}: no file of rows there; it needs .gz, .jsonl or .parquet files")
    return files
