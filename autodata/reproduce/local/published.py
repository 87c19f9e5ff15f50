"""Compares the numbers of a finished graph with those of the published run, which lie beside its tables' recipes.

    python -m autodata.reproduce.local.published recipes/demo [runs=FOLDER]

writes these numbers to recipes/demo/published.json, from the finished runs of the graph. They are compared only if
the recipes and the documents are the published ones. All random draws have seeds, so a run on another machine can give
the same numbers to the last digit; a processor that rounds in another order may not.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autodata import command
from autodata.config import semantic_values
from autodata.data.examples import EXAMPLES
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.training import GrpoRecipe
from autodata.reproduce.graph import Step, build
from autodata.reproduce.request import RUNS, Request, read_request
from autodata.run.folder import require_finished
from autodata.run.records import LINE, digest, iterate_records, read_json, write_file
from autodata.stats.writing import write_count

FILE = "published.json"
_SHOWN = 3  # numbers that differ
_KINDS = (GenerateRecipe, DatasetRecipe, GrpoRecipe, EvalRecipe)
Numbers = dict[str, Any]


def compare_published(request: Request, steps: Sequence[Step]) -> str | None:
    """Say whether the numbers of finished runs are the published ones; None if there are none. Raises RunError."""
    published = read_json(request.tables[0].parent / FILE)
    if not published:
        return None
    made = [step for step in steps if isinstance(step.recipe, _KINDS)]
    settings = {name_run(step, request): identify(step, request) for step in made}
    if any(published["settings"].get(name) != value for name, value in settings.items()):
        return "not compared with the published run, which has other documents or other settings"
    numbers = measure(made, request)
    different = [name for name, value in numbers.items() if published["numbers"].get(name) != value]
    if not different:
        return f"yes, all {len(numbers)} numbers are equal to those of the published run, to the last digit"
    shown = [f"{name} {numbers[name]}, published {published['numbers'].get(name)}" for name in different[:_SHOWN]]
    more = [f"and {len(different) - _SHOWN} more"] * (len(different) > _SHOWN)
    return f"no, {len(different)} of {write_count(len(numbers), 'number')} differ: {'; '.join([*shown, *more])}"


def name_run(step: Step, request: Request) -> str:
    """Name a run as the committed recipes do, wherever it lies: `runs/demo/agentic`."""
    return f"{RUNS}{step.target.removeprefix(request.runs)}"


def identify(step: Step, request: Request) -> str:
    """Identify what a run is made from: the values of its recipe that are no defaults, and the hash of its documents.

    Defaults are left out, so that a key that is added later leaves the published numbers valid.
    """
    defaults = semantic_values(type(step.recipe)())
    values = {key: value for key, value in semantic_values(step.recipe).items() if value != defaults.get(key)}
    text = json.dumps(values, sort_keys=True, default=str).replace(f'"{request.runs}/', f'"{RUNS}/')
    manifest = require_finished(step.target, "autodata.reproduce") if isinstance(step.recipe, GenerateRecipe) else {}
    return digest(f"{text} {manifest.get('inputs', {}).get('corpus')}".encode())


def measure(steps: Sequence[Step], request: Request) -> Numbers:
    """Read the numbers of finished runs, by their names. Raises RunError."""
    runs = {name_run(step, request): step for step in steps}
    return {f"{run}: {name}": value for run, step in runs.items() for name, value in _measure(step)}


def _measure(step: Step) -> Iterator[tuple[str, Any]]:
    manifest = require_finished(step.target, "autodata.reproduce")
    if isinstance(step.recipe, GenerateRecipe):
        yield "accepted documents", manifest["summary"]["accepted_documents"]
        yield "rounds", manifest["summary"]["rounds"]
    elif isinstance(step.recipe, DatasetRecipe):
        yield "hash of all rows", hash_rows(Path(step.target) / EXAMPLES)
    elif isinstance(step.recipe, GrpoRecipe):
        for when in ("first", "last"):
            yield f"reward in the {when} quarter", manifest[f"reward_{when}_quarter"]
    elif isinstance(step.recipe, EvalRecipe):
        for task, result in (read_json(Path(step.target) / "results.json") or {}).items():
            yield f"mean score on {task}", (result["mean"] or {}).get("value")


def hash_rows(path: Path) -> str:
    """Hash the rows of a data set without their provenance, which names folders and versions. Raises RunError."""
    rows = [{**row, "provenance": None} for row in iterate_records(path, LINE)]
    return digest(json.dumps(rows, sort_keys=True).encode())


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument(
        "table", nargs="+", metavar="TABLE", help="a table's recipe or a folder, as autodata.reproduce"
    )
    request = read_request(parser.parse_args().table, "paper")
    steps = [step for step in build(request) if isinstance(step.recipe, _KINDS)]
    settings = {name_run(step, request): identify(step, request) for step in steps}
    content = {"settings": settings, "numbers": measure(steps, request)}
    path = request.tables[0].parent / FILE
    write_file(path, json.dumps(content, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
