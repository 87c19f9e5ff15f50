"""Connects a recipe to its source: lists the files, reads them, makes documents, and drops what was opted out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from autodata.config import RecipeError
from autodata.corpora import own, papers, pile_of_law, principia, s2orc
from autodata.corpora.documents import find_files
from autodata.corpora.papers import Abstracts, Eligible
from autodata.corpora.record import Drop, Record
from autodata.corpora.rows import SUFFIXES, BadRow, Row, read_rows
from autodata.recipes.corpora import IngestRecipe

EXPECTED = {  # source → the files that it is read from
    "s2orc": "it needs .jsonl.gz (or .gz parts of the release), .zst or .parquet files",
    "pile_of_law": "it needs data/train.<subset>[.<n>].jsonl.xz of the subsets in pile_of_law.subsets",
    "principia": "it needs the .parquet files of the collection",
    "own": f"it needs {own.KINDS}",
}
_TASK_BYTES, _TASK_FILES = 64 << 20, 1_000  # small files share a task; a large one has its own


class Source:
    """Reads one corpus; each process has its own Source."""

    def __init__(self, recipe: IngestRecipe, eligible: Path):
        self._recipe = recipe
        self._eligible = Eligible.load(eligible) if recipe.source == "s2orc" else None
        abstracts = eligible / "abstracts"
        self._abstracts = Abstracts(abstracts) if abstracts.exists() else None
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

    def identify(self, row: Row) -> str:
        """Return the id of a row's document, '' if it has none."""
        try:
            match self._recipe.source:
                case "s2orc":
                    return f"s2orc-{s2orc.read_corpusid(row.value)}"
                case "pile_of_law":
                    return pile_of_law.identify(row.value)
                case "principia":
                    return principia.identify(row.value)
            return own.identify(row, self._recipe.own)
        except Drop:
            return ""

    def _parse(self, row: Row) -> Record:
        recipe = self._recipe
        if self._eligible is not None:
            return s2orc.parse(row.value, recipe.s2orc, self._eligible, recipe.one_in, self._abstracts)
        if recipe.source == "pile_of_law":
            return pile_of_law.parse(row.value, recipe.pile_of_law, recipe.one_in)
        if recipe.source == "principia":
            return principia.parse(row.value, recipe.principia, recipe.one_in)
        return own.parse(row, recipe.own, recipe.one_in)


def list_files(recipe: IngestRecipe) -> tuple[dict[str, int], Counter[str]]:
    """List the files to read, name below `path` → bytes, and count the others by their ending. Raises RecipeError."""
    if recipe.source not in EXPECTED:
        raise RecipeError(f"source={recipe.source}: choose one of {', '.join(EXPECTED)}")
    every = _list(recipe.path, "path")
    match recipe.source:
        case "own":
            files = {name: size for name, size in every.items() if own.can_read(name)}
        case "pile_of_law":
            files = {n: size for n, size in every.items() if pile_of_law.is_wanted(Path(n).name, recipe.pile_of_law)}
            _require_subsets(recipe, files)
        case _:
            files = {name: size for name, size in every.items() if name.lower().endswith(SUFFIXES)}
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


def list_papers(recipe: IngestRecipe) -> dict[str, int]:
    """List the files of `papers`, which has years and fields of study, and of `abstracts`. Raises RecipeError."""
    if recipe.source != "s2orc":
        return {}
    if not recipe.papers:
        raise RecipeError("papers: name the folder of the `papers` data set; the texts have no year or field of study")
    abstracts = _list_rows(recipe.abstracts, "abstracts") if recipe.abstracts else {}
    return _list_rows(recipe.papers, "papers") | {f"abstracts/{name}": size for name, size in abstracts.items()}


def read_papers(recipe: IngestRecipe, folder: Path) -> dict[str, int]:
    """Write the eligible papers to `folder`, and return the counts. Raises RecipeError if there is none."""
    filters = recipe.s2orc
    counts = papers.build(
        _read_values(recipe.papers or "", "papers"), folder, filters.min_year, filters.field_of_study
    )
    if not counts["eligible"]:
        wanted = f"s2orc.min_year={filters.min_year} and s2orc.field_of_study={filters.field_of_study}"
        raise RecipeError(
            f"papers={recipe.papers}: none of {counts['rows']:,} papers is eligible by {wanted}; no text was read. "
            "Correct one of these keys, or download the data set again, and name another run="
        )
    if recipe.abstracts:
        values = _read_values(recipe.abstracts, "abstracts")
        joined = papers.build_abstracts(values, folder / "abstracts", Eligible.load(folder))
        counts |= {f"abstracts {name}": count for name, count in joined.items()}
    return counts


def _read_values(folder: str, key: str) -> Iterator[dict[str, object] | None]:
    """Yield the rows of a data set, None for one that is damaged."""
    for name in _list_rows(folder, key):
        for row in read_rows(Path(folder) / name, name):
            yield row.value if isinstance(row, Row) else None


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


def _list(folder: str, key: str) -> dict[str, int]:
    root = Path(folder)
    if not root.is_dir():
        raise RecipeError(f"{key}={folder}: no such folder")
    # A link to a file that is gone is listed too, so that it is counted and not passed over.
    return {name: path.stat().st_size if path.exists() else 0 for path, name in find_files(root)}


def _list_rows(folder: str, key: str) -> dict[str, int]:
    files = {name: size for name, size in _list(folder, key).items() if name.lower().endswith(SUFFIXES)}
    if not files:
        raise RecipeError(f"{key}={folder}: no file of rows there; it needs .gz, .jsonl or .parquet files")
    return files
