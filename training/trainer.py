"""Builds TRL's trainer and its parts: configuration, model, rows, reward, checks."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState
from safetensors import SafetensorError

from autodata.config import RecipeError
from autodata.data.examples import read_set, require_domain
from autodata.loop import domain as base
from autodata.recipes.models import Models
from autodata.recipes.training import GrpoRecipe
from autodata.run.progress import Progress
from autodata.run.records import RunError
from autodata.serving.journal import Journal
from autodata.serving.limits import divide_limits
from autodata.serving.llm import Client
from autodata.training import preflight
from autodata.training.batch import divide_batch
from autodata.training.callbacks import ProgressWriter, TrainingWatch
from autodata.training.rewards.counts import Books
from autodata.training.rewards.overlap import judge_early
from autodata.training.rewards.reward import Reward
from autodata.training.rows import (
    Render,
    choose_by_pass_rate,
    draw_examples,
    fill_up,
    make_rows,
    order_rows,
    render_prompt,
    require_examples,
    spread,
)
from autodata.training.weights.adapters import sync_exactly
from autodata.training.weights.movement import MovementCheck, require_trained
from autodata.training.weights.saving import check_kept_steps
from autodata.training.weights.student import find_base, find_checkpoint, load_student, read_ended

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import GRPOConfig

log = logging.getLogger(__name__)


class Training:
    """One training run: TRL's trainer and all its parts."""

    def __init__(self, recipe: GrpoRecipe, folder: Path, journal: Journal):
        from datasets import Dataset
        from transformers import AutoTokenizer, set_seed

        from autodata.training.policy import PolicyTrainer

        self.recipe, self.folder = recipe, folder
        self.clients: list[Client] = []
        self.books = Books(folder, PartialState().process_index, self.clients)
        processes = PartialState().num_processes
        self.config = make_config(recipe, folder, processes)
        check_kept_steps(recipe.save_models_at, self.config)
        weights, options = find_base(recipe)
        self.tokenizer = AutoTokenizer.from_pretrained(weights, revision=options.get("revision"))
        domain = self._load_domain(recipe.models, journal)
        template = self.config.chat_template_kwargs or {}
        render = partial(render_prompt, domain=domain, tokenizer=self.tokenizer, template=template)
        rows = self._make_rows(render)
        set_seed(self.config.seed)  # new adapters are random
        self.model = load_student(weights, options, recipe.lora)
        require_trained(self.model)
        self._check(rows, processes)
        models = replace(recipe.models, judge=recipe.second_judge)
        second = self._load_domain(models, journal) if recipe.second_judge else None
        self.reward = Reward(domain, self.clients[0], recipe.reward, self.books, second)
        watched = self._make_watched(render)
        self.trainer = PolicyTrainer(
            model=self.model,
            args=self.config,
            processing_class=self.tokenizer,
            train_dataset=self._order(Dataset.from_list(rows)),
            eval_dataset=Dataset.from_list(watched) if watched else None,
            reward_funcs=self.reward.score,
        )
        sync_exactly(self.trainer)
        self.reward.end_ids = find_end_ids(self.model, self.tokenizer)
        judge_early(self.trainer, chain(rows, watched), self.reward)
        self._set_callbacks(partial(preflight.run_probe, self.trainer, rows, self.reward, recipe.preflight))

    def run(self) -> Path:
        """Train from the last checkpoint if there is one; return the folder with the trained model.

        All processes must call this. If the last checkpoint is that of the last step, it is the trained model: the
        trainer would add a step to it.
        """
        last = find_checkpoint(self.folder / "checkpoints", self.model)
        if last and (ended := read_ended(Path(last))):
            self.trainer.state = ended
            return Path(last)
        try:
            self.trainer.train(resume_from_checkpoint=last)
            self.trainer.save_model(str(self.folder / "full"))
        except (RuntimeError, SafetensorError) as error:  # some writers do not say that the disk is full
            require_space(self.folder, self.model, error)
            raise
        return self.folder / "full"

    def follow(self, progress: Progress) -> None:
        """Report every step, and the judges' calls of all processes, to `progress`."""
        for client in self.clients:
            progress.watch(client)
        progress.read_ledger = self.books.ledger
        self.trainer.add_callback(ProgressWriter(progress, self.books))

    def _set_callbacks(self, probe: Callable[[], None]) -> None:
        """Add our checks, and remove what prints: Progress shows one line, and trainer_log.jsonl keeps each entry."""
        from transformers import PrinterCallback, ProgressCallback

        for printer in (PrinterCallback, ProgressCallback):
            self.trainer.remove_callback(printer)
        self.trainer.add_callback(TrainingWatch(self.folder, self.recipe.preflight, probe))
        self.trainer.add_callback(MovementCheck(self.recipe.preflight.min_moved))

    def _load_domain(self, models: Models, journal: Journal) -> base.Domain:
        self.clients.append(Client(divide_limits(models, PartialState().num_processes), journal))
        return base.load(self.recipe.domain, self.clients[-1])

    def _make_rows(self, render: Render) -> list[dict[str, str]]:
        """Make the rows to train on. Raises TooFewExamples, RecipeError."""
        recipe = self.recipe
        require_domain(recipe.dataset, recipe.arms, recipe.domain.name)
        examples = [e for arm in recipe.arms for e in read_set(recipe.dataset, f"{arm}_train")]
        examples = choose_by_pass_rate(examples, recipe.pass_rate)
        examples = draw_examples(examples, recipe.train_examples, self.config.seed, recipe.dataset)
        # A policy that is trained on a handful only learns the handful.
        require_examples(examples, "min_examples", recipe.min_examples, recipe.dataset)
        return make_rows(examples, render)

    def _make_watched(self, render: Render) -> list[dict[str, Any]]:
        """Make the rows of all sets that are evaluated during training. Raises RecipeError."""
        recipe, config, watched = self.recipe, self.config, []
        compared = recipe.second_judge_examples if recipe.second_judge else 0
        for name in recipe.evaluate:
            examples = read_set(recipe.watched_dataset, name)
            if not examples:
                unwatched = "evaluate: %s has no examples of %s, so this set is not evaluated"
                log.warning(unwatched, recipe.watched_dataset, name)
            require_domain(recipe.watched_dataset, {e.arm for e in examples}, recipe.domain.name)
            rows = make_rows(spread(examples, recipe.evaluate_examples), render, name)
            watched += [{**row, "second": i < compared} for i, row in enumerate(rows)]
        if not watched:  # TRL would otherwise demand an evaluation set
            config.eval_strategy, config.eval_on_start = "no", False
            return []
        at_once = None if config.use_vllm else config.per_device_eval_batch_size
        return fill_up(watched, config.num_generations_eval or config.num_generations, at_once, config.world_size)

    def _check(self, rows: list[dict[str, str]], processes: int) -> None:
        """Run the checks that need no trainer. Raises PreflightError."""
        model, limits = self.model, self.recipe.preflight
        longest = preflight.check_prompts(rows, self.tokenizer, limits.prompt_tokens)
        preflight.check_context(model, self.config, longest)
        preflight.check_groups(self.config, processes, bool(limits.probe))
        preflight.check_memory(model, self.config, processes if self.config.deepspeed_plugin else 1)
        preflight.warn_of_kernels(model)

    def _order(self, rows: Dataset) -> Dataset:
        """Lay out all epochs one after another, so that a resumed training goes on in the same order."""
        config = self.config
        epochs = math.ceil(config.num_train_epochs)
        if config.max_steps > 0:
            epochs = math.ceil(config.max_steps * self.recipe.prompts_per_step / len(rows)) + 1
        config.num_train_epochs = config.num_train_epochs / epochs
        return rows.select(order_rows(len(rows), epochs, config.seed))


def make_config(recipe: GrpoRecipe, folder: Path, processes: int) -> GRPOConfig:
    """Make TRL's configuration. Raises RecipeError for a key that TRL does not know or that a recipe may not set."""
    from trl import GRPOConfig

    fixed = {"output_dir": str(folder / "checkpoints"), "shuffle_dataset": False}
    reserved = {name: "remove it from the recipe" for name in fixed}
    reserved["gradient_accumulation_steps"] = "it follows from prompts_per_step and the number of processes"
    if keys := sorted(reserved.keys() & recipe.trainer.keys()):
        raise RecipeError(f"trainer.{keys[0]}: set by this command; {reserved[keys[0]]}")
    # Every step is logged, and a loss that is NaN or infinite must not be hidden.
    defaults = {"logging_nan_inf_filter": False, "logging_steps": 1}
    defaults |= divide_batch(recipe.prompts_per_step, recipe.trainer, processes)
    try:  # load_student has taken the model_init_kwargs
        return GRPOConfig(**defaults | recipe.trainer | fixed | {"model_init_kwargs": None})
    except (TypeError, ValueError) as error:
        raise RecipeError(f"trainer: {error}") from error


def require_space(folder: Path, model: PreTrainedModel, error: Exception) -> None:
    """Raise RunError if saving failed because the disk has no room for the weights."""
    free, needed = shutil.disk_usage(folder).free, model.num_parameters() * model.dtype.itemsize
    if free < needed:
        raise RunError(
            f"{folder}: No space left on device: {free / 1e6:,.0f} MB are free, the weights alone need "
            f"{needed / 1e6:,.0f} MB; free some space and run the same command again"
        ) from error


def find_end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Collect the token ids that end a completion, as TRL does."""
    declared = model.generation_config.eos_token_id
    ids = declared if isinstance(declared, list) else [declared]
    return frozenset(i for i in [*ids, tokenizer.eos_token_id, tokenizer.pad_token_id] if i is not None)
