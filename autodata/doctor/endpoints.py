"""Checks that each endpoint is reachable, serves the right model, and can do what its roles need."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from autodata.cluster.fleet import find_roles
from autodata.doctor.finding import Finding, fail, ok, skip, warn
from autodata.doctor.forms import list_trials
from autodata.loop import domain as base
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Endpoint, Models, Sampling
from autodata.serving.journal import Journal
from autodata.serving.llm import Client, role_config
from autodata.serving.measured import EndpointError, NotMeasured
from autodata.serving.probes import choose_probes, read_limits, run_probe
from autodata.serving.request import Request, resolve_sampling
from autodata.types import Candidate, Criterion, Message, Role

THINKING_TOKENS = 4_096  # the least that leaves a thinking model room; judges were seen to reason for 3,000 (chosen)
_WORD = "marigold"
_FILLER = "The harbour was quiet, and the boats lay on the sand until the tide came back in the evening. "
_SEEDS = (1, 2, 3, 4)
_JUDGED = 3  # times that one simple case is judged
_OPEN_QUESTION = "Invent a name for a ship and say in a few sentences where it sails."  # has many good answers
_RUBRIC = (Criterion("The answer says that 7 is larger", 1), Criterion("The answer names the capital of Peru", 1))
_TEST_CASE = Candidate("Which is larger, 7 or 5, and why?", "7", _RUBRIC)
_TEST_ANSWER = "Seven is the larger number: it is five and two more."


def tell_calls(models: Models, domain: DomainConfig, names: Sequence[str]) -> Finding:
    """Say beforehand how many calls the checks make."""
    calls = {name: count_calls(models, domain, name) for name in names if models.endpoints[name].base_url}
    if not calls:
        return skip("calls", "none: no endpoint is running")
    listed = ", ".join(f"{count} to {name}" for name, count in calls.items())
    return ok("calls", f"{listed} follow if all goes well; most of them ask for a few tokens")


def count_calls(models: Models, domain: DomainConfig, name: str) -> int:
    """Count the calls to one endpoint if every check succeeds at once."""
    endpoint, roles = models.endpoints[name], find_roles(models, name)
    probes = len(choose_probes(endpoint, roles)) + len(list_trials(models, domain, name)) + 1  # for the rate
    prompts = 2 * (Role.CHALLENGER in roles and bool(domain and domain.document_chars))
    seeds = (len(_list_seeds(endpoint)) - 1) * (Role.WEAK_SOLVER in roles)  # check_room has sent the first one
    per_case = -(-len(_RUBRIC) // (domain.criteria_per_call or len(_RUBRIC)))
    budgets = {str(_find_sampling(models, role)) for role in roles}  # check_room asks roles with equal ones once
    return probes + len(budgets) + prompts + seeds + _JUDGED * per_case * _is_judge(roles, domain)


def check_server(models: Models, domain: DomainConfig, name: str) -> list[Finding]:
    """Probe an endpoint, if it runs, as a Slurm replica is probed, and with all that the recipe's roles will send."""
    endpoint, findings = models.endpoints[name], []
    if not endpoint.base_url:
        return [skip(f"endpoint {name}", "not running: append --serve to start it here, or set its base_url")]
    probes = choose_probes(endpoint, find_roles(models, name)) | list_trials(models, domain, name)
    for check, probe in probes.items():
        try:
            run_probe(endpoint, probe, is_patient=True)
        except EndpointError as error:
            return [*findings, fail(f"{check} of {name}", f"{error} (models.endpoints.{name})")]
        findings.append(ok(f"{check} of {name}", endpoint.base_url))
    return [*findings, check_rate(name, endpoint)]


def check_rate(name: str, endpoint: Endpoint) -> Finding:
    """Quote what the provider says of its limits, and compare the recipe's rate with them."""
    check, key = f"rate of {name}", f"models.endpoints.{name}"
    try:
        limits = read_limits(endpoint)
    except EndpointError as error:
        return fail(check, f"{error} ({key})")
    if not limits:
        return skip(check, "the provider names no limit; too many calls are noticed when it refuses one")
    said = f"the provider says {', '.join(f'{header}: {value}' for header, value in limits.items())}"
    counts = [float(v) for h, v in limits.items() if "requests" in h and v.replace(".", "", 1).isdigit()]
    if endpoint.requests_per_minute and counts and endpoint.requests_per_minute > min(counts):
        return warn(check, f"{said}: {key}.requests_per_minute={endpoint.requests_per_minute:g} is more")
    return ok(check, f"{said}; where these are per minute, requests_per_minute and tokens_per_minute keep to them")


async def check_answers(models: Models, domain: DomainConfig, names: Sequence[str]) -> list[Finding]:
    """Check that each role of these endpoints answers within its max_tokens, that attempts differ, and the judge."""
    with tempfile.TemporaryDirectory() as scratch, closing(Journal(Path(scratch) / "journal.sqlite")) as journal:
        at_once = {name: replace(endpoint, batch=None) for name, endpoint in models.endpoints.items()}
        client = Client(replace(models, endpoints=at_once), journal)
        try:
            roles = [role for name in names for role in find_roles(models, name)]
            findings = [await check_room(client, role) for role in roles]
            if Role.CHALLENGER in roles and domain and domain.document_chars:
                findings.append(await check_prompt(client, domain.document_chars))
            if Role.WEAK_SOLVER in roles:
                findings.append(await check_seeds(client))
            if _is_judge(roles, domain):
                findings.append(await check_judge(client, domain))
            return findings
        except EndpointError as error:
            return [fail("answers", str(error))]
        finally:
            await client.close()


async def check_room(client: Client, role: Role) -> Finding:
    """Check that max_tokens leaves room to reason: running out gives no answer, which looks like a wrong one."""
    key, check = f"models.{role}.sampling.max_tokens", f"budget of {role}"
    try:
        reply = await client.ask(Request(role, (Message("user", _OPEN_QUESTION),), seed=1))
    except NotMeasured as error:
        return fail(check, str(error))
    if not reply.content.strip():
        return fail(check, f"{reply.completion_tokens:,} tokens of reasoning and no answer: raise {key}")
    budget = _find_sampling(client.models, role).max_tokens or 0
    if reply.reasoning.strip() and budget < THINKING_TOKENS:
        little = f"the model reasons before it answers, and {key}={budget} leaves little room for that"
        return fail(check, f"{little}: set {THINKING_TOKENS} or more")
    return ok(check, f"{reply.completion_tokens:,} of {budget:,} tokens used, {reply.outcome.words}")


def _find_sampling(models: Models, role: Role) -> Sampling:
    config = role_config(models, role)
    return resolve_sampling(config.sampling, models.endpoints[config.endpoint].sampling, role)


async def check_prompt(client: Client, chars: int) -> Finding:
    """Ask for the first word of the longest prompt that the recipe allows: servers cut prompts silently."""
    check, advice = f"prompt of {chars:,} characters", "serve a longer context or lower domain.document_chars"
    try:
        short, long = [await client.ask(Request(Role.CHALLENGER, _hide_word(size), seed=1)) for size in (200, chars)]
    except EndpointError as error:  # also NotMeasured, if the prompt does not fit, and PromptCut
        return fail(check, f"{error}; {advice}")
    if _WORD in long.content.casefold():
        return ok(check, f"the server read all of it, {long.prompt_tokens:,} tokens")
    if _WORD in short.content.casefold():
        cut = f"the server read {long.prompt_tokens:,} tokens, but not its first word: it cuts the prompt"
        return fail(check, f"{cut}; {advice}")
    return warn(check, "not checked, because the model cannot repeat a word even from a short prompt")


def _hide_word(chars: int) -> tuple[Message, ...]:
    """Make a prompt of about `chars` characters that begins with a word to remember."""
    filler = (_FILLER * (chars // len(_FILLER) + 1))[:chars]
    return (Message("user", f"The password is {_WORD}.\n\n{filler}\n\nWhat is the password? Answer with it alone."),)


async def check_seeds(client: Client) -> Finding:
    """Check that different seeds give different answers; a seed that repeats its answer is welcome, not needed."""
    message = (Message("user", _OPEN_QUESTION),)
    seeds = _list_seeds(client.models.endpoints[role_config(client.models, Role.WEAK_SOLVER).endpoint])
    asked = [Request(Role.WEAK_SOLVER, message, seed, attempt) for seed, attempt in seeds]
    answers = [(await client.ask(request)).content for request in asked]
    answers, repeated = answers[: len(_SEEDS)], answers[len(_SEEDS) :]
    if len(set(answers)) == 1:
        same = f"{len(answers)} seeds gave the same answer, so attempts are not independent"
        advice = "raise models.weak_solver.sampling.temperature, or use a server that respects `seed`"
        return fail("seeds", f"{same}: {advice}")
    detail = f"{len(answers)} seeds gave {len(set(answers))} different answers"
    if not repeated:
        return ok("seeds", f"{detail}, without sending the seeds")
    if repeated != answers[:1]:
        return warn("seeds", f"{detail}, but the same seed, sent twice, gave two as well")
    return ok("seeds", detail)


def _list_seeds(endpoint: Endpoint) -> list[tuple[int, int]]:
    """List the seeds to ask with, each with its attempt; the first one twice, if the endpoint is sent any."""
    is_sent = endpoint.body.get("seed", True) is not None and endpoint.sampling.extra.get("seed", True) is not None
    return [*((seed, 0) for seed in _SEEDS), *[(_SEEDS[0], 1)] * is_sent]


def _is_judge(roles: Sequence[Role], domain: DomainConfig) -> bool:
    return Role.JUDGE in roles and "judge" in domain.roles


async def check_judge(client: Client, config: DomainConfig) -> Finding:
    """Have one simple case judged three times; judge_audit measures how often verdicts are lost on real cases."""
    agents = base.load(config, client).agents
    asks, per_call = config.judge_retries + 1, config.criteria_per_call
    judged = [await agents.judge(_TEST_CASE, _TEST_ANSWER, seed, asks, per_call) for seed in _SEEDS[:_JUDGED]]
    return assess_judge([judgement.met for judgement in judged])


def assess_judge(met: Sequence[tuple[bool, ...] | None]) -> Finding:
    lost, advice = met.count(None), "python -m autodata.judge_audit measures this on a run"
    if lost == len(met):
        unread = f"none of {lost} verdicts could be read: check models.judge and structured_output"
        return fail("judge", f"{unread}; {advice}")
    if lost or len(set(met)) > 1 or met[0] != (True, False):
        return warn("judge", f"a simple case was judged {list(met)}, but (True, False) is right; {advice}")
    return ok("judge", f"a simple case was judged correctly {len(met)} times; {advice}")
