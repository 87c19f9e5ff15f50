"""Runs the stages that read a corpus: the join with the `papers` data set, and the selection of rows.

Both leave a folder whose name says what it depends on. If the recipe keeps rows, a later run finds it again.
"""

from pathlib import Path

from autodata.config import RecipeError
from autodata.corpora import papers, sources
from autodata.corpora.executors import Stage, run_stage
from autodata.corpora.pieces import hold, name_folder
from autodata.corpora.pipeline import Join, Select
from autodata.corpora.remote.files import is_remote
from autodata.corpora.sources import Listing
from autodata.recipes.corpora import IngestRecipe
from autodata.run.progress import Progress

KEPT = "kept"  # the folder below a run's work, if the recipe keeps no rows


class Selection:
    """Reads the files of a recipe once; what an earlier run with the same inputs kept is not read again."""

    def __init__(self, recipe: IngestRecipe, joined: dict[str, Listing], work: Path, progress: Progress):
        self._recipe, self._joined, self._progress = recipe, joined, progress
        self._parent = Path(recipe.keep_rows).resolve() if recipe.keep_rows else work / KEPT
        self._join_inputs = _list_inputs(recipe, joined)
        self.join = name_folder(self._parent, "papers", self._join_inputs)

    def join_papers(self) -> None:
        """Write the eligible papers and their abstracts to the folder `join`. Raises RunError, RecipeError."""
        if not self._joined:
            return
        with hold(self.join, self._join_inputs):
            for name, listing in self._joined.items():
                tasks, sizes = _share(listing)
                step = Join(self._recipe, tasks, self.join, of_abstracts=name == "abstracts")
                run_stage(self._recipe, Stage(name, [step], sizes), self.join, self._progress)
                if name == "papers":
                    _require_papers(self._recipe, papers.merge(self.join, len(tasks)))
                else:
                    papers.merge_abstracts(self.join / "abstracts", len(tasks))

    def select_rows(self, files: Listing) -> Path:
        """Return the folder of the rows that can become documents, in pieces. Raises RunError."""
        recipe = self._recipe
        ids = recipe.own.id_column if recipe.source == "own" else ""
        inputs = {"source": recipe.source, "path": _resolve(recipe.path), "files": files, "one_in": recipe.one_in}
        inputs |= {"ids": ids, **self._join_inputs}
        folder = name_folder(self._parent, "rows", inputs)
        tasks, sizes = _share(files)
        with hold(folder, inputs):
            step = Select(recipe, tasks, self.join, folder)
            run_stage(recipe, Stage("rows", [step], sizes), folder, self._progress)
        return folder


def _list_inputs(recipe: IngestRecipe, joined: dict[str, Listing]) -> dict[str, object]:
    """List what the join depends on."""
    if not joined:
        return {}
    filters = {"min_year": recipe.s2orc.min_year, "field_of_study": recipe.s2orc.field_of_study}
    return filters | {name: [_resolve(getattr(recipe, name)), listing] for name, listing in joined.items()}


def _resolve(folder: str) -> str:
    return folder if is_remote(folder) else str(Path(folder).resolve())


def _share(files: Listing) -> tuple[list[list[str]], list[int]]:
    """Divide the files into tasks, and return the bytes of each task too."""
    sizes = {name: size for name, (size, _) in files.items()}
    tasks = sources.share_out(sizes)
    return tasks, [sum(sizes[name] for name in task) for task in tasks]


def _require_papers(recipe: IngestRecipe, counts: dict[str, int]) -> None:
    if counts["eligible"]:
        return
    nameless, damaged = counts["without corpusid"], counts["damaged"]
    if nameless == counts["rows"]:
        raise RecipeError(
            f"papers={recipe.papers}: none of {nameless:,} rows has a number as `corpusid` ({damaged:,} more are "
            "damaged); no text was read. Name the folder of the data set `papers`, and another run"
        )
    wanted = f"s2orc.min_year={recipe.s2orc.min_year} and s2orc.field_of_study={recipe.s2orc.field_of_study}"
    raise RecipeError(
        f"papers={recipe.papers}: none of {counts['rows']:,} papers is eligible by {wanted} "
        f"({nameless:,} rows have no corpusid); no text was read. "
        "Correct one of these keys, or download the data set again, and name another run"
    )
