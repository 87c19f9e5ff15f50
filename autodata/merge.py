"""Merge the shards of a run into one run, as if it had been made without shards.

python -m autodata.merge RECIPE [more.yaml …] [key=value …]

The arguments are those of autodata.generate, without documents.shard. The merge fails if a shard is missing or was
made from other inputs.
"""

from autodata import command
from autodata.config import RecipeError, load
from autodata.generate import open_run
from autodata.loop.summary import describe, merge
from autodata.recipes.generation import GenerateRecipe


@command.report_errors()
def main() -> None:
    recipe = load(GenerateRecipe, command.read_recipe(__doc__))
    if recipe.documents.shard:
        raise RecipeError(f"documents.shard={recipe.documents.shard}: leave it out, because all shards are merged")
    run, corpus = open_run(recipe)
    with run:
        print(
            f"{run.folder}: up to date" if run.is_finished else describe(merge(run, corpus.documents), recipe.domain)
        )


if __name__ == "__main__":
    main()
