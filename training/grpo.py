"""Trains a model on accepted examples by GRPO, with TRL. Running the same command again resumes it.

accelerate launch -q --config_file recipes/accelerate/cpu.yaml training/grpo.py recipes/demo/grpo.yaml [key=value …]
"""

import os
from pathlib import Path

from autodata import command
from autodata.config import load
from autodata.recipes.training import GrpoRecipe
from autodata.run.logs import keep_logs, quiet_transformers
from autodata.run.records import RunError


@command.report_errors()
def main() -> None:
    recipe = load(GrpoRecipe, command.read_recipe(__doc__))
    os.environ["TRACKIO_DIR"] = str(Path(recipe.run).resolve() / "trackio")
    if recipe.trainer.get("use_cpu"):
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed warns that it found no GPU
    with keep_logs(Path(recipe.run)):
        # Imported only now: TRL imports trackio, which reads the name of its folder when it is imported.
        from autodata.training.run import train_and_save

        quiet_transformers()
        try:
            train_and_save(recipe)
        except OSError as error:
            raise RunError(str(error)) from error


if __name__ == "__main__":
    main()
