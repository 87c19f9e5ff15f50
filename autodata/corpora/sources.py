"""Connects a recipe to its source: lists the files, reads them, makes documents, and drops what was opted out."""

from collections.abc import Iterator
from pathlib import Path

from autodata.config import RecipeError
from autodata.corpora import own, papers, pile_of_law, principia, s2orc
from autodata.corpora.documents import find_files
from autodata.corpora.papers import Eligible
from autodata.corpora.record import Drop, Record
from autodata.corpora.rows import SUFFIXES, BadRow, Row, read_rows
from autodata.recipes.corpora import IngestRecipe

EXPECTED = {  # source → the files that it is read from
    "s2orc": "it needs .jsonl.gz (or .gz parts of the release), .zst or .parquet files",
    "pile_of_law": "it needs data/train.<subset>.<n>.jsonl.xz of a subset in pile_of_law.subsets",
    "principia": "it needs the .parquet files of the collection",
    "own": f"it needs {', '.join(own.SUFFIXES)} files",
}
_TASK_BYTES, _TASK_FILES = 64 << 20, 1_000  # small files share a task; a large one has its own


class Source:
    """Reads one corpus; each process has its own Source."""

    def __init__(self, recipe: IngestRecipe, eligible: Path):
        self._recipe = recipe
        self._eligible = Eligible.load(eligible) if recipe.source == "s2orc" else None
        self._opted_out = read_opt_out(recipe.opt_out)

    def read(self, name: str) -> Iterator[Row | BadRow]:
        """Yield the rows of a file, named as in `list_files`."""
        return (own.read if self._recipe.source == "own" else read_rows)(Path(self._recipe.path) / name, name)

    def parse(self, row: Row) -> Record:
        """Make the document of a row. Raises Drop, also for a document that was opted out."""
        record = self._parse(row)
        names = (record.id, *(record.fields.get(key) for key in ("doi", "url", "arxiv", "corpusid")))
        if not self._opted_out.isdisjoint(str(name).casefold() for name in names if name):
            raise Drop("opted out")
        return record

    def _parse(self, row: Row) -> Record:
        recipe = self._recipe
        if self._eligible is not None:
            return s2orc.parse(row.value, recipe.s2orc, self._eligible, recipe.one_in)
        if recipe.source == "pile_of_law":
            return pile_of_law.parse(row.value, recipe.pile_of_law, recipe.one_in)
        if recipe.source == "principia":
            return principia.parse(row.value, recipe.principia, recipe.one_in)
        return own.parse(row, recipe.own, recipe.one_in)


def list_files(recipe: IngestRecipe) -> dict[str, int]:
    """List the files to read: name below `path` → bytes. Raises RecipeError when there are none."""
    if recipe.source not in EXPECTED:
        raise RecipeError(f"source={recipe.source}: choose one of {', '.join(EXPECTED)}")
    files = _list(recipe.path, own.SUFFIXES if recipe.source == "own" else SUFFIXES, "path")
    if recipe.source == "pile_of_law":
        files = {n: size for n, size in files.items() if pile_of_law.is_wanted(Path(n).name, recipe.pile_of_law)}
    if not files:
        raise RecipeError(f"path={recipe.path}: no file for source={recipe.source}; {EXPECTED[recipe.source]}")
    return files


def list_papers(recipe: IngestRecipe) -> dict[str, int]:
    """List the files of the `papers` data set, which has years and fields of study. Raises RecipeError."""
    if recipe.source != "s2orc":
        return {}
    if not recipe.papers:
        raise RecipeError("papers: name the folder of the `papers` data set; the texts have no year or field of study")
    return _list(recipe.papers, SUFFIXES, "papers")


def read_papers(recipe: IngestRecipe, folder: Path) -> dict[str, int]:
    """Write the eligible papers to `folder`, and return the counts of the rows that were read."""
    rows = (row for name in list_papers(recipe) for row in read_rows(Path(recipe.papers or "") / name, name))
    values = (row.value if isinstance(row, Row) else None for row in rows)
    return papers.build(values, folder, recipe.s2orc.min_year, recipe.s2orc.field_of_study)


def read_opt_out(path: str | None) -> frozenset[str]:
    """Read the ids, DOIs and URLs that must not be used, one per line; # begins a comment. Raises RecipeError."""
    if path is None:
        return frozenset()
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"opt_out={path}: the file cannot be read ({error})") from error
    return frozenset(n.casefold() for line in lines if (n := line.partition(" #")[0].strip()) and n[0] != "#")


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


def _list(folder: str, suffixes: tuple[str, ...], key: str) -> dict[str, int]:
    root = Path(folder)
    if not root.is_dir():
        raise RecipeError(f"{key}={folder}: no such folder")
    return {name: path.stat().st_size for path, name in find_files(root, suffixes)}
