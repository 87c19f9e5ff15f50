"""Measures the structure of a checkout from its code.

`python -m tests.helpers.structure [CHECKOUT]` prints the numbers. A room is a file or a folder of
`autodata/`, or one of `training/`, `eval/` and `bench/`. An arrow is an import from one room into another. A room
stands one floor above the highest room that it imports.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from statistics import median

PRODUCT = ("autodata", "training", "eval")


def list_files(checkout: Path, folders: tuple[str, ...] = PRODUCT) -> list[Path]:
    return sorted(path for folder in folders for path in (checkout / folder).rglob("*.py"))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def find_arrows(checkout: Path) -> set[tuple[str, str]]:
    """Find all pairs (room, room that it imports)."""
    arrows = set()
    for path in list_files(checkout, (*PRODUCT, "bench")):
        room = find_room(".".join(path.relative_to(checkout).with_suffix("").parts))
        arrows |= {(room, find_room(name)) for name in list_imports(path)}
    return {(room, imported) for room, imported in arrows if room and imported and room != imported}


def find_room(module: str) -> str:
    """Return the room of a module: `autodata.loop.agents` stands in `autodata.loop`; the package itself is no room."""
    parts = module.removeprefix("autodata.") if module.startswith(("autodata.training", "autodata.eval")) else module
    parts = parts.split(".")
    return ".".join(parts[:2]) if parts[0] == "autodata" and len(parts) > 1 else parts[0].replace("autodata", "")


def list_imports(path: Path) -> Iterator[str]:
    """List the project's modules that a file imports."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in (*PRODUCT, "bench"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (*PRODUCT, "bench"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_floors(arrows: set[tuple[str, str]]) -> dict[str, int]:
    """Return the floor of each room, 1 for the ground. Raises RecursionError if imports go in a circle."""
    imports: dict[str, set[str]] = {room: set() for arrow in arrows for room in arrow}
    for room, imported in arrows:
        imports[room].add(imported)

    def climb(room: str) -> int:
        return 1 + max((climb(imported) for imported in imports[room]), default=0)

    return {room: climb(room) for room in imports}


def measure(checkout: Path) -> dict[str, object]:
    paths = list_files(checkout)
    files = [path.read_text() for path in paths]
    functions = [
        node.end_lineno - node.lineno + 1
        for path in paths
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    arrows = find_arrows(checkout)
    floors = find_floors(arrows)
    entries = [path for path in (checkout / "autodata").iterdir() if path.name != "__pycache__"]
    return {
        "entries in autodata/": len(entries),
        "rooms": len(floors),
        "floors": max(floors.values()),
        "arrows": len(arrows),
        "Python files": len(files),
        "lines": sum(text.count("\n") for text in files),
        "functions": len(functions),
        "lines of a file, median": median(text.count("\n") for text in files),
        "lines of a function, median": median(functions),
        "places with `# fmt: skip`": sum(len(re.findall(r"# fmt: skip", text)) for text in files),
    }


if __name__ == "__main__":
    for name, value in measure(Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name}: {value:,}")
