"""Counts the problems that a model is asked or trained on: those on this machine, else as many as priors.yaml says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from autodata.config import RecipeError
from autodata.data.examples import EXAMPLES, read_set
from autodata.eval.prbench.data import read_split
from autodata.plan.workload import PRIORS, name_prior
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.recipes.training import GrpoRecipe
from autodata.run.records import read_records
from autodata.training.rows import choose_by_pass_rate, draw_examples
from autodata.types import EXAMPLE

PRINCIPIA = "principia_bench"


@dataclass(frozen=True)
class Problems:
    """A set of problems. `criteria` is the mean number that is graded one by one; 0: the answer is judged at once."""

    count: int
    criteria: float = 0.0


def count_examples(dataset: str, name: str, domain: str) -> int:
    """Count the examples of a set of a data set. Raises RecipeError if there is neither a data set nor a prior."""
    if (Path(dataset) / EXAMPLES).exists():
        return len(read_set(dataset, name))
    if domain not in PRIORS["problems"]:
        problem = f"{dataset}: no such data set, and its size is not known"
        raise RecipeError(f"{problem}; make it with {COMMANDS[DatasetRecipe]}")
    sizes, split = PRIORS["problems"][domain], name.rpartition("_")[2]
    if not {name, split} & {*sizes}:
        raise RecipeError(f"{name}: no such set; its name must be, or end in, one of {', '.join(sizes)}")
    return int(sizes.get(name) or sizes[split])


def count_arm(dataset: str, arm: str, domain: str, at_most: int) -> int:
    """Count the examples of an arm of a data set, up to a number; without the data set as priors.yaml says."""
    path = Path(dataset) / EXAMPLES
    if not path.exists():
        sizes = PRIORS["problems"].get(domain, {})
        names = [f"{arm}_train", f"{arm}_test"] if f"{arm}_train" in sizes else ["train", "test"]
        return min(at_most, sum(sizes.get(name, 0) for name in names) or at_most)
    return min(at_most, sum(example.arm == arm for example in read_records(path, EXAMPLE)))


def count_trained(recipe: GrpoRecipe) -> int | None:
    """Count the examples that a training uses. Raises RecipeError, and TooFewExamples below train_examples.

    Without the data set on this machine it is the recipe's train_examples, which may be None.
    """
    if not (Path(recipe.dataset) / EXAMPLES).exists():
        return recipe.train_examples
    examples = [e for arm in recipe.arms for e in read_set(recipe.dataset, f"{arm}_train")]
    examples = choose_by_pass_rate(examples, recipe.pass_rate)
    return len(draw_examples(examples, recipe.train_examples, 0, recipe.dataset))  # any seed draws as many


def list_problems(recipe: EvalRecipe) -> Mapping[str, Problems]:
    """List the sets of an evaluation. Raises RecipeError."""
    sets = {}
    for name in recipe.sets if recipe.dataset else []:
        sets[name] = Problems(count_examples(recipe.dataset or "", name, name_prior(recipe.domain)))
    if recipe.principia:
        sets[PRINCIPIA] = Problems(_count_principia(recipe))
    for name in recipe.prbench.splits if recipe.prbench else []:
        sets[f"prbench_{name}"] = _read_split(recipe, name)
    sets = {name: problems for name, problems in sets.items() if problems.count}
    if not sets:
        raise RecipeError("nothing to evaluate on: set dataset, prbench.path or principia.path")
    return sets


def are_counted(recipe: EvalRecipe) -> bool:
    """True if all problems of an evaluation are on this machine; else their number is that of priors.yaml."""
    paths = [Path(recipe.dataset) / EXAMPLES] if recipe.dataset else []
    return all(path.exists() for path in [*paths, *(Path(b.path) for b in (recipe.prbench, recipe.principia) if b)])


def _count_principia(recipe: EvalRecipe) -> int:
    from autodata.eval.principia import read_problems  # slow to import

    config = recipe.principia
    if Path(config.path).exists():
        return len(read_problems(config)[0])
    return min(PRIORS["problems"]["principia"], config.limit or PRIORS["problems"]["principia"])


def _read_split(recipe: EvalRecipe, name: str) -> Problems:
    config = recipe.prbench
    if not Path(config.path).exists():
        if name not in (sizes := PRIORS["problems"]["prbench"]):
            raise RecipeError(f"prbench.splits: unknown split {name}; choose from {', '.join(sizes)}")
        return Problems(min(sizes[name], config.limit or sizes[name]), PRIORS["criteria"])
    tasks = read_split(Path(config.path), name, config.limit).tasks
    return Problems(len(tasks), fmean(len(task.criteria) for task in tasks) if tasks else 0.0)
