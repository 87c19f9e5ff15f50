"""Turns corpus files into clean documents: reads, filters, removes repeats, masks personal data, and counts.

python -m autodata.corpora.ingest recipes/ingest/ingest_s2orc.yaml path=… papers=… [key=value …]
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora import funnel, quality, sources
from autodata.corpora.documents import INGESTED
from autodata.corpora.executors import Stage, run_stage
from autodata.corpora.papers import count_papers
from autodata.corpora.pieces import list_pieces
from autodata.corpora.pipeline import Read, Tally, count_tokens, load_unique, write_documents
from autodata.corpora.remote.files import is_remote
from autodata.corpora.repeats import CONFIG, Buckets, Signature, choose, save_hashes
from autodata.corpora.selection import KEPT, Selection
from autodata.corpora.sources import Listing
from autodata.corpora.text import benchmarks as benchmark_files
from autodata.corpora.tokens import CountTokens, load_tokenizer
from autodata.recipes.corpora import IngestRecipe
from autodata.run.folder import Run
from autodata.run.progress import Progress
from autodata.run.records import RunError, digest, hash_path, write_file
from autodata.serving.embedded import resolve_weights

DROPPED, REPORT, CHART = "dropped", "report.md", "funnel.png"
TALLIED = ("read", "repeats", "written")  # the stages whose tasks count what they did, after the selection of rows


def ingest(
    run: Run, recipe: IngestRecipe, files: Listing, joined: dict[str, Listing], progress: Progress
) -> tuple[Tally, dict[str, object]]:
    """Run all stages, except those that an earlier command finished, and return the counts of documents and papers.

    Raises RunError, RecipeError, OSError.
    """
    work = run.path("work")
    size = sum(size for size, _ in files.values())
    progress.total = sum(size for listing in joined.values() for size, _ in listing.values()) + 3 * size
    progress.begin()
    selection = Selection(recipe, joined, work, progress)
    selection.join_papers()
    rows = selection.select_rows(files)
    _forget_other_rows(work, rows.name)
    pieces = list_pieces(rows)
    if pieces:
        _make_documents(recipe, pieces, selection.join, work, progress)
    progress.total = progress.done
    (work / DROPPED).mkdir(parents=True, exist_ok=True)
    if (rows / DROPPED).exists():
        shutil.copytree(rows / DROPPED, work / DROPPED / "rows", dirs_exist_ok=True)
    tally = funnel.gather([rows / "tally" / "rows", *(work / "tally" / stage for stage in TALLIED)])
    return tally, {"papers": count_papers(selection.join)} if joined else {}


def _forget_other_rows(work: Path, rows: str) -> None:
    """Delete what an earlier command made of other rows, if it was stopped and the corpus has changed since."""
    note = work / "rows.txt"
    if note.exists() and note.read_text() != rows:
        for path in work.iterdir():
            if path.is_dir() and path.name != KEPT:
                shutil.rmtree(path)
    write_file(note, rows)


def _make_documents(recipe: IngestRecipe, pieces: list[Path], join: Path, work: Path, progress: Progress) -> None:
    """Run the stages whose tasks work on a piece each. Raises RunError, OSError."""
    sizes = [piece.stat().st_size for piece in pieces]
    progress.total = progress.done + 2 * sum(sizes) + (CONFIG.num_buckets if recipe.near_duplicates else 0) + 1
    steps = [Read(recipe, pieces, join, work), partial(save_hashes, work / "hashes"), write_documents(work / "read")]
    steps += [Signature(work / "signatures")] if recipe.near_duplicates else []
    run_stage(recipe, Stage("read", steps, sizes), work, progress)
    if recipe.near_duplicates:
        buckets = Buckets(str(work / "signatures"), str(work / "pairs"), config=CONFIG)
        run_stage(recipe, Stage("pairs", [buckets], [1] * CONFIG.num_buckets), work, progress)
    run_stage(recipe, Stage("repeats", [partial(choose, work, len(pieces))], [1]), work, progress)
    counter = [CountTokens(_find_tokenizer(recipe.tokenizer))] if recipe.tokenizer else []
    loader = partial(load_unique, recipe.mask_personal_data, work)
    steps = [loader, *counter, partial(count_tokens, work), write_documents(work / INGESTED)]
    run_stage(recipe, Stage("write", steps, sizes), work, progress)


def _publish(run: Run, tally: Tally, facts: dict[str, object]) -> None:
    """Link the shards to their final place, write report and manifest, and only then remove the work folder."""
    work = run.path("work")
    for name in (INGESTED, DROPPED):
        (work / name).mkdir(exist_ok=True)
        shutil.rmtree(run.path(name), ignore_errors=True)
        shutil.copytree(work / name, run.path(name), copy_function=_link)
    funnel.draw(tally, run.path(CHART))
    examples = funnel.find_examples(run.path(DROPPED), tally.dropped)
    run.write(REPORT, funnel.write_report(tally, CHART, examples))
    if not tally.kept:
        problem = f"{run.folder}: no document is left: {funnel.find_last_stage(tally)}"
        raise RunError(f"{problem}; see {run.path(REPORT)}, change the recipe or its path, and name another run=")
    run.finish([INGESTED, DROPPED, REPORT], **facts, **funnel.state(tally))
    shutil.rmtree(work)
    print(f"{run.folder}: kept {tally.kept:,} of {tally.rows:,} rows as documents; see {run.path(REPORT)}")


def _link(source: str, target: str) -> None:
    """Give a file of the work folder a second name, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _find_tokenizer(name: str) -> str:
    """Return the path of a tokenizer.json, or a hub name."""
    folder = Path(resolve_weights(name))
    return str(folder / "tokenizer.json") if folder.is_dir() else name


def _require_tokenizer(name: str) -> None:
    """Raise RecipeError if the tokenizer cannot be loaded, before anything is read."""
    try:
        load_tokenizer(_find_tokenizer(name))
    except Exception as error:  # the library raises nothing more precise
        remedy = "write a hub name, the path of a tokenizer.json, embedded, or null to count none"
        raise RecipeError(f"tokenizer={name}: cannot be loaded ({error}); {remedy}") from None


def _check(recipe: IngestRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    if recipe.executor not in ("local", "slurm"):
        raise RecipeError(f"executor={recipe.executor}: choose local or slurm")
    if recipe.executor == "slurm" and not shutil.which("sbatch"):
        raise RecipeError("executor=slurm: this machine has no sbatch; run the command where Slurm jobs are submitted")
    quality.require_usable(recipe.quality)
    if recipe.one_in < 1:
        raise RecipeError(f"one_in={recipe.one_in}: must be 1 or more")
    if recipe.workers is not None and recipe.workers < 1:
        raise RecipeError(f"workers={recipe.workers}: must be 1 or more, or null for all cores")
    if recipe.tokenizer:
        _require_tokenizer(recipe.tokenizer)


def _list_sizes(joined: dict[str, Listing]) -> dict[str, int]:
    """Return the bytes of each file that is joined; the names of abstracts begin with their folder."""
    papers, abstracts = (joined.get(key, {}) for key in ("papers", "abstracts"))
    named = papers | {f"abstracts/{name}": fact for name, fact in abstracts.items()}
    return {name: size for name, (size, _) in named.items()}


@command.report_errors()
def main() -> None:
    recipe = load(IngestRecipe, command.read_recipe(__doc__))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the tasks already run in parallel
    try:
        _run(recipe)
    except OSError as error:
        problem = f"{error.filename or recipe.run}: {error.strerror or error}"
        remedy = "free space or fix permissions, then run the same command again: finished tasks are kept"
        raise RunError(f"{problem}; {remedy}") from None


def _run(recipe: IngestRecipe) -> None:
    _check(recipe)
    (files, left_out), joined = sources.list_files(recipe), sources.list_joined(recipe)
    sizes = {name: size for name, (size, _) in files.items()}
    read = {"files": sizes, "papers": _list_sizes(joined), "opt_out": sorted(sources.read_opt_out(recipe.opt_out))}
    inputs = {key: digest(json.dumps(value).encode()) for key, value in read.items()}
    benchmarks = benchmark_files.find_files(recipe.decontaminate)
    inputs |= {f"benchmark {file.name} {number}": hash_path(file) for number, file in enumerate(benchmarks)}
    if not is_remote(recipe.path):
        recipe = replace(recipe, path=str(Path(recipe.path).resolve()))
    recipe = replace(recipe, decontaminate=[str(Path(path).resolve()) for path in recipe.decontaminate])
    with Run(recipe.run, "ingest", recipe, inputs) as run:
        if run.is_finished:
            shutil.rmtree(run.path("work"), ignore_errors=True)  # left by a command that was killed at the end
            print(f"{run.folder}: up to date")
            return
        run.start()
        if left_out:
            counts = ", ".join(f"{ending}: {count:,}" for ending, count in left_out.most_common())
            print(f"files left out, because source={recipe.source} has no use for them: {counts}")
        short = _announce_benchmarks(recipe, benchmarks)
        with Progress(run, "bytes") as progress:
            tally, facts = ingest(run, recipe, files, joined, progress)
            tally.left_out = left_out
            _publish(run, tally, facts | short)


def _announce_benchmarks(recipe: IngestRecipe, files: Sequence[Path]) -> dict[str, int]:
    """Say which benchmark files are not read, and how many texts are too short to be searched for."""
    if left_out := benchmark_files.count_left_out(recipe.decontaminate):
        print(benchmark_files.describe_left_out(left_out))
    short = benchmark_files.count_short(benchmark_files.read_texts(files))
    if short:
        words = benchmark_files.SHORT
        print(f"benchmark texts of fewer than {words} words, too short to be searched for: {short:,}")
    return {"benchmark_texts_too_short": short} if files else {}


if __name__ == "__main__":
    main()
