"""Tests the training recipes against the installed TRL, transformers and accelerate, without a GPU."""

import dataclasses
from pathlib import Path

import pytest

from autodata.config import load
from autodata.recipes.training import GrpoRecipe
from autodata.run.folder import Run
from autodata.run.records import RunError
from autodata.training.batch import divide_batch
from autodata.training.preflight import check_groups
from tests.helpers.recipes import ON_CPU

REPO = Path(__file__).parent.parent
RECIPES = sorted(str(p.relative_to(REPO)) for p in REPO.glob("recipes/*/grpo*.yaml"))
ON_GPUS = [path for path in RECIPES if not path.startswith(ON_CPU)]
LAID_OVER = [(path, over) for path in ON_GPUS for over in (None, "one_gpu", "server_mode")]
PROMPTS = {"cs": 16, "legal": 16, "science": 64}  # a step


def read(path: str, over: str | None = None) -> GrpoRecipe:
    judge = ["recipes/models/paper.yaml"] if path in ON_GPUS else []
    return load(GrpoRecipe, [path, *judge, *([f"recipes/training/{over}.yaml"] if over else [])])


def configure(recipe: GrpoRecipe, folder: Path, **batch: int):
    """Run TRL's own checks, except those that need a GPU or a server."""
    from trl import GRPOConfig

    here = {"use_cpu": True, "bf16": False, "use_vllm": False, "report_to": "none", "output_dir": str(folder)}
    return GRPOConfig(**batch | recipe.trainer | here)


@pytest.mark.parametrize(("path", "over"), [*LAID_OVER, *((path, None) for path in RECIPES if path not in ON_GPUS)])
def test_trl_knows_every_key_and_takes_the_values(path, over, tmp_path):
    from trl import GRPOConfig

    recipe = read(path, over)
    known = {field.name for field in dataclasses.fields(GRPOConfig)}
    assert set(recipe.trainer) <= known
    batch = divide_batch(recipe.prompts_per_step, recipe.trainer, 1)
    assert configure(recipe, tmp_path, **batch).max_completion_length == recipe.trainer["max_completion_length"]


@pytest.mark.parametrize(("over", "processes"), [("one_gpu", 1), ("server_mode", 4), (None, 8), (None, 16)])
@pytest.mark.parametrize("path", ON_GPUS)
def test_a_step_has_the_papers_batch_on_any_number_of_gpus(path, over, processes, tmp_path):
    recipe = read(path, over)
    batch = divide_batch(recipe.prompts_per_step, recipe.trainer, processes)
    config = configure(recipe, tmp_path, **batch)
    sequences = config.per_device_train_batch_size * config.gradient_accumulation_steps * processes
    assert sequences == PROMPTS[path.split("/")[1]] * config.num_generations
    check_groups(config, processes, wants_probe=True)


@pytest.mark.parametrize("path", ON_GPUS)
def test_prompt_and_completion_fit_the_engine(path):
    recipe = read(path)
    room = recipe.trainer["vllm_max_model_length"]
    assert recipe.preflight.prompt_tokens + recipe.trainer["max_completion_length"] <= room


@pytest.mark.parametrize("path", sorted((REPO / "recipes" / "accelerate").glob("*.yaml")), ids=lambda p: p.stem)
def test_accelerate_reads_its_files(path):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_machines == 1
    assert config.num_processes == (8 if "zero" in path.stem else 1)


def test_a_run_folder_is_not_trained_into_by_another_recipe(tmp_path):
    first = read("recipes/cs/grpo.yaml")
    first.run = str(tmp_path)
    with Run(first.run, "grpo", first, {}) as run:
        run.start()
    first.trainer["learning_rate"] = 1.0
    with pytest.raises(RunError, match="made from other inputs"):
        Run(first.run, "grpo", first, {})
