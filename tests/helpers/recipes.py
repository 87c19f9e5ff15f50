"""Makes recipes, model settings and requests as most tests need them."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autodata.config import Layer, load, schema_for
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.models import Endpoint, Models, RoleConfig, Sampling
from autodata.serving.request import Request
from autodata.types import Message, Role

REPO = Path(__file__).resolve().parent.parent.parent
# api.yaml leaves open which models the provider has.
NAMES = [f"models.endpoints.{size}_model.model=owner/{size}" for size in ("small", "large")]
MODELS = {
    path.stem: (f"recipes/models/{path.name}", *(NAMES if path.stem == "api" else ()))
    for path in sorted((REPO / "recipes/models").glob("*.yaml"))
    if "include: [api.yaml]" not in path.read_text()
}
# Each of these changes the endpoints of api.yaml.
PROVIDERS = sorted({path.stem for path in (REPO / "recipes/models").glob("*.yaml")} - {*MODELS})
ON_CPU = ("recipes/demo/", "recipes/study/")  # folders whose recipes serve and train the embedded model on the CPU
BUDGET = Sampling(max_tokens=1024)  # for models that tests build themselves; a recipe has its own values


def keep_files(read: Callable[[Path], DictConfig]) -> Callable[[Path], DictConfig]:
    """Like config's reader of a YAML file, but parses the same text only once."""
    kept: dict[bytes, DictConfig] = {}

    def read_or_recall(path: Path) -> DictConfig:
        if not path.is_file():
            return read(path)  # the real reader reports the error
        text = path.read_bytes()
        if text not in kept:
            kept[text] = read(path)
        # What is read of a recipe loses its `include`, and a domain gets the name of its folder.
        is_changed = "include" in kept[text] or path.name == "domain.yaml"
        return deepcopy(kept[text]) if is_changed else kept[text]

    return read_or_recall


def keep_merged(merge: Callable[[type, list[Layer]], DictConfig]) -> Callable[[type, list[Layer]], DictConfig]:
    """Like config's merge, but merges the same files only once, before the values of the command line.

    Where recipes are found depends on the current folder.
    """
    merged: dict[tuple, DictConfig] = {}

    def merge_files(schema: type, files: list[Layer]) -> DictConfig:
        key = (schema, Path.cwd(), *((file.name, Path(file.name).read_bytes()) for file in files))
        if key not in merged:
            merged[key] = (
                OmegaConf.merge(merge_files(schema, files[:-1]), files[-1].values)
                if files
                else OmegaConf.structured(schema)
            )
        return merged[key]

    def merge_or_recall(schema: type, layers: list[Layer]) -> DictConfig:
        *files, command_line = layers
        try:
            laid = merge_files(schema, files)
            return OmegaConf.merge(laid, command_line.values) if command_line.values else laid
        except (OmegaConfBaseException, TypeError):
            return merge(schema, layers)  # the real reader reports the error

    return merge_or_recall


def models_at(url: str, **endpoint: object) -> Models:
    """Serve every role by one fake endpoint."""
    values = {"model": "fake", "base_url": url, "retries": 3, "timeout_s": 5.0, "sampling": BUDGET} | endpoint
    roles = {role.value: RoleConfig("fake") for role in Role}
    return Models({"fake": Endpoint(**values)}, **roles)


@cache
def load_committed(*arguments: str) -> Any:
    """Loads a recipe of any kind once for all tests that ask for it; none of them may change it."""
    return load(schema_for(arguments[0]), list(arguments))


@cache
def _load(arguments: tuple[str, ...]) -> GenerateRecipe:
    return load(GenerateRecipe, list(arguments))


def load_recipe(*arguments: str) -> GenerateRecipe:
    """Parses a recipe of generation once for all tests that ask for it, and gives each test its own copy."""
    return deepcopy(_load(arguments))


def request(text: str = "hello", **values: object) -> Request:
    return Request(**{"role": Role.WEAK_SOLVER, "messages": (Message("user", text),), "seed": 1, **values})
