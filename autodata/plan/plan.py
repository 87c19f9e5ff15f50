"""Estimates what a run will take: tokens, GPU memory, GPU-hours and wall-clock time, and what takes most of them.

    python -m autodata.plan RECIPE [models.yaml …] [key=value …] [--like RUN] [--gpus N]
    python -m autodata.plan recipes/demo/generate.yaml --like runs/demo/agentic --what-if domain.max_rounds=8
    python -m autodata.plan recipes/cs/grpo.yaml recipes/models/paper.yaml recipes/training/one_gpu.yaml

RECIPE is a recipe of a generation, a training, an evaluation, a labelling of questions or a meta-optimisation. A
finished run of the same kind (--like) gives lengths and speeds; without one they come from priors.yaml. docs/plan.md
explains the tables.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

from autodata import command
from autodata.config import RecipeError, load, schema_for
from autodata.plan.evaluation import plan_evaluation, plan_question_types
from autodata.plan.generation import plan_generation
from autodata.plan.meta import plan_meta
from autodata.plan.training.plan import plan_training
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.stats.writing import DASH, make_table

_WIDTH = 120


class Plan(Protocol):
    """What the run of one recipe will take."""

    def summarize(self, accepted: int | None) -> dict[str, str]:
        """Return the rows of the first table; `accepted` is the value of --accepted."""

    def show(self, name: str) -> list[Table]:
        """Build the other tables; `name` says which plan they belong to."""


def make_plan(recipe: object, options: argparse.Namespace) -> Plan:
    """Plan the run of a recipe. Raises UserError."""
    if isinstance(recipe, GenerateRecipe):
        return plan_generation(recipe, options)
    if options.accepted:
        raise RecipeError(f"--accepted {options.accepted}: only documents of a generation are accepted")
    if isinstance(recipe, GrpoRecipe):
        if options.documents:
            raise RecipeError(f"--documents {options.documents}: a training has steps; set trainer.max_steps")
        return plan_training(recipe, options)
    if isinstance(recipe, EvalRecipe):
        return plan_evaluation(recipe, options)
    if isinstance(recipe, QuestionTypesRecipe):
        return plan_question_types(recipe, options)
    if isinstance(recipe, MetaRecipe):
        return plan_meta(recipe, options)
    raise RecipeError(f"{options.recipe[0]}: a recipe that calls no model, or audits a judge, cannot be planned")


def show(plans: Mapping[str, Plan], accepted: int | None) -> None:
    """Print the tables; in the first, each plan has a column."""
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    summary = make_table("", *plans, title="plan")
    rows = [plan.summarize(accepted) for plan in plans.values()]
    for key in rows[0]:
        summary.add_row(key, *(row.get(key, DASH) for row in rows))
    console.print(summary)
    for name, plan in plans.items():
        console.print(*plan.show(name))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_recipe()
    like_help = "a finished run of the same kind to take lengths and speeds from"
    parser.add_argument("--like", type=Path, metavar="RUN", help=like_help)
    count_help = "plan for N documents of a generation, or N problems of each set of an evaluation"
    parser.add_argument("--documents", type=int, metavar="N", help=count_help)
    speed_help = "the speed of a server: ENDPOINT=PREFILL,DECODE,CONCURRENCY, the first two in tokens/s"
    parser.add_argument("--speed", action="append", default=[], metavar="SPEED", help=speed_help)
    gpus_help = "split N GPUs over the endpoints; for a training, its number of processes"
    parser.add_argument("--gpus", type=int, metavar="N", help=gpus_help)
    parser.add_argument("--accepted", type=int, metavar="N", help="estimate the cost of N more accepted documents")
    change_help = "plan the recipe with these changes too; may be repeated"
    parser.add_argument("--what-if", action="append", nargs="+", default=[], metavar="KEY=VALUE", help=change_help)
    repeats_help = "simulate N runs, which give the interval (default: 5)"
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help=repeats_help)
    parser.set_defaults(runs=())  # finished runs that tell speeds; autodata.reproduce finds them
    options = parser.parse_intermixed_args(arguments)
    for key in ("documents", "gpus", "accepted", "repeats"):
        if (value := getattr(options, key)) is not None and value < 1:
            parser.error(f"--{key} {value}: must be at least 1")
    return options


@command.report_errors()
def main() -> None:
    options = parse()
    schema = schema_for(options.recipe[0])
    plans = {"recipe": make_plan(load(schema, options.recipe), options)}
    for changes in options.what_if:
        plans[" ".join(changes)] = make_plan(load(schema, [*options.recipe, *changes]), options)
    show(plans, options.accepted)
