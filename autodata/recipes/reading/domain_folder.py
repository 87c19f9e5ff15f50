"""Finds what belongs to a domain: its domain.yaml, its templates and, in a user's own folder, its code.

A domain of the package is a folder of autodata/domains. A user's own lies anywhere (`domain.path`) and begins with a
domain that it is like (`domain.like`): what the folder lacks is that domain's.
"""

import hashlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from omegaconf import OmegaConf

from autodata.recipes.domain import DomainConfig
from autodata.recipes.reading.layers import Layer, RecipeError, find_last, is_resolved, read_yaml

CODE = "domain.py"  # in a user's folder, if it has rules of its own
DOMAINS = Path(__file__).resolve().parents[2] / "domains"  # a folder each, and the templates that all share


def add_domain(layers: list[Layer]) -> list[Layer]:
    """Put the domain's own domain.yaml beneath everything that the recipe says about the domain."""
    if folder := find_last(layers, "domain.path"):
        beneath = _read_own(Path(folder[1]), layers)
    elif name := find_last(layers, "domain.name"):
        beneath = [_read_domain("name", name[1])]
    else:
        return layers
    if folder and is_resolved(Path(folder[0].name)):
        OmegaConf.update(layers[-1].values, "domain.run_code", False)
    return [*beneath, *_with_prompt_set(layers), *layers]


def _read_domain(key: str, name: str) -> Layer:
    """Read the domain.yaml of a domain of the package. Raises RecipeError."""
    path = DOMAINS / name / "domain.yaml"
    if not name.isidentifier() or not path.is_file():
        domains = sorted(p.parent.name for p in DOMAINS.glob("*/domain.yaml"))
        raise RecipeError(f"domain.{key}={name}: no such domain; there are {', '.join(domains)}")
    return Layer(str(path), OmegaConf.create({"domain": read_yaml(path)}))


def _read_own(folder: Path, layers: list[Layer]) -> list[Layer]:
    """Read the domain.yaml of a user's folder and, beneath it, that of the domain which it is like."""
    if any(is_resolved(Path(layer.name)) for layer in layers):
        return []  # the recipe in a run folder has every value, wherever the domain's folder is now
    if not (folder / "domain.yaml").is_file():
        advice = "name a folder that has one; `autodata new-domain NAME` writes one"
        raise RecipeError(f"domain.path={folder}: no domain.yaml in it; {advice}")
    own = read_yaml(folder / "domain.yaml")
    own.setdefault("name", folder.resolve().name)
    layer = Layer(str(folder / "domain.yaml"), OmegaConf.create({"domain": own}))
    if not (like := find_last([layer, *layers], "domain.like")):
        if (folder / CODE).is_file():
            return [layer]
        problem = f"the folder has no {CODE}, so it must say whose rules hold"
        raise RecipeError(f"{folder}/domain.yaml: {problem}; write like: cs, or the name of another domain")
    return [_read_domain("like", like[1]), layer]


def _with_prompt_set(layers: list[Layer]) -> list[Layer]:
    """Read the domain.yaml of a folder of prompts, which may set the shape of the rubrics and nothing else."""
    folder = next((f for layer in reversed(layers) if (f := OmegaConf.select(layer.values, "domain.prompts"))), None)
    path = Path(str(folder)) / "domain.yaml"
    if not folder or not path.is_file():
        return []
    values = read_yaml(path)
    if more := set(values) - {"rubric_shape", "rubric_shapes"}:
        raise RecipeError(f"{path}: a prompt set cannot set {min(map(str, more))}")
    return [Layer(str(path), OmegaConf.create({"domain": values}))]


def prompt_folders(config: DomainConfig) -> list[Path]:
    """List the folders that may hold a template, in order: the recipe's, the domain's, and the one that all share."""
    own = [Path(config.prompts)] if config.prompts else []
    if config.path:
        own += [Path(config.path) / "prompts"]
    package = config.like if config.path else config.name
    return [*own, *([DOMAINS / package / "prompts"] if package else []), DOMAINS / "prompts"]


def find_code(config: DomainConfig) -> Path | None:
    """Return the file with the code of a user's domain; None if its rules are those of a domain of the package."""
    code = Path(config.path, CODE) if config.path else None
    return code if code and code.is_file() else None


def run_code(path: Path, config: DomainConfig) -> ModuleType:
    """Run the code of a user's domain, but not where only a run folder names it. Raises RecipeError."""
    if not config.run_code:
        advice = "it can come from anybody; read it, then append domain.path=FOLDER (to export: --domain FOLDER)"
        raise RecipeError(f"{path}: a recipe in a run folder names this code, which is not run, because {advice}")
    text = path.read_bytes()
    module = ModuleType(f"own_domain_{hashlib.sha256(text).hexdigest()[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look for the module of their class
    # Not imported, because that would leave a __pycache__ in the folder, whose content identifies the run.
    try:
        exec(compile(text, path, "exec"), vars(module))
    except Exception as error:  # the user's code may raise anything, and its author needs the line
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else path
        raise RecipeError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(getattr(module, "Domain", None), type):
        raise RecipeError(f"{path}: no class Domain in it; it extends that of another domain")
    return module
