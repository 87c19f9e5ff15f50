"""Reads the sources of a recipe's values: each YAML file, with those that it includes, is a layer."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autodata.recipes.shipped import find_all_shipped, find_included
from autodata.types import WrongCall

RETIRED = ("guidance", "metrics_port")  # keys of earlier versions, which stand in the recipes of their run folders
_READ = ("domain.path", "domain.prompts", "documents.path")  # keys of what a recipe reads and may bring along
_ABOVE = 3  # folders above a recipe that may be those in which it is used: recipes/demo/generate.yaml (chosen)


class RecipeError(WrongCall):
    """A recipe cannot be used; the message names the file, the key and what to write."""


@dataclass(frozen=True)
class Layer:
    """One source of values: a YAML file or the command line. Lists of layers begin with the lowest priority."""

    name: str
    values: DictConfig


def is_resolved(path: Path) -> bool:
    """Return True for the recipe in a run folder, which records how a run was made, by the rules of its time."""
    return path.name == "recipe.yaml" and (path.parent / "manifest.json").exists()


def read_layers(path: Path, chain: tuple[Path, ...] = ()) -> list[Layer]:
    """Read a file and, beneath it, those that it includes; `chain` is the files that led to it. Raises RecipeError."""
    path = path.resolve()
    if path in chain:
        raise RecipeError(f"{path}: includes itself through {' → '.join(map(str, chain))}")
    values = read_yaml(path)
    for key in RETIRED if is_resolved(path) else ():
        values.pop(key, None)
    if is_resolved(path):
        _restore_sampling(values)
    included = values.pop("include", None) or []
    if isinstance(included, str):
        raise RecipeError(f"{path}: include must be a list; write include: [{included}]")
    layers = [layer for name in included for layer in read_layers(find_included(name, path.parent), (*chain, path))]
    return [*layers, Layer(str(path), values)]


def _restore_sampling(values: DictConfig) -> None:
    """Write out what null meant in the sampling of endpoints before it came to mean "not sent"."""
    for endpoint in (OmegaConf.select(values, "models.endpoints") or {}).values():
        if "max_tokens_key" not in endpoint and "sampling" in endpoint:
            for key in ("temperature", "top_p"):
                endpoint.sampling[key] = 1.0 if endpoint.sampling.get(key) is None else endpoint.sampling[key]


def read_yaml(path: Path) -> DictConfig:
    """Read a YAML file that must be a mapping. Raises RecipeError that names the nearest file if there is none."""
    try:
        values = OmegaConf.load(path)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], 1)
        raise RecipeError(f"{path}: no such file" + (f"; did you mean {near[0]}?" if near else "")) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise RecipeError(f"{path}: not a readable YAML file: {error}") from error
    if not isinstance(values, DictConfig):
        raise RecipeError(f"{path}: a recipe must be a mapping of keys to values")
    return values


def find_last(layers: list[Layer], key: str) -> tuple[Layer, str] | None:
    """Return the last of the layers that sets a key, and the value, unless that is null."""
    unset = object()
    with name_in_errors(key):
        found = [
            (layer, v) for layer in layers if (v := OmegaConf.select(layer.values, key, default=unset)) is not unset
        ]
    return (found[-1][0], str(found[-1][1])) if found and found[-1][1] else None


def find_files(layer: Layer) -> Layer:
    """Point values such as recipes/demo/documents to the package where the current folder has no such file."""
    values = OmegaConf.to_container(layer.values)
    found = find_all_shipped(values)
    return layer if found == values else Layer(layer.name, OmegaConf.create(found))


def require_here(layers: list[Layer]) -> None:
    """Name the folder to stand in if a recipe means another one: its relative paths begin where the user stands."""
    for key in _READ:
        layer, value = find_last(layers, key) or (None, "")
        if layer is None or is_resolved(Path(layer.name)) or Path(value).exists():
            continue
        if place := next((p for p in [*Path(layer.name).parents][:_ABOVE] if (p / value).exists()), None):
            advice = f"change to the folder {place}, or append {key}={place / value}"
            raise RecipeError(f"{layer.name}: {key}={value} is not in the current folder; {advice}")


@contextmanager
def name_in_errors(source: str) -> Iterator[None]:
    """Turn the errors of OmegaConf and of a recipe's own checks into a RecipeError that names the source."""
    try:
        yield
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        key = next((f" ({line})" for line in lines if line.startswith("full_key:")), "")
        raise RecipeError(f"{source}: {lines[0]}{key}") from error
