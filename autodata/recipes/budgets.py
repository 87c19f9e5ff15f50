"""Finds roles that cannot answer: they have no token budget, or one that does not fit their server."""

from collections.abc import Iterator

from autodata.recipes.data import JudgeAuditRecipe
from autodata.recipes.evaluation import EvalRecipe, QuestionTypesRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.meta import MetaRecipe
from autodata.recipes.models import ROLES, RoleConfig
from autodata.recipes.training import GrpoRecipe

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


def _list_roles(recipe: Recipe) -> list[str]:
    if isinstance(recipe, EvalRecipe):
        return list(ROLES)  # the recipe has already dropped the roles that it does not ask
    if isinstance(recipe, QuestionTypesRecipe):
        return ["judge"]
    if isinstance(recipe, GrpoRecipe | JudgeAuditRecipe):
        return [role for role in recipe.domain.roles if role == "judge"]
    leads, edits = recipe.orchestrator == "agent", isinstance(recipe, MetaRecipe) and recipe.mutation == "edit"
    return [*recipe.domain.roles, *["orchestrator"] * leads, *["analyser", "editor"] * edits]


def find_problems(recipe: object) -> Iterator[str]:
    """Yield one sentence for each role that cannot answer, with the key to change."""
    for key, role in list_called_roles(recipe).items() if isinstance(recipe, Recipe) else ():
        endpoint, key = recipe.models.endpoints.get(role.endpoint), f"{key}.sampling.max_tokens"
        if endpoint is None:
            continue
        budget = role.sampling.over(endpoint.sampling).max_tokens
        # How many tokens prompt and reply may have together is known only if the command starts the server.
        flags = endpoint.server.flags if endpoint.server and not endpoint.base_url else {}
        context = flags.get("max-model-len")
        if budget is None:
            yield f"no value for {key}; set how many tokens a reply may have, as the domain's roles.yaml does"
        elif isinstance(context, int) and 0 < context <= budget:
            limit = f"{context} of models.endpoints.{role.endpoint}.server.flags"
            advice = "lower max_tokens or raise max-model-len"
            yield f"{key}={budget}: a reply and its prompt do not fit max-model-len={limit}; {advice}"
