"""Finds the recipes and their documents where there is no checkout: in the installed package.

In a checkout, `files/` has links to what stands at its top; in a wheel it has copies.
"""

from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parent / "files"
RECIPES = "recipes"


def find_shipped(path: str) -> str:
    """Return where `recipes/…` is: in the current folder if it is there, else in the package.

    What is in neither place is missing in the current folder if that has recipes at all. Every other path is returned
    as it is.
    """
    if not _is_of_recipes(path) or Path(path).exists():
        return path
    place = SHIPPED / path
    return path if Path(RECIPES).exists() and not place.exists() else str(place.resolve())


def find_included(name: str, folder: Path) -> Path:
    """Return the file that a recipe in a folder includes: it is beside the recipe, or it is one of `recipes/…`."""
    beside = folder / name
    return Path(find_shipped(name)) if _is_of_recipes(name) and not beside.exists() else beside


def _is_of_recipes(path: str) -> bool:
    return Path(path).parts[:1] == (RECIPES,)


def list_recipes() -> list[Path]:
    """List every recipe of the package, and for each that the current folder has as well, that one."""
    return [Path(find_shipped(str(path.relative_to(SHIPPED)))) for path in (SHIPPED / RECIPES).rglob("*.yaml")]


def find_all_shipped(value: Any) -> Any:
    """Do the same for every text in a tree of dictionaries and lists."""
    if isinstance(value, dict):
        return {key: find_all_shipped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [find_all_shipped(item) for item in value]
    return find_shipped(value) if isinstance(value, str) and value.startswith(f"{RECIPES}/") else value
