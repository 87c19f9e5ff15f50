"""Audit the judge of a finished generate run. The same command again resumes.

python -m autodata.judge_audit recipes/judge_audit/judge_audit.yaml recipes/models/api.yaml [key=value …]

Attempts of the run are judged anew, several times: how many verdicts are lost, does the judge repeat itself, does
it agree with the stored verdicts and with a second judge? The answers are in <run>/audit.md and results.json.
"""

import asyncio
import json
import logging
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autodata import command
from autodata.config import RecipeError, load
from autodata.judge_audit import findings
from autodata.judge_audit.findings import Judged, Opinions
from autodata.judge_audit.panel import Judge, ask_judges
from autodata.loop import domain as base
from autodata.loop.domain import Domain
from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.models import RoleConfig
from autodata.run.folder import Run, identify_weights, output_hash, require_finished
from autodata.run.progress import Progress
from autodata.run.records import TRAJECTORIES, Incomplete, RunError, hash_path, read_records
from autodata.run.shutdown import finish
from autodata.serving.journal import Journal
from autodata.serving.llm import Client, Draining, role_config
from autodata.serving.request import Request, request_key, resolve_sampling
from autodata.serving.vllm import running
from autodata.types import TRAJECTORY, Role, Trajectory

RESULTS, AUDIT = "results.json", "audit.md"
_MADE_BY = "python -m autodata.generate"


def order_attempts(trajectories: Sequence[Trajectory], seed: int) -> list[Judged]:
    """All judged attempts with an answer: one of each document, then a second of each, and so on.

    The order does not depend on which document was finished first.
    """
    chance = random.Random(seed)
    by_document: dict[str, list[Judged]] = defaultdict(list)
    for trajectory in sorted(trajectories, key=lambda t: t.document_id):
        by_document[trajectory.document_id] += _list_attempts(trajectory)
    documents = list(by_document.values())
    chance.shuffle(documents)
    for attempts in documents:
        chance.shuffle(attempts)
    deepest = max(map(len, documents), default=0)
    return [attempts[depth] for depth in range(deepest) for attempts in documents if depth < len(attempts)]


def _list_attempts(trajectory: Trajectory) -> list[Judged]:
    return [
        Judged(trajectory.document_id, made.number, solver, made.candidate, attempt)
        for made in trajectory.rounds
        if made.candidate
        for solver, attempts in ((Role.WEAK_SOLVER, made.weak), (Role.STRONG_SOLVER, made.strong))
        for attempt in attempts
        if attempt.answer.strip() and attempt.judgement.met is not None
    ]


async def choose_attempts(ordered: Sequence[Judged], recipe: JudgeAuditRecipe, domain: Domain) -> list[Judged]:
    """The first so many for which the judge is asked: code can settle some (science), or all (cloze).

    `domain` has a client that makes no calls. Raises RunError where there are too few.
    """
    chosen: list[Judged] = []
    for tried in ordered:
        if len(chosen) == recipe.attempts:
            break
        if await _needs_judge(tried, domain):
            chosen.append(tried)
    if not chosen:
        raise RunError(f"{recipe.generation}: domain {recipe.domain.name} asks a judge for none of its {len(ordered)} "
                       "judged attempts with an answer; there is nothing to audit")  # fmt: skip
    if len(chosen) < recipe.attempts:
        raise RunError(f"attempts={recipe.attempts}: {recipe.generation} has only {len(chosen)} with an answer that a "
                       f"judge read; set attempts={len(chosen)} or less")  # fmt: skip
    return chosen


async def _needs_judge(tried: Judged, domain: Domain) -> bool:
    own = domain.for_document({})
    try:
        await own.judge(tried.candidate, tried.attempt.answer, tried.attempt.seed)
    except Draining:
        return True
    return Role.JUDGE in own.agents.spent


def choose(recipe: JudgeAuditRecipe, journal: Journal) -> list[Judged]:
    """The attempts to audit, found without a call."""
    silent = Client(recipe.models, journal)
    silent.draining = True
    domain = base.load(recipe.domain, silent, recipe.seed)
    trajectories = read_records(Path(recipe.generation) / TRAJECTORIES, TRAJECTORY)
    return asyncio.run(choose_attempts(order_attempts(trajectories, recipe.seed), recipe, domain))


def audit(recipe: JudgeAuditRecipe, run: Run, generation: dict[str, Any]) -> dict[str, Any]:
    """The numbers, which are also written to the run folder."""
    run.start()
    with Progress(run, "judgements") as progress:
        chosen, opinions = _ask(recipe, run, progress)
        print("working out agreement and its intervals …", flush=True)
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


def _ask(recipe: JudgeAuditRecipe, run: Run, progress: Progress) -> tuple[list[Judged], list[Opinions]]:
    """The attempts, and what each judge makes of them."""
    journal = Journal(run.path("journal.sqlite"))
    served = {"judge": recipe.models}
    if recipe.second_judge:
        served["second judge"] = replace(recipe.models, judge=recipe.second_judge)
    try:
        chosen = choose(recipe, journal)
        judges = [Judge(name, models, recipe, journal) for name, models in served.items()]
        with ExitStack() as stack:
            servers = [server for models in served.values()
                       for server in stack.enter_context(running(models, [Role.JUDGE], run.folder))]  # fmt: skip
            progress.total = len(chosen) * recipe.repeats * len(judges)
            for judge in judges:
                progress.watch(judge.client)
            progress.begin()
            clients = [judge.client for judge in judges]
            opinions = asyncio.run(finish(ask_judges(judges, chosen, progress), clients, servers))
    finally:
        journal.close()
    return chosen, opinions


def show(results: dict[str, Any], console: Console) -> None:
    """The tables of the page, on the terminal."""
    for rows in (findings.list_losses(results), findings.list_agreement(results),
                 findings.list_differences(results)):  # fmt: skip
        table = Table(*rows[0])
        for row in rows[1:]:
            table.add_row(*map(Text, row))  # names are not markup
        console.print(table)


def _check(recipe: JudgeAuditRecipe) -> None:
    """Raise RecipeError for a value that no schema can refuse."""
    if recipe.models.judge is None:
        raise RecipeError("models.judge: there is no judge to audit; name its endpoint, or append a file of "
                          "recipes/models. A domain that judges in code has none")  # fmt: skip
    if recipe.attempts < 1:
        raise RecipeError(f"attempts={recipe.attempts}: at least 1 is needed")
    if recipe.repeats < 2:
        raise RecipeError(f"repeats={recipe.repeats}: self-agreement needs at least 2")
    role_config(recipe.models, Role.JUDGE)
    second = recipe.second_judge
    if second and second.endpoint not in recipe.models.endpoints:
        known = ", ".join(recipe.models.endpoints)
        raise RecipeError(f"second_judge.endpoint={second.endpoint}: not in models.endpoints ({known})")
    if second and _identify(recipe, second) == _identify(recipe, recipe.models.judge):
        raise RecipeError(f"second_judge.endpoint={second.endpoint}: the same model with the same sampling as "
                          "models.judge, so the same replies; name another, or leave it out")  # fmt: skip


def _identify(recipe: JudgeAuditRecipe, role: RoleConfig) -> str:
    endpoint = recipe.models.endpoints[role.endpoint]
    sampling = resolve_sampling(role.sampling, endpoint.sampling, Role.JUDGE)
    return request_key(Request(Role.JUDGE, (), 0), endpoint, sampling)


def _open(recipe: JudgeAuditRecipe) -> tuple[Run, dict[str, Any]]:
    """The run folder, and the manifest of the run that is audited. Raises RecipeError, RunError."""
    identify_weights(recipe.models)
    _check(recipe)
    generation = require_finished(recipe.generation, _MADE_BY)
    kind, made_in = (generation["inputs"].get(key) for key in ("kind", "domain.name"))
    if kind != "generate":
        raise RecipeError(f"generation={recipe.generation}: a run of {kind}; name one made with {_MADE_BY}")
    if made_in != recipe.domain.name:
        raise RecipeError(f"domain.name={recipe.domain.name}: {recipe.generation} was made in domain {made_in}")
    prompts = " ".join(hash_path(folder) for folder in base.prompt_folders(recipe.domain))
    artefacts = {"generation": output_hash(recipe.generation, _MADE_BY), "prompts": prompts}
    return Run(recipe.run, "judge_audit", recipe, artefacts), generation


@command.report_errors()
def main() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    recipe = load(JudgeAuditRecipe, command.read_recipe(__doc__))
    run, generation = _open(recipe)
    with run:
        if run.is_finished:
            print(f"{run.folder}: up to date")
            return
        try:
            show(audit(recipe, run, generation), Console())
        except Draining:
            raise Incomplete(run.folder) from None
        print(f"the page: {run.folder / AUDIT}")
