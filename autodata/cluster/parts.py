"""Plans the servers of several recipes at once: a server that two of them need alike is started once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from autodata.cluster import fleet
from autodata.cluster.fleet import ServerGroup
from autodata.cluster.resources import Site
from autodata.command import Parser
from autodata.config import load, schema_for
from autodata.recipes.models import Models
from autodata.run.folder import read_manifest
from autodata.types import WrongCall

AND = "--and"  # stands between the recipes of commands that share servers


@dataclass(frozen=True)
class Part:
    """One command of several: its recipe, the servers that it starts, and those that an earlier one starts."""

    arguments: tuple[str, ...]
    run: Path
    models: Models
    groups: tuple[ServerGroup, ...]
    borrowed: Mapping[str, int]  # endpoint → the number of the part that serves it
    is_finished: bool  # its command asks no server and ends at once


def plan_parts(recipes: Sequence[Sequence[str]], gpus_per_node: int) -> list[Part]:
    """Plan the servers of each recipe. Raises RecipeError, WrongCall."""
    parts: list[Part] = []
    for arguments in recipes:
        recipe = load(schema_for(arguments[0]), [*arguments])
        run, models = Path(recipe.run), recipe.models
        if any(run == part.run for part in parts):
            raise WrongCall(f"{run}: two of the recipes have this run; give each a run of its own")
        groups = fleet.plan(models, run, gpus_per_node, fleet.find_graders(recipe))
        borrowed = {n: i for n in {g.endpoint for g in groups} if (i := _find_lender(n, models, parts)) is not None}
        own = tuple(group for group in groups if group.endpoint not in borrowed)
        is_finished = bool((read_manifest(run) or {}).get("finished"))
        parts.append(Part(tuple(arguments), run, models, own, borrowed, is_finished))
    return [_drop_unneeded(number, part, parts) for number, part in enumerate(parts)]


def _drop_unneeded(number: int, part: Part, parts: Sequence[Part]) -> Part:
    """Leave a finished part only the servers that it lends: a requeued campaign finds them again under its name."""
    if not part.is_finished:
        return part
    borrowers = [other.borrowed for other in parts if not other.is_finished]
    lent = {name for borrowed in borrowers for name, lender in borrowed.items() if lender == number}
    return replace(part, groups=tuple(group for group in part.groups if group.endpoint in lent), borrowed={})


def _find_lender(name: str, models: Models, parts: Sequence[Part]) -> int | None:
    """Find the part that starts this very endpoint."""
    wanted = asdict(models.endpoints[name])
    for number, part in enumerate(parts):
        if name in {group.endpoint for group in part.groups} and asdict(part.models.endpoints[name]) == wanted:
            return number
    return None


def describe(parts: Iterable[Part], site: Site) -> str:
    """Describe every server job of all recipes as it would be submitted."""
    return "\n".join(fleet.describe(part.models, part.groups, part.run, site) for part in parts if part.groups)


def add_recipes(parser: Parser) -> None:
    """Take one recipe, and further ones after `--and`."""
    parser.add_recipe()
    text = "another recipe with its files and settings: the command runs for it too, and shares servers"
    parser.add_argument(AND, dest="others", nargs="+", action="append", default=[], metavar="RECIPE", help=text)


def split_recipes(words: Sequence[str]) -> list[list[str]]:
    """Split the arguments of several recipes, which are separated by `--and`."""
    recipes: list[list[str]] = [[]]
    for word in words:
        if word == AND:
            recipes.append([])
        else:
            recipes[-1].append(word)
    return recipes
