"""Tries what a run will really send: each schema of its roles, and the moves of an orchestrating model."""

import json
from collections.abc import Iterable

from autodata.cluster.fleet import find_roles
from autodata.loop import domain as base
from autodata.loop.directing.calls import GIVE_UP, PROPOSE, READ, IllegalMove, offer, read_call
from autodata.meta.genome import read_baseline
from autodata.meta.mutate import ANALYSIS, edit_schema
from autodata.recipes.domain import DomainConfig
from autodata.recipes.models import Models
from autodata.serving.measured import EndpointError
from autodata.serving.probes import Probe, Prober
from autodata.types import Role

Schema = dict[str, object]
_MOVES = (PROPOSE, READ, GIVE_UP)
_MOVE_TOKENS = 2_048  # a model that reasons needs most of them


def list_trials(models: Models, domain: DomainConfig, name: str) -> dict[str, Probe]:
    """List the trials of one endpoint by name, each of one call. Equal schemas are tried once."""
    endpoint, roles = models.endpoints[name], find_roles(models, name)
    schemas = [(role, schema) for role in roles for schema in _list_schemas(domain, role)]
    if endpoint.structured_output == "json_object":
        schemas = schemas[:1]  # the schema itself is not sent
    if endpoint.structured_output == "none":
        schemas = []
    trials = {f"schema {number} of {role}": _try_schema(schema) for number, (role, schema) in _number(schemas)}
    return trials | ({"move of orchestrator": _try_move} if Role.ORCHESTRATOR in roles else {})


def _list_schemas(domain: DomainConfig, role: Role) -> list[Schema]:
    if role is Role.ANALYSER:
        return [ANALYSIS]
    if role is Role.EDITOR:
        return [edit_schema(read_baseline(domain))]
    return base.load(domain, None).schemas().get(role, [])


def _number(schemas: list[tuple[Role, Schema]]) -> Iterable[tuple[int, tuple[Role, Schema]]]:
    """Number the different schemas from 1."""
    return enumerate({json.dumps(schema): (role, schema) for role, schema in schemas}.values(), 1)


def _try_schema(schema: Schema) -> Probe:
    """Make a probe that shows whether a schema is accepted. The reply does not matter, so it has one token."""

    async def send(prober: Prober) -> None:
        await prober.touch("Reply in JSON.", schema=schema)

    return send


async def _try_move(prober: Prober) -> None:
    """Ask for a legal move, as a function call or in words, whatever the endpoint's tool_choice."""
    text = 'Give up: call the function give_up, or write {"name": "give_up", "arguments": {"diagnosis": "dull"}}.'
    reply = await prober.ask(text, _MOVE_TOKENS, tools=offer(_MOVES))
    try:
        read_call(reply, _MOVES)
    except IllegalMove as error:
        advice = "name another model for models.orchestrator, change tool_choice, or set orchestrator=fixed"
        raise EndpointError(
            f"{prober.endpoint.base_url}: the model makes no legal move ({error}); {advice}"
        ) from error
