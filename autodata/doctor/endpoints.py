"""Checks that each endpoint is reachable, serves the right model, and can do what its roles need."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from autodata.cluster.fleet import find_roles
from autodata.doctor.finding import Finding, fail, ok, skip, warn
from autodata.loop import domain as base
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Endpoint, Models
from autodata.serving.journal import Journal
from autodata.serving.llm import Client, role_config
from autodata.serving.measured import EndpointError, NotMeasured
from autodata.serving.probes import choose_probes, run_probe
from autodata.serving.request import Request, resolve_sampling
from autodata.types import Candidate, Criterion, Message, Role

THINKING_TOKENS = 4_096  # the least that leaves a thinking model room; judges were seen to reason for 3,000 (chosen)
_WORD = "marigold"
_FILLER = "The harbour was quiet, and the boats lay on the sand until the tide came back in the evening. "
_SEEDS = (1, 2, 3, 4)
_OPEN = "Invent a name for a ship and say in a few sentences where it sails."  # has many good answers
_JUDGED = Candidate(
    "Which is larger, 7 or 5, and why?",
    "7",
    (Criterion("The answer says that 7 is larger", 1), Criterion("The answer names the capital of Peru", 1)),
)
_ANSWER = "Seven is the larger number: it is five and two more."


def list_used(models: Models) -> dict[str, Endpoint]:
    """List the endpoints that some role uses. Raises EndpointError."""
    names = {role_config(models, role).endpoint for role in Role if getattr(models, role)}
    return {name: endpoint for name, endpoint in models.endpoints.items() if name in names}


def check_server(models: Models, name: str) -> list[Finding]:
    """Probe a running endpoint in the same way as a Slurm replica is probed before it gets work."""
    endpoint, findings = models.endpoints[name], []
    for what, probe in choose_probes(endpoint, find_roles(models, name)).items():
        try:
            run_probe(endpoint, probe)
        except EndpointError as error:
            return [*findings, fail(f"{what} of {name}", f"{error} (models.endpoints.{name})")]
        findings.append(ok(f"{what} of {name}", endpoint.base_url or ""))
    return findings


async def check_answers(models: Models, domain: DomainConfig, names: Sequence[str]) -> list[Finding]:
    """Check that each role of these endpoints answers within its max_tokens, that attempts differ, and the judge."""
    with tempfile.TemporaryDirectory() as scratch:
        journal = Journal(Path(scratch) / "journal.sqlite")
        client = Client(models, journal)
        try:
            roles = [role for name in names for role in find_roles(models, name)]
            findings = [await check_room(client, role) for role in roles]
            if Role.CHALLENGER in roles and domain and domain.document_chars:
                findings.append(await check_prompt(client, domain.document_chars))
            if Role.WEAK_SOLVER in roles:
                findings.append(await check_seeds(client))
            if Role.JUDGE in roles and "judge" in domain.roles:
                findings.append(await check_judge(client, domain))
            return findings
        except EndpointError as error:
            return [fail("answers", str(error))]
        finally:
            await client.close()
            journal.close()


async def check_room(client: Client, role: Role) -> Finding:
    """Check that max_tokens leaves room to think: running out gives no answer, which looks like a wrong one."""
    key, check = f"models.{role}.sampling.max_tokens", f"room of {role}"
    try:
        reply = await client.ask(Request(role, (Message("user", _OPEN),), seed=1))
    except NotMeasured as error:
        return fail(check, str(error))
    if not reply.content.strip():
        return fail(check, f"{reply.completion_tokens} tokens of reasoning and no answer: raise {key}")
    budget = find_budget(client.models, role)
    if reply.reasoning.strip() and budget < THINKING_TOKENS:
        return fail(
            check,
            f"the model reasons before it answers, and {key}={budget} leaves little room for that: set "
            f"{THINKING_TOKENS} or more",
        )
    return ok(check, f"{reply.completion_tokens} of {budget} tokens, {reply.outcome}")


def find_budget(models: Models, role: Role) -> int:
    config = role_config(models, role)
    return resolve_sampling(config.sampling, models.endpoints[config.endpoint].sampling, role).max_tokens or 0


async def check_prompt(client: Client, chars: int) -> Finding:
    """Ask for the first word of the longest prompt that the recipe allows: servers cut prompts silently."""
    check, key = f"prompt of {chars:,} characters", "domain.document_chars"
    try:
        short, long = [await client.ask(Request(Role.CHALLENGER, _hide_word(size), seed=1)) for size in (200, chars)]
    except EndpointError as error:  # also NotMeasured, if the prompt does not fit, and PromptCut
        return fail(check, f"{error}; serve a longer context or lower {key}")
    if _WORD in long.content.casefold():
        return ok(check, f"{long.prompt_tokens} tokens, read from its first word on")
    if _WORD in short.content.casefold():
        return fail(
            check,
            f"its first word was not read, {long.prompt_tokens} tokens were: the server cuts it; "
            f"serve a longer context or lower {key}",
        )
    return warn(check, "the model does not repeat a word even of a short prompt, so this cannot be told")


def _hide_word(chars: int) -> tuple[Message, ...]:
    """Make a prompt of about `chars` characters that begins with a word to remember."""
    filler = (_FILLER * (chars // len(_FILLER) + 1))[:chars]
    return (Message("user", f"The password is {_WORD}.\n\n{filler}\n\nWhat is the password? Answer with it alone."),)


async def check_seeds(client: Client) -> Finding:
    """Check that different seeds give different answers; a seed that repeats its answer is welcome, not needed."""
    message = (Message("user", _OPEN),)
    answers = [(await client.ask(Request(Role.WEAK_SOLVER, message, seed))).content for seed in _SEEDS]
    again = (await client.ask(Request(Role.WEAK_SOLVER, message, _SEEDS[0], attempt=1))).content
    if len(set(answers)) == 1:
        return fail(
            "seeds",
            f"{len(answers)} seeds gave one answer, so attempts are not independent: raise "
            "models.weak_solver.sampling.temperature, or use a server that heeds `seed`",
        )
    detail = f"{len(set(answers))} answers to {len(answers)} seeds"
    return ok("seeds", detail) if again == answers[0] else warn("seeds", f"{detail}, but one seed gave two")


async def check_judge(client: Client, config: DomainConfig) -> Finding:
    """Have one plain case judged three times. How often verdicts are lost on real cases, judge_audit measures."""
    agents = base.load(config, client).agents
    judged = [await agents.judge(_JUDGED, _ANSWER, seed, config.judge_retries + 1) for seed in _SEEDS[:3]]
    return tell_judge([judgement.met for judgement in judged])


def tell_judge(met: Sequence[tuple[bool, ...] | None]) -> Finding:
    lost, advice = sum(m is None for m in met), "python -m autodata.judge_audit measures it on a run"
    if lost == len(met):
        return fail("judge", f"all {lost} verdicts are lost: see models.judge and structured_output; {advice}")
    if lost or len(set(met)) > 1 or met[0] != (True, False):
        return warn("judge", f"a plain case was judged {list(met)}, (True, False) is right; {advice}")
    return ok("judge", f"a plain case judged right {len(met)} times; {advice}")


def skip_server(name: str) -> Finding:
    return skip(f"endpoint {name}", "its command starts it; append --serve to start it here, or give its base_url")
