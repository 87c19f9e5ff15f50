"""Reads recipes: YAML files and then `key=value` arguments fill a typed schema.

python -m autodata.config recipes/demo/generate.yaml [more.yaml …] [key=value …]   # explain every value
"""

import difflib
import hashlib
import json
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf

from autodata import command
from autodata.recipes import budgets
from autodata.recipes.reading.domain_folder import add_domain
from autodata.recipes.reading.kinds import COMMANDS, SCHEMAS
from autodata.recipes.reading.layers import (
    Layer,
    RecipeError,
    find_files,
    is_resolved,
    name_in_errors,
    read_layers,
    require_here,
)
from autodata.recipes.shipped import find_shipped

REPO = Path(__file__).resolve().parent.parent
R = TypeVar("R")
_ROOM = 80  # the least width of a table beside its places (chosen)


def load(schema: type[R], arguments: list[str]) -> R:
    """Load a recipe, then the files and `key=value` after it in `arguments`; later ones win. Raises RecipeError."""
    try:
        config = _merge(schema, _layers(schema, arguments))
    except RecipeError as error:
        raise RecipeError(_name_stage(schema, arguments) or str(error)) from error
    if missing := sorted(OmegaConf.missing_keys(config)):
        hint = f"add it to the file or append {missing[0]}=… to the command"
        if missing[0].endswith(".endpoint"):
            hint = "add a file of recipes/models to the command"
        raise RecipeError(f"{arguments[0]}: no value for {', '.join(missing)}; {hint}")
    with name_in_errors(arguments[0]):
        recipe = OmegaConf.to_object(config)
    if not is_resolved(Path(arguments[0])):
        for problem in budgets.find_problems(recipe):
            raise RecipeError(f"{arguments[0]}: {problem}")
    return recipe


def _name_stage(schema: type, arguments: list[str]) -> str:
    """Say which command a recipe is for if its name says that this is another one; else nothing."""
    with suppress(RecipeError, IndexError):
        fitting = schema_for(arguments[0])
        is_there = Path(find_shipped(arguments[0])).is_file()
        if is_there and fitting is not schema and fitting in COMMANDS and schema in COMMANDS:
            return f"{arguments[0]} is a recipe for {COMMANDS[fitting]}, not for {COMMANDS[schema]}"
    return ""


def to_yaml(recipe: object) -> str:
    """Write the resolved recipe as YAML, as it is kept in the run folder."""
    return OmegaConf.to_yaml(OmegaConf.structured(recipe), resolve=True)


def semantic_values(value: Any, prefix: str = "") -> dict[str, Any]:
    """List the values that can change results, flat: all but fields marked operational (limits, time-outs)."""
    if is_dataclass(value):
        value = {f.name: getattr(value, f.name) for f in fields(value) if not f.metadata.get("operational")}
    if not isinstance(value, dict):
        return {prefix.rstrip("."): value}
    return {k: leaf for key, item in value.items() for k, leaf in semantic_values(item, f"{prefix}{key}.").items()}


def semantic_hash(recipe: object) -> str:
    """Identify a recipe: the hash is equal for two recipes that must give the same results."""
    text = json.dumps(semantic_values(recipe), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forget_operational(value: Any) -> Any:
    """Reset every operational field to its default, because such fields tell on whose machine a run was made."""
    if isinstance(value, dict):
        return {key: forget_operational(item) for key, item in value.items()}
    if not is_dataclass(value):
        return value
    kept = [f.name for f in fields(value) if not f.metadata.get("operational")]
    return type(value)(**{name: forget_operational(getattr(value, name)) for name in kept})


def schema_for(path: str) -> type:
    """Select the schema by the name of a recipe or of its folder: `generate_cot.yaml` → GenerateRecipe."""
    labels = (Path(path).stem, Path(path).resolve().parent.name)
    if fitting := [schema for label in labels for name, schema in SCHEMAS.items() if label.startswith(name)]:
        return fitting[0]
    raise RecipeError(f"{path}: the name of a recipe must begin with one of {', '.join(SCHEMAS)}")


def _layers(schema: type, arguments: list[str]) -> list[Layer]:
    if not arguments or "=" in arguments[0]:
        raise RecipeError("the first argument must be a recipe, for example recipes/demo/generate.yaml")
    files = [a for a in arguments[1:] if "=" not in a]
    if wrong := [name for name in files if not name.endswith(".yaml")]:
        advice = "; options stand before the recipe" if wrong[0].startswith("--") else ""
        raise RecipeError(f"{wrong[0]!r} is neither a .yaml file nor of the form key=value{advice}")
    layers = read_layers(Path(find_shipped(arguments[0])))
    for name in files:
        appended = read_layers(Path(find_shipped(name)))
        _require_foreign(schema, appended, arguments[0])
        layers += appended
    with name_in_errors("command line"):
        layers.append(Layer("command line", OmegaConf.from_dotlist([a for a in arguments[1:] if "=" in a])))
    found = [find_files(layer) for layer in layers]
    require_here(found)
    return add_domain(found)


def _require_foreign(schema: type, appended: list[Layer], recipe: str) -> None:
    """Reject an appended file that sets a key of the recipe alone: it says who serves, not what is asked of them."""
    keys = [f.name for f in fields(schema) if f.metadata.get("recipe_only")]
    for layer in appended:
        if key := next((key for key in keys if key in layer.values), None):
            problem = f"{key} belongs to {recipe} and cannot be set by an appended file"
            raise RecipeError(f"{layer.name}: {problem}; remove it there, or append {key}=… to the command")


def _merge(schema: type, layers: list[Layer]) -> DictConfig:
    config = OmegaConf.structured(schema)
    for layer in layers:
        _require_known(schema, layer)
        with name_in_errors(layer.name):
            config = OmegaConf.merge(config, layer.values)
    return config


def _require_known(schema: type, layer: Layer) -> None:
    """Name the nearest key if a key at the top level is unknown, as OmegaConf does for the keys below it."""
    names = [f.name for f in fields(schema)]
    if unknown := next((str(key) for key in layer.values if key not in names), None):
        near = difflib.get_close_matches(unknown, names, 1)
        hint = f"Did you mean: {near[0]!r}?" if near else f"Choose one of {', '.join(names)}"
        raise RecipeError(f"{layer.name}: Key {unknown!r} not in {schema.__name__!r}. {hint}")


def explain(arguments: list[str]) -> list[tuple[str, str, str, str]]:
    """List each leaf: key, value, where it was set (file:line), and its comment: is the value the paper's or ours?"""
    schema = schema_for(arguments[0]) if arguments else object
    layers = _layers(schema, arguments)
    config = _merge(schema, layers)
    with name_in_errors(arguments[0]):
        origins = {key: origin for layer in layers for key, origin in _origins(layer).items()}
        return [(key, value, *origins.get(key, ("default", ""))) for key, value in _leaves(config)]


def _leaves(config: DictConfig, prefix: str = "") -> list[tuple[str, str]]:
    leaves: list[tuple[str, str]] = []
    for key in config:
        node = "???" if OmegaConf.is_missing(config, key) else config[key]
        if isinstance(node, DictConfig) and len(node):
            leaves += _leaves(node, f"{prefix}{key}.")
        else:
            leaves.append((f"{prefix}{key}", str(node)))
    return leaves


def _origins(layer: Layer) -> dict[str, tuple[str, str]]:
    if layer.name == "command line":
        tree = yaml.compose(OmegaConf.to_yaml(layer.values))  # its interpolations are those of the whole recipe
        return {key: (layer.name, "") for key, _ in _key_lines(tree, "")}
    path = Path(layer.name)
    text = path.read_text(encoding="utf-8")
    prefix = "domain." if path.name == "domain.yaml" else ""
    shown, lines = path.relative_to(REPO) if path.is_relative_to(REPO) else path, text.splitlines()
    return {
        key: (f"{shown}:{line + 1}", lines[line].partition(" # ")[2].strip())
        for key, line in _key_lines(yaml.compose(text), prefix)
    }


def _key_lines(node: yaml.Node | None, prefix: str) -> list[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return []
    names = [(f"{prefix}{key.value}", value) for key, value in node.value]
    return [line for n, v in names for line in ((n, v.start_mark.line), *_key_lines(v, f"{n}."))]


@command.report_errors()
def main() -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    # Nothing is cut off: on a screen all but the places fold, and in a pipe a row has all the room it needs.
    table = Table(*(Column(n, overflow="fold", no_wrap=n == "set in") for n in ("key", "value", "set in", "note")))
    rows, console = explain(command.read_recipe(__doc__)), Console()
    for row in rows:
        table.add_row(*map(escape, row))
    if not console.is_terminal:
        console.width = max(console.width, Console(width=100_000).measure(table).maximum)
    elif console.width < max((len(origin) for _, _, origin, _ in rows), default=0) + _ROOM:
        # In a table every row would fold; lines that the terminal itself wraps can be copied whole.
        for key, value, origin, note in rows:
            text = f"{key}: {value}\n    {origin}" + (f"  # {note}" if note else "")
            console.print(text, markup=False, highlight=False, soft_wrap=True)
        return
    console.print(table)


if __name__ == "__main__":
    main()
