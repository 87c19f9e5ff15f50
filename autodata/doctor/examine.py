"""Checks what would go wrong with a recipe before it costs anything; prints ok, warn, fail or n/a, one line each.

python -m autodata.doctor RECIPE [more.yaml …] [key=value …] [--serve]   # --serve starts its servers and checks them

The exit code is 1 if a check failed. Training itself checks weights, lengths, memory and reward before its first step.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from autodata import command
from autodata.config import load, schema_for
from autodata.doctor import data, devices, endpoints, environment
from autodata.doctor.finding import Finding, Mark
from autodata.recipes.data import DatasetRecipe, JudgeAuditRecipe
from autodata.recipes.domain import DomainConfig
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.models import Models
from autodata.recipes.training import GrpoRecipe
from autodata.serving.llm import list_used
from autodata.serving.vllm import running
from autodata.stats.writing import write_count
from autodata.types import Role

_COLOURS = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "red", Mark.NOT_APPLICABLE: "dim"}
_WITH_MODELS = (GenerateRecipe, GrpoRecipe, EvalRecipe, JudgeAuditRecipe, MetaRecipe, QuestionTypesRecipe)


def examine(recipe: object, serve: bool) -> Iterator[Finding]:
    """Run all checks that apply, cheap ones first. Raises ServerError, EndpointError, PromptError."""
    yield environment.check_versions(recipe)
    if isinstance(recipe, (*_WITH_MODELS, DatasetRecipe)):
        place = environment.find_place(recipe.run)
        yield environment.check_files(place)
        yield environment.check_space(place)
    yield from _examine_data(recipe)
    if isinstance(recipe, _WITH_MODELS):
        yield from devices.check_gpus(recipe, environment.read_site())
        # Each grader of PRBench is examined as the judge of the same models.
        graders = [role for role in getattr(recipe, "graders", {}).values() if role]
        asked = _leave_out_orchestrator(recipe)
        for models in (asked, *(replace(asked, weak_solver=None, judge=role) for role in graders)):
            yield from environment.check_wall_times(models, environment.read_site())
            yield from environment.check_weights(recipe if models is asked else None, models, environment.read_site())
            yield from examine_models(models, recipe.domain, serve)


def _leave_out_orchestrator(recipe: object) -> Models:
    """Return who is asked: orchestrator=fixed asks no model, so none has to call functions."""
    is_fixed = isinstance(recipe, GenerateRecipe | MetaRecipe) and recipe.orchestrator != "agent"
    return replace(recipe.models, orchestrator=None) if is_fixed else recipe.models


def _examine_data(recipe: object) -> Iterator[Finding]:
    if isinstance(recipe, GrpoRecipe | EvalRecipe | QuestionTypesRecipe) and recipe.dataset:
        yield from data.check_dataset(recipe.dataset)
    if isinstance(recipe, GrpoRecipe):
        yield from data.check_examples(recipe)
        yield from data.check_watched(recipe) if recipe.evaluate_dataset else ()
    if isinstance(recipe, EvalRecipe):
        yield data.check_label(recipe)
    if isinstance(recipe, GenerateRecipe):
        yield data.check_weak_solver(recipe.run)


def examine_models(models: Models, domain: DomainConfig, serve: bool) -> Iterator[Finding]:
    """Check keys, prices and endpoints, and say before the first call how many follow. Raises ServerError."""
    used = list_used(models)
    keys = [environment.check_key(name, endpoint) for name, endpoint in used.items()]
    yield from keys
    yield from (environment.check_price(name, endpoint) for name, endpoint in used.items())
    if any(key.mark is Mark.FAIL for key in keys):
        return
    with ExitStack() as stack:
        if serve:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(running(models, Role, folder))
        yield endpoints.tell_calls(models, domain, list(used))
        reachable = []
        for name in used:
            findings = endpoints.check_server(models, domain, name)
            is_running = bool(models.endpoints[name].base_url)
            reachable += [name] * (is_running and all(finding.mark is not Mark.FAIL for finding in findings))
            yield from findings
        yield from asyncio.run(endpoints.check_answers(models, domain, reachable))


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_recipe()
    parser.add_argument("--serve", action="store_true", help="start the recipe's vLLM servers and check them too")
    options = parser.parse_intermixed_args()
    console, failed = Console(soft_wrap=True, highlight=False), 0
    for finding in examine(load(schema_for(options.recipe[0]), options.recipe), options.serve):
        failed += finding.mark is Mark.FAIL
        mark = Text(f"{finding.mark:<5}", _COLOURS[finding.mark])
        console.print(mark + Text(f"{finding.check:<24} {finding.detail}"))
    if failed:
        raise SystemExit(f"{write_count(failed, 'check')} failed")
