"""Runs one training from its run folder to its saved model. Every process runs it; the main one writes the results."""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from autodata.config import RecipeError
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.models import Endpoint
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.training import GrpoRecipe
from autodata.report.curves import compare_quarters
from autodata.run.folder import Run, output_hash, read_manifest
from autodata.run.progress import Progress
from autodata.serving.journal import Journal
from autodata.serving.leases import LeaseWatch
from autodata.serving.vllm import running
from autodata.stats.writing import write_duration, write_percent
from autodata.training.callbacks import write_curves
from autodata.training.rewards.reward import JudgeDown
from autodata.training.rows import PADDING
from autodata.training.trainer import Training
from autodata.training.weights.card import describe_judgements, write_card
from autodata.training.weights.movement import CHANGE, SHARE, require_gradient
from autodata.training.weights.saving import ModelKeeper, find_adapters, name_kept, require_kept, save_student
from autodata.types import Role

_LOOK_S = 1.0  # between two looks at the leases of a judge
_PATIENCE_FOR_OTHERS_S = 600.0  # after the first replica of a judge is ready


def train(recipe: GrpoRecipe, folder: Path, progress: Progress | None = None) -> tuple[Training, Path]:
    """Train, on every process; return the training and the folder with the trained model, in any precision.

    Only the main process has a `progress`. Raises UserError, OSError.
    """
    process = PartialState()
    find_judges(recipe)
    with closing(Journal(folder / f"journal_{process.process_index}.sqlite")) as journal, ExitStack() as servers:
        judges = [recipe.models.judge, recipe.second_judge] if process.is_main_process else []
        for judge in filter(None, judges):
            servers.enter_context(running(replace(recipe.models, judge=judge), [Role.JUDGE], folder))
        training = Training(recipe, folder, journal)
        keeper = ModelKeeper(folder, recipe.save_models_at, partial(save_model, training))
        training.trainer.add_callback(keeper)
        if progress:
            training.follow(progress)
        trained, state = training.run(), training.trainer.state
        if process.is_main_process:
            keeper.keep(state)
        if progress:
            progress.done = progress.total = state.global_step
        return training, trained


def save(run: Run, training: Training, trained: Path) -> None:
    """Save the model in `trained` with its card, the curves, and the manifest.

    Raises JudgeDown, NothingMoved, RunError.
    """
    write_curves(training.trainer.state.log_history, run.folder)
    _require_judgements(training)
    require_gradient(training.trainer.state.log_history)
    facts = summarize(training, training.trainer.state.global_step)
    require_kept(run.folder, training.recipe.save_models_at)
    run.note(examples=count_examples(training), **facts)
    save_model(training, trained, run.path("model"), facts["steps"])
    shutil.rmtree(run.path("full"), ignore_errors=True)
    run.finish(_list_models(run.folder, training.recipe))
    first, last = facts["reward_first_quarter"], facts["reward_last_quarter"]
    print(f"reward: {first:.3f} in the first quarter of the steps, {last:.3f} in the last → {run.path('curve.png')}")
    print(f"evaluations took {write_percent(facts['evaluation_share'])} of the time")
    if facts["failed_judgements"]:
        print(f"{describe_judgements(facts)}: {_list_failures(facts['failed_by_reason'])}")


def save_model(training: Training, source: Path, target: Path, step: int) -> None:
    """Save the model of a checkpoint, with the card of a training that ended at this step."""
    manifest = read_manifest(training.folder) or {}
    card = write_card(manifest | summarize(training, step), training.recipe)
    save_student(source, target, training.recipe, card)


def summarize(training: Training, step: int) -> dict[str, Any]:
    """Return what the manifest and the card say about a training up to a step. Raises JudgeDown without a reward."""
    counts = training.books.gather()
    entries = [entry for entry in training.trainer.state.log_history if entry["step"] <= step]
    rewards = [entry["reward"] for entry in entries if entry.get("reward") is not None]
    if not rewards:
        raise JudgeDown(
            "no step had a reward: every completion was masked, or its judgement failed; check reward.cut_off, "
            "trainer.max_completion_length and the judge, then train in another folder (run=…)"
        )
    first, last = compare_quarters(rewards)
    return {
        "steps": step,
        "reward_first_quarter": first,
        "reward_last_quarter": last,
        **next(({SHARE: entry[SHARE], CHANGE: entry[CHANGE]} for entry in entries if SHARE in entry), {}),
        "evaluation_share": measure_evaluations(entries),
        "judgements": counts.judgements,
        "failed_judgements": counts.failed,
        "failed_by_reason": counts.failures,
        "judged_over": {"sessions": counts.sessions, "processes": counts.processes},
    }


def count_examples(training: Training) -> dict[str, int]:
    """Count the different examples of each set: `train` and those that were watched."""
    data = (training.trainer.train_dataset, training.trainer.eval_dataset)
    rows = {pair for rows in data if rows is not None for pair in zip(rows["set"], rows["example_id"], strict=True)}
    return dict(sorted(Counter(name for name, _ in rows if name != PADDING).items()))


def measure_evaluations(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Compute which share of the time the evaluations of watched sets took; None if nothing was trained.

    The rest of the time are the training's steps with generation and judging. `history` is the trainer's log.
    """
    steps = sum(entry["step_time"] for entry in history if "step_time" in entry)
    watched = sum(entry.get("eval_runtime", 0.0) for entry in history)
    return watched / (steps + watched) if steps else None


def _list_models(folder: Path, recipe: GrpoRecipe) -> list[str]:
    """List the saved models of a training, and their adapters if it trained such."""
    models = [folder / "model", *(name_kept(folder, step) for step in recipe.save_models_at)]
    return [path.name for path in (*models, *(map(find_adapters, models) if recipe.lora else ()))]


def _require_judgements(training: Training) -> None:
    """Raise JudgeDown if too many of this session's judgements failed, even if these were few."""
    books, at_most = training.books, training.recipe.reward.max_failures
    if books.failed > at_most * books.judged:
        raise JudgeDown(
            f"{books.failed} of {books.judged} judgements of this session failed ({_list_failures(books.failures)}), "
            f"more than reward.max_failures={at_most:g} allows; repair the judge and train in another folder (run=…)"
        )


def _list_failures(failures: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in failures.items())


def train_and_save(recipe: GrpoRecipe) -> None:
    """Train and save, or resume; a finished run is left alone. Raises UserError, OSError."""
    # The first PartialState decides for all later ones: without `cpu` here, processes on CPUs do not see each other.
    state, folder = PartialState(cpu=bool(recipe.trainer.get("use_cpu"))), Path(recipe.run)
    if not state.is_main_process:
        if _agree(True):
            train(recipe, folder)
        return
    with Run(recipe.run, "grpo", recipe, hash_datasets(recipe)) as run:
        if not _agree(not run.is_finished):
            print(f"{run.folder}: up to date")
            return
        run.start()
        with Progress(run, "steps") as progress:
            save(run, *train(recipe, folder, progress))


def hash_datasets(recipe: GrpoRecipe) -> dict[str, str]:
    """Hash the data sets that a training reads, by the key of the recipe that names them. Raises RunError."""
    folders = {"dataset": recipe.dataset, "evaluate_dataset": recipe.evaluate_dataset}
    return {key: output_hash(folder, COMMANDS[DatasetRecipe]) for key, folder in folders.items() if folder}


def _agree(goes_on: bool) -> bool:
    """Return the main process's value on all processes."""
    return broadcast_object_list([goes_on])[0]


def find_judges(recipe: GrpoRecipe, patience_s: float = 4 * 3600.0) -> None:
    """Give each judge's endpoint the URL of a replica that this training's job serves, if it does.

    Processes take different replicas. `patience_s` is long because large weights load slowly. Raises RecipeError if no
    replica gets ready, or if several processes would each have to start the judge's server.
    """
    judge = recipe.models.judge
    for name in {role.endpoint for role in (judge, recipe.second_judge) if role}:
        endpoint = recipe.models.endpoints.get(name)
        if endpoint is None or endpoint.server is None or endpoint.base_url:
            continue
        if endpoint.leases:
            _take_replica(name, endpoint, patience_s)
        elif judge and name == judge.endpoint and PartialState().num_processes > 1:
            raise RecipeError(
                "several processes cannot start the judge's server: set "
                f"models.endpoints.{name}.base_url, or submit the training with bash slurm/train.sh, which serves it"
            )


def _take_replica(name: str, endpoint: Endpoint, patience_s: float) -> None:
    """Wait until all replicas are ready, or those that are after a while, and take one of them."""
    watch, deadline, count = LeaseWatch(Path(endpoint.leases)), time.monotonic() + patience_s, endpoint.server.replicas
    while len(ready := [lease for lease in watch.look_fresh() if lease.endpoint == name]) < count:
        if ready:
            deadline = min(deadline, time.monotonic() + _PATIENCE_FOR_OTHERS_S)
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_S)
    if not ready:
        raise RecipeError(
            f"models.endpoints.{name}: no replica was ready after {write_duration(patience_s)}; see {endpoint.leases}"
        )
    endpoint.base_url = ready[PartialState().process_index % len(ready)].url
    endpoint.leases = None  # calls go to this replica alone, so the load of the others sets no limit
