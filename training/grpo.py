"""GRPO on accepted examples, with TRL. Running the same command again resumes it.

accelerate launch --config_file recipes/accelerate/cpu.yaml training/grpo.py recipes/demo/grpo.yaml [key=value …]
"""

import os
import sys
from pathlib import Path

from autodata.config import RecipeError, load
from autodata.recipes.training import GrpoRecipe


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        return
    try:
        recipe = load(GrpoRecipe, sys.argv[1:])
    except RecipeError as error:
        raise SystemExit(f"error: {error}") from None
    os.environ["TRACKIO_DIR"] = str(Path(recipe.run).resolve() / "trackio")
    # Only now: TRL imports trackio, which reads its folder when it is imported.
    from training.run import PROBLEMS, train_and_save

    try:
        train_and_save(recipe)
    except PROBLEMS as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
