"""Checks that a pack gives what its runs gave, and that what it holds may be passed on."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autodata.corpora.documents import read_corpus
from autodata.data.card import is_known
from autodata.data.examples import EXAMPLES, find_licence, match_licence
from autodata.data.release import require_licences
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.replay.move import Source
from autodata.replay.pack import DOCUMENTS, PackError
from autodata.replay.play import OUTPUTS, Made
from autodata.run.records import TRAJECTORIES, RunError, iterate_records, read_records
from autodata.types import EXAMPLE, TRAJECTORY

_UNKNOWN_IN_PACK = {"run": "", "recipe_hash": "", "prompts_hash": "", "models": {}}  # other names, other folders


def require_equal(source: Source, made: Made, again: Path) -> None:
    """Raise PackError if a file that came out is not the one of the runs."""
    for before, now in _pair(source, made, again):
        if before.exists() and _read(before) != _read(now):
            what = "table" if made.step.kind == "table" else "run"
            advice = f"it was altered, or another version of the code made it; make the {what} again"
            raise PackError(f"{before}: the replay gave another file, so this is not published as a pack: {advice}")


def _pair(source: Source, made: Made, again: Path) -> Iterator[tuple[Path, Path]]:
    """Pair each file of a step with the one that came out; a table has its name from its recipe."""
    name = made.step.name
    if made.step.kind != "table":
        yield from ((source.folder / name / file, again / name / file) for file in OUTPUTS[made.step.kind])
    elif source.name(str(output := source.tables[name])):
        yield from ((output.with_name(output.stem + file.removeprefix(name)), again / file) for file in made.outputs)


def _read(path: Path) -> Any:
    """Read a file; of JSON its values, without where its examples come from: in a pack, runs have other names."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".tex":
        return re.sub(r"\\label\{tab:[^}]*\}", "", path.read_text(encoding="utf-8"))  # the name of the file
    if path.suffix != ".jsonl":
        return path.read_bytes()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    for record in records if path.name == EXAMPLES else ():
        record["provenance"] |= _UNKNOWN_IN_PACK
    return records


def require_known_rows(source: Source) -> None:
    """Raise RunError if the pack would hold texts of unknown licence, in runs that it keeps as they are."""
    for name in source.kept:
        run, recipe = source.folder / name, source.runs[name][1]
        if isinstance(recipe, DatasetRecipe):
            require_licences(run, read_records(run / EXAMPLES, EXAMPLE))
        elif isinstance(recipe, GenerateRecipe):
            _require_known_documents(run, _list_sources(source, Path(recipe.documents.path).absolute()))


def _require_known_documents(run: Path, sources: dict[str, str]) -> None:
    for trajectory in iterate_records(run / TRAJECTORIES, TRAJECTORY):
        if not is_known(find_licence(trajectory, sources)):
            problem = f"the pack would hold questions about {trajectory.document_source}, whose licence is unknown"
            advice = "set it in `sources` of the data set's recipe; or, if you may publish it, --allow-unknown-licence"
            raise RunError(f"{run}: {problem}; {advice}")


def find_unlicensed(source: Source, staged: Path) -> dict[str, str]:
    """Find the documents that may not be passed on: their name in the pack → the first without a known licence."""
    found = {place: _find_unknown(staged / DOCUMENTS / place, _list_sources(source, path))
             for path, place in source.documents.items()}  # fmt: skip
    return {place: document for place, document in found.items() if document}


def _list_sources(source: Source, path: Path) -> dict[str, str]:
    """Return the licences that data sets state for documents of a path: the sources of those that read its runs."""
    runs = {
        str(source.folder / name)
        for name, (_, recipe) in source.runs.items()
        if isinstance(recipe, GenerateRecipe) and Path(recipe.documents.path).absolute() == path
    }
    datasets = [recipe for _, recipe in source.runs.values() if isinstance(recipe, DatasetRecipe)]
    reading = [d for d in datasets if not runs.isdisjoint(str(Path(run).absolute()) for run in d.arms.values())]
    return {pattern: licence for recipe in reading for pattern, licence in recipe.sources.items()}


def _find_unknown(documents: Path, sources: dict[str, str]) -> str:
    """Return the first place of a text, read by a run or not, whose licence is unknown; empty if there is none."""
    corpus = read_corpus(str(documents))
    stated = [(document.source, str(document.fields.get("licence") or "")) for document in corpus.documents]
    stated += [(place, "") for place, _ in corpus.skipped]
    return next((place for place, licence in stated if not is_known(match_licence(place, licence, sources))), "")
