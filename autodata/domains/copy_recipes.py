"""Writes the recipes of the package and their documents into the current folder, to read and change them.

    python -m autodata.domains.copy_recipes               # writes recipes/
    python -m autodata.domains.copy_recipes cs models     # writes recipes/cs and recipes/models only

Commands look for `recipes/…` in the current folder first and then in the package, so they use the copy.
"""

import shutil
from pathlib import Path

from autodata import command
from autodata.recipes.shipped import RECIPES, SHIPPED
from autodata.types import WrongCall


def copy_recipes(target: Path, names: list[str]) -> list[Path]:
    """Copy all folders of recipes, or those with these names; return the copies. Raises WrongCall."""
    source = SHIPPED / RECIPES
    known = sorted(path.name for path in source.iterdir())
    if unknown := next((name for name in names if name not in known), None):
        raise WrongCall(f"{unknown}: no such folder of recipes; there are {', '.join(known)}")
    copies = {source / name: target / RECIPES / name for name in names or known}
    if there := next((copy for copy in copies.values() if copy.exists()), None):
        raise WrongCall(f"{there}: is there already; move it away to get the package's again")
    for path, copy in copies.items():
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(path, copy) if path.is_dir() else shutil.copyfile(path, copy)
    return list(copies.values())


@command.report_errors()
def main() -> None:
    parser = command.make_parser(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="folders of recipes; all if none is named")
    for copy in copy_recipes(Path(), parser.parse_args().names):
        print(copy)


if __name__ == "__main__":
    main()
