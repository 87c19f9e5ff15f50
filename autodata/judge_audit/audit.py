"""Audit the judge of a finished generate run. Run the same command again to resume.

python -m autodata.judge_audit recipes/judge_audit/judge_audit.yaml recipes/models/api.yaml [key=value …]

The command judges attempts of the run again, several times each. It reports how many verdicts are lost, and whether
the judge agrees with itself, with the stored verdicts and with a second judge, in <run>/audit.md and results.json.
"""

import asyncio
import json
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from autodata import command
from autodata.config import RecipeError, load
from autodata.judge_audit import findings
from autodata.judge_audit.asking import Listener, ask_judges, choose
from autodata.judge_audit.findings import JudgedAttempt, Opinions
from autodata.loop.domain import hash_prompts
from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import RoleConfig
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import Run, identify_weights, output_hash, require_finished
from autodata.run.progress import Progress
from autodata.run.records import Incomplete
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Draining
from autodata.serving.request import Request, request_key, resolve_sampling
from autodata.serving.vllm import RunningServer, running
from autodata.stats.writing import make_table
from autodata.types import Role

RESULTS, AUDIT = "results.json", "audit.md"


def audit(recipe: JudgeAuditRecipe, run: Run, generation: dict[str, Any]) -> dict[str, Any]:
    """Judge the attempts again, and write the numbers and the page to the run folder. Returns the numbers."""
    run.start()
    with Progress(run, "judgements") as progress:
        chosen, opinions = _ask(recipe, run, progress)
        print("computing agreement and its intervals …", flush=True)
        results = {
            "generation": recipe.generation,
            "domain": recipe.domain.name,
            "stored_judge": generation.get("models", {}).get("judge", "a judge that its manifest does not name"),
            "repeats": recipe.repeats,
            **findings.measure(chosen, opinions),
        }
        run.write(RESULTS, json.dumps(results, indent=2) + "\n")
        run.write(AUDIT, findings.to_markdown(results))
        run.finish([RESULTS, AUDIT])
        return results


def _ask(recipe: JudgeAuditRecipe, run: Run, progress: Progress) -> tuple[list[JudgedAttempt], list[Opinions]]:
    """Ask all judges about the chosen attempts. Returns the attempts and the opinions of each judge."""
    served = {"judge": recipe.models}
    if recipe.second_judge:
        served["second judge"] = replace(recipe.models, judge=recipe.second_judge)
    with closing(Journal(run.path("journal.sqlite"))) as journal, ExitStack() as stack:
        chosen = asyncio.run(choose(recipe, journal))
        clients = {name: Listener(models, journal) for name, models in served.items()}
        servers: list[RunningServer] = []
        for client in clients.values():
            servers += stack.enter_context(running(client.models, [Role.JUDGE], run.folder))
            progress.watch(client)
        progress.total = len(chosen) * recipe.repeats * len(clients)
        progress.begin()
        work = ask_judges(clients, recipe, chosen, progress)
        return chosen, asyncio.run(finish(work, [*clients.values()], servers))


def show(results: dict[str, Any]) -> None:
    """Print the tables of the page."""
    for list_rows in (findings.list_losses, findings.list_agreement, findings.list_differences):
        head, *rows = list_rows(results)
        table = make_table(*head)
        for row in rows:
            table.add_row(*map(Text, row))  # Text, because names are not markup
        Console().print(table)


def _check(recipe: JudgeAuditRecipe) -> None:
    """Raise RecipeError for a value that the schema cannot refuse."""
    if recipe.models.judge is None:
        raise RecipeError(
            "models.judge: there is no judge to audit; name its endpoint or append a file of recipes/models "
            "(a domain that judges in code has no judge)"
        )
    if recipe.attempts < 1:
        raise RecipeError(f"attempts={recipe.attempts}: at least 1 is needed")
    if recipe.repeats < 2:
        raise RecipeError(f"repeats={recipe.repeats}: self-agreement needs at least 2")
    second = recipe.second_judge
    if second and _identify(recipe, second) == _identify(recipe, recipe.models.judge):
        raise RecipeError(
            f"second_judge.endpoint={second.endpoint}: the same model with the same sampling as "
            "models.judge would give the same replies; name another one or leave it out"
        )


def _identify(recipe: JudgeAuditRecipe, role: RoleConfig) -> str:
    """Return a key that is equal for two judges that would give the same replies."""
    endpoint = recipe.models.endpoints[role.endpoint]
    sampling = resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE)
    return request_key(Request(Role.JUDGE, (), 0), endpoint, sampling)


def _open(recipe: JudgeAuditRecipe) -> tuple[Run, dict[str, Any]]:
    """Open the run folder and read the manifest of the audited run. Raises RecipeError, RunError."""
    identify_weights(recipe.models)
    _check(recipe)
    generation = require_finished(recipe.generation, COMMANDS[GenerateRecipe])
    run_domain = generation["inputs"].get("domain.name")
    if run_domain != recipe.domain.name:
        raise RecipeError(f"domain.name={recipe.domain.name}: {recipe.generation} was made in domain {run_domain}")
    artefacts = {
        "generation": output_hash(recipe.generation, COMMANDS[GenerateRecipe]),
        "prompts": hash_prompts(recipe.domain),
    }
    return Run(recipe.run, "judge_audit", recipe, artefacts), generation


@command.report_errors()
def main() -> None:
    recipe = load(JudgeAuditRecipe, command.read_recipe(__doc__))
    run, generation = _open(recipe)
    with run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        try:
            show(audit(recipe, run, generation))
        except Draining:
            raise Incomplete(run.folder) from None
        print(f"the report of the audit: {run.folder / AUDIT}")
