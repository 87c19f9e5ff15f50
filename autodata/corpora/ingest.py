"""Turns corpus files into clean documents: reads, filters, removes repeats, masks personal data, and counts.

python -m autodata.corpora.ingest recipes/ingest/ingest_s2orc.yaml path=… papers=… [key=value …]
"""

import json
import os
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets

from autodata import command
from autodata.config import RecipeError, load
from autodata.corpora import funnel, quality, sources
from autodata.corpora.documents import INGESTED
from autodata.corpora.executors import Stage, run_stage
from autodata.corpora.pipeline import Read, Tally, count_tokens, load_unique, write_documents
from autodata.corpora.repeats import CONFIG, Signature, choose, save_hashes
from autodata.corpora.tokens import CountTokens
from autodata.recipes.corpora import IngestRecipe
from autodata.run.folder import Run
from autodata.run.progress import Progress
from autodata.run.records import RunError, digest
from autodata.serving.embedded import resolve_weights

DROPPED, REPORT, CHART = "dropped", "report.md", "funnel.png"


def ingest(run: Run, recipe: IngestRecipe, files: dict[str, int], progress: Progress) -> Tally:
    """Run all stages, except those that an earlier command finished. Raises RunError, RecipeError, OSError."""
    work = run.path("work")
    tasks = sources.share_out(files)
    sizes = [sum(files[name] for name in task) for task in tasks]
    progress.total = 2 * sum(sizes) + (CONFIG.num_buckets if recipe.near_duplicates else 0) + 1
    if recipe.source == "s2orc":
        _read_papers(recipe, work)
    progress.begin()
    steps = [Read(recipe, tasks, work), partial(save_hashes, work / "hashes"), write_documents(work / "read")]
    steps += [Signature(work / "signatures")] if recipe.near_duplicates else []
    run_stage(recipe, Stage("read", steps, sizes), work, progress)
    if recipe.near_duplicates:
        buckets = MinhashDedupBuckets(str(work / "signatures"), str(work / "pairs"), config=CONFIG)
        run_stage(recipe, Stage("pairs", [buckets], [1] * CONFIG.num_buckets), work, progress)
    run_stage(recipe, Stage("repeats", [partial(choose, work, len(tasks))], [1]), work, progress)
    counter = [CountTokens(_find_tokenizer(recipe.tokenizer))] if recipe.tokenizer else []
    loader = partial(load_unique, recipe.mask_personal_data, work)
    steps = [loader, *counter, partial(count_tokens, work), write_documents(work / INGESTED)]
    run_stage(recipe, Stage("write", steps, sizes), work, progress)
    return funnel.gather(work / "tally", len(tasks))


def _read_papers(recipe: IngestRecipe, work: Path) -> None:
    """Write the table of eligible papers, once. It is small, and every task maps it into memory."""
    if not (work / "eligible").exists():
        print(f"finding the eligible papers in {recipe.papers}")
        scratch = work / "eligible.new"
        counts = sources.read_papers(recipe, scratch)
        (scratch / "counts.json").write_text(json.dumps(counts))
        scratch.rename(work / "eligible")


def _publish(run: Run, tally: Tally) -> None:
    """Link the shards to their final place, write report and manifest, and only then remove the work folder."""
    work = run.path("work")
    papers = work / "eligible" / "counts.json"
    facts = {"papers": json.loads(papers.read_text())} if papers.exists() else {}
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


def _check(recipe: IngestRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    if recipe.executor not in ("local", "slurm"):
        raise RecipeError(f"executor={recipe.executor}: choose local or slurm")
    if recipe.executor == "slurm" and not shutil.which("sbatch"):
        raise RecipeError("executor=slurm: this machine has no sbatch; run the command where Slurm jobs are submitted")
    quality.require_known_languages(recipe.quality)
    if recipe.one_in < 1:
        raise RecipeError(f"one_in={recipe.one_in}: must be 1 or more")
    if recipe.workers is not None and recipe.workers < 1:
        raise RecipeError(f"workers={recipe.workers}: must be 1 or more, or null for all cores")


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
    (files, left_out), papers = sources.list_files(recipe), sources.list_papers(recipe)
    read = {"files": files, "papers": papers, "opt_out": sorted(sources.read_opt_out(recipe.opt_out))}
    inputs = {key: digest(json.dumps(value).encode()) for key, value in read.items()}
    recipe = replace(recipe, path=str(Path(recipe.path).resolve()))
    with Run(recipe.run, "ingest", recipe, inputs) as run:
        if run.is_finished:
            shutil.rmtree(run.path("work"), ignore_errors=True)  # left by a command that was killed at the end
            print(f"{run.folder}: up to date")
            return
        run.start()
        if left_out:
            counts = ", ".join(f"{ending}: {count:,}" for ending, count in left_out.most_common())
            print(f"files left out, because source={recipe.source} has no use for them: {counts}")
        with Progress(run, "bytes") as progress:
            tally = ingest(run, recipe, files, progress)
            tally.left_out = left_out
            _publish(run, tally)


if __name__ == "__main__":
    main()
