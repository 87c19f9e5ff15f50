"""Evaluates models on a Slurm cluster, each with as many replicas of its server as its answers need.

python -m autodata.eval.campaign [--dry-run] RECIPE [more.yaml …] [key=value …] [--and RECIPE …]

slurm/eval.sh runs it. Several evaluations share the servers that they need alike: those of judge and graders.
"""

import math
import os
import sys
from pathlib import Path

from autodata import command
from autodata.cluster.commands import run_parts
from autodata.cluster.fleet import find_graders
from autodata.cluster.parts import add_recipes, describe, plan_parts
from autodata.cluster.resources import Site
from autodata.config import load
from autodata.eval.run import read_data
from autodata.recipes.evaluation import EvalRecipe
from autodata.run.folder import read_manifest
from autodata.types import UserError

ANSWERS_PER_REPLICA = 128  # chosen: two rounds of the 64 calls that a client has in flight by default


def count_answers(recipe: EvalRecipe) -> int:
    """Count the answers of an evaluation. Raises UserError if its problems cannot be read."""
    data = read_data(recipe)
    problems = [*map(len, data.sets.values()), *(len(split.tasks) for split in data.splits.values())]
    return recipe.samples * sum(problems)


def fit_replicas(recipe: EvalRecipe, answers: int) -> dict[str, int]:
    """Return the settings that leave the evaluated model no more replicas than so many answers need."""
    if recipe.evaluated is None or recipe.models.weak_solver is None:
        return {}
    # The recipe's own endpoint, of which the evaluated one may be a copy; a judge may ask it as well.
    source, asked = recipe.evaluated.endpoint, recipe.models.endpoints[recipe.models.weak_solver.endpoint]
    judges = {*find_graders(recipe), *([recipe.models.judge.endpoint] if recipe.models.judge else [])}
    if asked.server is None or asked.base_url or source in judges:
        return {}
    least = 2 if asked.policy == "power_of_two" else 1  # this policy refuses a single replica
    needed = max(least, math.ceil(answers / ANSWERS_PER_REPLICA))
    return {f"models.endpoints.{source}.server.replicas": needed} if needed < asked.server.replicas else {}


def fit(arguments: list[str], is_dry: bool) -> list[str]:
    """Append what `fit_replicas` sets to the arguments of an evaluation. Raises UserError."""
    recipe = load(EvalRecipe, arguments)
    if (read_manifest(Path(recipe.run)) or {}).get("finished"):
        return arguments  # it starts no server
    try:
        answers = count_answers(recipe)
    except UserError as problem:
        if not is_dry:
            raise
        print(f"note: the number of answers is not known yet, so all replicas are shown: {problem}", file=sys.stderr)
        return arguments
    return [*arguments, *(f"{key}={value}" for key, value in fit_replicas(recipe, answers).items())]


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    add_recipes(parser)
    parser.add_argument("--dry-run", action="store_true", help="print every job without submitting any")
    options = parser.parse_intermixed_args()
    site, recipes = Site.read(os.environ), [options.recipe, *options.others]
    parts = plan_parts([fit(recipe, options.dry_run) for recipe in recipes], site.gpus_per_node)
    if options.dry_run:
        print(describe(parts, site))
    else:
        sys.exit(run_parts("autodata.eval.run", parts, site))


if __name__ == "__main__":
    main()
