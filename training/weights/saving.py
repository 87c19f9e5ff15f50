"""Saves trained models in a form that vLLM and transformers load, with everything that serving needs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer, TrainerCallback, TrainerState, TrainingArguments
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    IMAGE_PROCESSOR_NAME,
    LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE,
    PROCESSOR_NAME,
    VIDEO_PROCESSOR_NAME,
    cached_file,
)

from autodata.config import RecipeError
from autodata.recipes.training import GrpoRecipe
from autodata.run.records import RunError
from autodata.training.weights.student import find_base, load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Files of a multimodal model's processor. vLLM reads them also when it is sent only text.
_PROCESSOR = (PROCESSOR_NAME, IMAGE_PROCESSOR_NAME, VIDEO_PROCESSOR_NAME, LEGACY_PROCESSOR_CHAT_TEMPLATE_FILE)


def save_student(source: Path, target: Path, recipe: GrpoRecipe, card: str) -> None:
    """Save the model of a checkpoint as bfloat16: merged with its adapters if it has any, which are saved beside it.

    The tokenizer comes from the checkpoint, the files of a multimodal model's processor from the untrained weights.
    `target` appears only when its last file is written, so it is never incomplete.
    """
    if (source / ADAPTER_CONFIG_NAME).exists():
        with _appears_whole(find_adapters(target)) as scratch:
            for name in (ADAPTER_CONFIG_NAME, ADAPTER_SAFE_WEIGHTS_NAME):
                shutil.copyfile(source / name, scratch / name)
            (scratch / "README.md").write_text(card, encoding="utf-8")
    with _appears_whole(target) as scratch:
        with _apart_from_training():
            _load_trained(source, recipe).save_pretrained(scratch)
        AutoTokenizer.from_pretrained(source).save_pretrained(scratch)
        _copy_processor(recipe, scratch)
        (scratch / "README.md").write_text(card, encoding="utf-8")


def find_adapters(model: Path) -> Path:
    """Return the folder of the adapters of a saved model: adapter_at_200 for model_at_200."""
    return model.with_name(model.name.replace("model", "adapter", 1))


def _load_trained(source: Path, recipe: GrpoRecipe) -> PreTrainedModel:
    import torch
    from peft import PeftModel

    if not (source / ADAPTER_CONFIG_NAME).exists():
        return load_model(str(source), {"dtype": "bfloat16"})
    weights, options = find_base(recipe)
    base = load_model(weights, {key: options[key] for key in ("dtype", "revision") if key in options})
    # Added once to a fresh copy, so the sum is the one that vLLM sampled from.
    return PeftModel.from_pretrained(base, source).merge_and_unload().to(torch.bfloat16)


def _copy_processor(recipe: GrpoRecipe, target: Path) -> None:
    """Copy the files of the processor, if the untrained weights have any.

    They are not loaded and saved again: loading a processor needs torchvision, even if it is for text only.
    """
    weights, options = find_base(recipe)
    where = {"revision": options.get("revision"), "_raise_exceptions_for_missing_entries": False}
    for name in _PROCESSOR:
        if path := cached_file(weights, name, **where):
            shutil.copyfile(path, target / name)


@contextmanager
def _appears_whole(target: Path) -> Iterator[Path]:
    """Yield a folder to write into, and give it its name at the end."""
    scratch = target.with_name(target.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    yield scratch
    shutil.rmtree(target, ignore_errors=True)
    scratch.rename(target)


@contextmanager
def _apart_from_training() -> Iterator[None]:
    """Load whole models meanwhile, and give the training its random numbers back.

    Under ZeRO-3, from_pretrained would load empty tensors. Adapters draw random numbers before they are loaded, but
    the checkpoint has the generator's earlier state: without this, a resumed run would differ.
    """
    import torch
    from transformers.integrations import deepspeed

    reference = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = reference


class ModelKeeper(TrainerCallback):
    """Keeps the models of some steps as RUN/model_at_STEP, each made from its checkpoint as soon as that is saved.

    If a run is killed between the two, the resumed run makes the model: it starts from that checkpoint.
    """

    def __init__(self, folder: Path, steps: Sequence[int], save: Callable[[Path, Path, int], None]):
        self._folder, self._steps, self._save = folder, steps, save

    def on_save(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        self.keep(state)

    def keep(self, state: TrainerState) -> None:
        """Make the models of all these steps whose checkpoint is there."""
        for step in self._steps if state.is_world_process_zero else ():
            checkpoint = self._folder / "checkpoints" / f"checkpoint-{step}"
            target = name_kept(self._folder, step)
            if (checkpoint / "trainer_state.json").exists() and not target.exists():
                self._save(checkpoint, target, step)

    on_train_begin = on_save


def name_kept(folder: Path, step: int) -> Path:
    return folder / f"model_at_{step}"


def require_kept(folder: Path, steps: Sequence[int]) -> None:
    """Raise RunError if the model of a step that the recipe keeps is not there."""
    for step in steps:
        if not name_kept(folder, step).exists():
            raise RunError(
                f"{name_kept(folder, step)}: missing, and its checkpoint is gone; train in another folder (run=…)"
            )


def check_kept_steps(steps: Sequence[int], args: TrainingArguments) -> None:
    """Check that the training saves a checkpoint at each of these steps. Raises RecipeError."""
    for step in steps:
        if args.save_strategy != "steps" or args.save_steps < 1 or step < 1 or step % args.save_steps:
            raise RecipeError(
                f"save_models_at: {step} is not a multiple of trainer.save_steps={args.save_steps:g} "
                f"(trainer.save_strategy={args.save_strategy.value}), so no checkpoint is saved at this step"
            )
        if step > args.max_steps:
            raise RecipeError(
                f"save_models_at: step {step} is beyond trainer.max_steps={args.max_steps}, which must be set"
            )
