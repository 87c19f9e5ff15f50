"""Finds roles that cannot answer: they have no endpoint, no token budget, or one that does not fit their server."""

import math
from collections.abc import Iterator

from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.models import FORMS, ROLES, TOOL_CHOICES, RoleConfig
from autodata.recipes.training import GrpoRecipe

_MOST_REQUESTS = 50_000  # the most that OpenAI takes in a batch
Recipe = GenerateRecipe | MetaRecipe | EvalRecipe | GrpoRecipe | JudgeAuditRecipe | QuestionTypesRecipe


def list_called_roles(recipe: Recipe) -> dict[str, RoleConfig]:
    """List the configured roles that a recipe's command asks, by their keys in the recipe."""
    roles = {f"models.{name}": getattr(recipe.models, name) for name in _list_roles(recipe)}
    if isinstance(recipe, EvalRecipe):
        roles |= {f"graders.{name}": role for name, role in recipe.graders.items()}
        if recipe.evaluated:  # the weak solver's sampling is set there
            roles["evaluated"] = roles.pop("models.weak_solver")
    if isinstance(recipe, GrpoRecipe | JudgeAuditRecipe):
        roles["second_judge"] = recipe.second_judge
    return {key: role for key, role in roles.items() if role}


def find_unserved(recipe: GenerateRecipe | MetaRecipe) -> str | None:
    """Describe the first role that the recipe's command asks and nobody serves; None if there is none."""
    missing = next((role for role in _list_roles(recipe) if getattr(recipe.models, role) is None), None)
    return missing and f"models.{missing}: name the endpoint for this role, or append a file of recipes/models"


def _list_roles(recipe: Recipe) -> list[str]:
    if isinstance(recipe, EvalRecipe):
        return list(ROLES)  # the recipe has already dropped the roles that it does not ask
    if isinstance(recipe, QuestionTypesRecipe):
        return ["judge"]
    if isinstance(recipe, GrpoRecipe | JudgeAuditRecipe):
        return [role for role in recipe.domain.roles if role == "judge"]
    leads, edits = recipe.orchestrator == "agent", isinstance(recipe, MetaRecipe) and recipe.mutation == "edit"
    return [*recipe.domain.roles, *["orchestrator"] * leads, *["analyser", "editor"] * edits]


def _find_empty_limits(recipe: object) -> Iterator[str]:
    for key in ("documents", "prbench", "principia"):
        limit = getattr(getattr(recipe, key, None), "limit", None)
        if limit is not None and limit < 1:
            yield f"{key}.limit={limit}: write a number above 0, or null for all"


def find_problems(recipe: object) -> Iterator[str]:
    """Yield one sentence for each limit, role, form or price that cannot be used, with the key to change."""
    yield from _find_empty_limits(recipe)
    if isinstance(recipe, Recipe):
        yield from _find_missing(recipe)
        for name, endpoint in recipe.models.endpoints.items():
            if (form := endpoint.structured_output) not in FORMS:
                yield f"models.endpoints.{name}.structured_output={form}: choose one of {', '.join(FORMS)}"
            for kind, usd in vars(endpoint.price).items() if endpoint.price else ():
                if usd is not None and not 0 <= usd < math.inf:
                    yield f"models.endpoints.{name}.price.{kind}={usd}: write US dollars per million tokens, 0 or more"
            if (choice := endpoint.tool_choice) not in TOOL_CHOICES:
                yield f"models.endpoints.{name}.tool_choice={choice}: choose one of {', '.join(TOOL_CHOICES)}"
        yield from _find_limits(recipe)
        yield from _find_batches(recipe)
        yield from _find_budgets(recipe)


# The least value of each limit, and whether it is itself allowed.
_LIMITS = {
    "max_in_flight": (1, True), "requests_per_minute": (0, False), "tokens_per_minute": (0, False),
    "patience_s": (0, True), "timeout_s": (0, False), "retries": (0, True),
}  # fmt: skip
_COUNTS = ("documents_in_flight", "iterations_in_flight", "quarantine_after")  # none of which may be 0
_SHARES = ("max_error_rate", "max_unmeasured", "max_filtered", "max_failures", "min_acceptance")


def _find_limits(recipe: Recipe) -> Iterator[str]:
    """Find limits that would not hold: a comparison with nan is false, and 0 is often read as no limit."""
    values = vars(recipe)
    for name, endpoint in recipe.models.endpoints.items():
        for key, (least, is_allowed) in _LIMITS.items():
            yield from _check(f"models.endpoints.{name}.{key}", getattr(endpoint, key), least, is_allowed)
    for key, limit in vars(values["budget"]).items() if values.get("budget") else ():
        yield from _check(f"budget.{key}", limit, 0)
    for key in _COUNTS:
        yield from _check(key, values.get(key), 1)
    for key in _SHARES:
        if not 0 <= (share := values.get(key, 0)) <= 1:
            yield f"{key}={share}: write a share, 0 to 1"


def _check(key: str, value: float | None, least: int, is_allowed: bool = True) -> Iterator[str]:
    if value is not None and not (least < value < math.inf or (is_allowed and value == least)):
        yield f"{key}={value}: write a number {f'of {least} or more' if is_allowed else f'above {least}'}"


def _find_batches(recipe: Recipe) -> Iterator[str]:
    """Find batches with a wrong value, and those whose calls cannot wait: the next call depends on them."""
    asked = {role.endpoint for role in list_called_roles(recipe).values()}
    for name, endpoint in recipe.models.endpoints.items():
        key, batch = f"models.endpoints.{name}.batch", endpoint.batch
        if batch is None:
            continue
        if not 1 <= batch.requests <= _MOST_REQUESTS:
            yield f"{key}.requests={batch.requests}: write 1 to {_MOST_REQUESTS:,}, the calls of one batch"
        if not 0 <= batch.price_factor < math.inf or not 0 <= batch.quiet_s < math.inf:
            yield f"{key}: price_factor and quiet_s must be numbers of 0 or more"
        is_search = isinstance(recipe, MetaRecipe | GrpoRecipe)
        if name in asked and (is_search or (isinstance(recipe, GenerateRecipe) and recipe.arm != "cot")):
            why = "each call of this command depends on the one before, and a batch may take a day"
            fits = "evaluations, audits and arm=cot can wait for batches"
            yield f"{key}: {why}; leave it out ({fits})"


def _find_missing(recipe: Recipe) -> Iterator[str]:
    """Find the roles without an endpoint, even those that are not asked: their servers would be started too."""
    models, names = recipe.models, ", ".join(recipe.models.endpoints) or "none"
    roles = {f"models.{name}": role for name in ROLES if (role := getattr(models, name))} | list_called_roles(recipe)
    for key, role in roles.items():
        if role.endpoint not in models.endpoints:
            yield f"{key}.endpoint={role.endpoint}: not in models.endpoints ({names})"


def _find_budgets(recipe: Recipe) -> Iterator[str]:
    for key, role in list_called_roles(recipe).items():
        endpoint, key = recipe.models.endpoints[role.endpoint], f"{key}.sampling.max_tokens"
        budget = role.sampling.over(endpoint.sampling).max_tokens
        # How many tokens prompt and reply may have together is known only if the command starts the server.
        flags = endpoint.server.flags if endpoint.server and not endpoint.base_url else {}
        context = flags.get("max-model-len")
        if budget is None:
            yield f"no value for {key}; set how many tokens a reply may have, as the domain's roles.yaml does"
        elif budget < 1:
            yield f"{key}={budget}: a reply has at least one token"
        elif isinstance(context, int) and 0 < context <= budget:
            limit = f"{context} of models.endpoints.{role.endpoint}.server.flags"
            advice = "lower max_tokens or raise max-model-len"
            yield f"{key}={budget}: a reply and its prompt do not fit max-model-len={limit}; {advice}"
