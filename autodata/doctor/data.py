"""Checks the results of earlier steps: is the data set fit to train on, is the weak solver neither at 0 nor at 1?"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from autodata.config import RecipeError
from autodata.data.examples import DECONTAMINATION, EXAMPLES
from autodata.doctor.finding import Finding, fail, ok, skip, warn
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.training import GrpoRecipe
from autodata.run import identity
from autodata.run.folder import require_finished
from autodata.run.records import RunError, hash_path, read_json, read_records
from autodata.stats.writing import write_count
from autodata.types import EXAMPLE, TRAJECTORY, Example, Trajectory

COMMAND = COMMANDS[DatasetRecipe]
_MIN_DOCUMENTS = 20  # needed to judge the weak solver


def check_dataset(folder: str) -> list[Finding]:
    """Check that a data set is finished, unchanged since, and was compared with benchmarks."""
    try:
        outputs = require_finished(folder, COMMAND)["outputs"]
    except RunError as error:
        return [fail("dataset", str(error))]
    for name in (EXAMPLES, DECONTAMINATION):
        path = Path(folder) / name
        if not path.is_file() or hash_path(path) != outputs.get(name):
            return [fail("dataset", f"{path} has changed since {COMMAND} wrote it; make the data set again")]
    compared = warn("decontamination", f"{folder} was compared with no benchmark: set decontaminate in its recipe")
    if files := read_json(Path(folder) / DECONTAMINATION)["files"]:
        compared = ok("decontamination", f"compared with {write_count(len(files), 'benchmark file')}")
    return [ok("dataset", f"{folder} is complete and unchanged"), compared]


def check_label(recipe: EvalRecipe) -> Finding:
    """Check that the label belongs to the weights that are evaluated."""
    try:
        identity.check_label(recipe)
    except (RecipeError, RunError) as error:
        return fail("label", str(error))
    return ok("label", f"{recipe.label} is {identity.find_weights(recipe) or identity.find_endpoint(recipe).model}")


def check_examples(recipe: GrpoRecipe) -> list[Finding]:
    try:
        examples = read_records(Path(recipe.dataset) / EXAMPLES, EXAMPLE)
    except RunError as error:
        return [fail("examples", str(error))]
    count = sum(e.split == "train" and e.arm in recipe.arms for e in examples)
    number = write_count(count, "training example")
    key = "train_examples" if (recipe.train_examples or 0) > recipe.min_examples else "min_examples"
    finding = ok("examples", f"{number} of {', '.join(recipe.arms)}, {key}={getattr(recipe, key)}")
    if count < getattr(recipe, key):
        finding = fail("examples", f"{finding.detail}: generate from more documents, or lower {key}")
    return [finding, judge_splits(examples)]


def check_watched(recipe: GrpoRecipe) -> list[Finding]:
    """Check the data set of the watched sets: no source that it holds out may be trained on."""
    folders = (recipe.dataset, recipe.watched_dataset)
    try:
        trained, watched = (read_records(Path(folder) / EXAMPLES, EXAMPLE) for folder in folders)
    except RunError as error:
        return [fail("splits", str(error))]
    sides = [e for e in trained if e.split == "train" and e.arm in recipe.arms]
    sides += [e for e in watched if e.split == "test" and f"{e.arm}_test" in recipe.evaluate]
    advice = "make dataset or evaluate_dataset from other documents"
    return [*check_dataset(recipe.watched_dataset), judge_splits(sides, advice)]


def judge_splits(examples: Sequence[Example], advice: str = "make the data set again") -> Finding:
    train, test = (
        {part for e in examples if e.split == split for part in e.document_source.split("; ")}
        for split in ("train", "test")
    )
    number_train, number_test = (write_count(len(sources), "source") for sources in (train, test))
    if shared := sorted(train & test):
        number = write_count(len(shared), "source")
        return fail("splits", f"train and test share {number}, for example {shared[0]}: {advice}")
    return ok("splits", f"{number_train} to train on, {number_test} held out, none shared")


def check_weak_solver(run: str) -> Finding:
    """Judge the weak solver by the first rounds of an earlier run in the same folder, those before any feedback."""
    try:
        return judge_weak_solver(read_records(Path(run) / "trajectories.jsonl", TRAJECTORY), run)
    except RunError as error:
        return fail("weak solver", str(error))


def judge_weak_solver(trajectories: Sequence[Trajectory], run: str) -> Finding:
    attempts = (next((r.weak for r in t.rounds if r.weak), ()) for t in trajectories)
    scores = ([a.judgement.score for a in weak if a.judgement.score is not None] for weak in attempts)
    means = [fmean(values) for values in scores if values]
    if len(means) < _MIN_DOCUMENTS:
        number = write_count(len(means), "document")
        return skip("weak solver", f"{run} has scores of {number}; first run with documents.limit={_MIN_DOCUMENTS}")
    detail = f"mean score {fmean(means):.2f} in the first rounds of {len(means):,} documents"
    if fmean(means) in (0, 1):
        return fail("weak solver", f"{detail}: all are too easy or too hard for it; change models.weak_solver")
    return ok("weak solver", detail)
