"""Finds the recipes and their documents where there is no checkout: in the installed package.

In a checkout, `files/` has links to what stands at its top; in a wheel it has copies.
"""

from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).resolve().parent / "files"
RECIPES = "recipes"


def find_shipped(path: str) -> str:
    """Return where `recipes/…` is: in the current folder if it is there, else in the package.

    Every other path, and one that is in neither place, is returned as it is.
    """
    if Path(path).parts[:1] != (RECIPES,) or Path(path).exists() or not (SHIPPED / path).exists():
        return path
    return str((SHIPPED / path).resolve())


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
