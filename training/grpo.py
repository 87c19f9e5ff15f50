"""GRPO on accepted examples, with TRL. Running the same command again resumes it.

accelerate launch --config_file recipes/accelerate/cpu.yaml training/grpo.py recipes/demo/grpo.yaml [key=value …]
"""

import json
import sys
from pathlib import Path

from accelerate import PartialState
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from autodata import store
from autodata.config import RecipeError, load
from autodata.domains import base
from autodata.embedded import resolve_weights
from autodata.journal import Journal, JournalError
from autodata.llm import Client
from autodata.recipes import GrpoRecipe
from autodata.servers import ServerError, running
from autodata.store import Run, RunError
from autodata.types import Role
from training.curve import draw_curve
from training.reward import Reward
from training.rows import TooFewExamples, make_rows, read_examples, require_examples

PROBLEMS = (RecipeError, RunError, JournalError, ServerError, TooFewExamples)
_COMMAND = "python -m autodata.dataset"


def make_trainer(recipe: GrpoRecipe, folder: Path, reward: Reward, domain: base.Domain) -> GRPOTrainer:
    """TRL's trainer with nothing of ours but rows and reward. Raises TooFewExamples, RecipeError."""
    weights = resolve_weights(recipe.model)
    tokenizer = AutoTokenizer.from_pretrained(weights)
    examples = read_examples(recipe.dataset, recipe.arm, "train")
    require_examples(examples, recipe.min_examples, recipe.dataset)
    try:
        config = GRPOConfig(output_dir=str(folder / "checkpoints"), **recipe.trainer)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"trainer: {error}") from error
    return GRPOTrainer(
        model=weights,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(make_rows(examples, domain, tokenizer)),
        reward_funcs=reward.score,
    )


def train(recipe: GrpoRecipe, folder: Path) -> tuple[GRPOTrainer, Reward]:
    """Train, from the last checkpoint if there is one."""
    rank = PartialState().process_index
    journal = Journal(folder / f"journal_{rank}.sqlite")
    try:
        domain = base.load(recipe.domain, Client(recipe.models, journal))
        reward = Reward(domain)
        trainer = make_trainer(recipe, folder, reward, domain)
        with running(recipe.models, [Role.JUDGE], folder):
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    finally:
        journal.close()
    return trainer, reward


def save(run: Run, trainer: GRPOTrainer, reward: Reward) -> None:
    """The model, its reward curve as JSON and as a picture, and the manifest."""
    history = [entry for entry in trainer.state.log_history if "reward" in entry]
    run.write("curve.json", json.dumps(history, indent=1) + "\n")
    draw_curve(history, run.path("curve.png"))
    rewards = [entry["reward"] for entry in history]
    quarter = max(len(rewards) // 4, 1)
    first, last = sum(rewards[:quarter]) / quarter, sum(rewards[-quarter:]) / quarter
    run.finish(["model"], steps=trainer.state.global_step, reward_first_quarter=first,
               reward_last_quarter=last, failed_judgements=reward.failed)  # fmt: skip
    print(f"reward: {first:.3f} in the first quarter of the steps, {last:.3f} in the last → {run.path('curve.png')}")


def _last_checkpoint(folder: Path) -> str | None:
    # The trainer writes trainer_state.json last: a checkpoint without it was cut off by a kill.
    whole = [state.parent for state in (folder / "checkpoints").glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.split("-")[1]))) if whole else None


def _train_and_save(recipe: GrpoRecipe) -> None:
    state = PartialState()
    folder = Path(recipe.run)
    if not state.is_main_process:
        state.wait_for_everyone()  # until the run folder is there
        train(recipe, folder)[0].save_model(str(folder / "model"))
        return
    source = store.output_hash(recipe.dataset, _COMMAND)
    with Run(recipe.run, "grpo", recipe, {"dataset": source}) as run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        run.start()
        state.wait_for_everyone()
        trainer, reward = train(recipe, folder)
        trainer.save_model(str(folder / "model"))
        save(run, trainer, reward)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        _train_and_save(load(GrpoRecipe, sys.argv[1:]))
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
