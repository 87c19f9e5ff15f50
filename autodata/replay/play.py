"""Makes the runs of a pack again from stored replies, and compares what comes out, byte for byte."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodata.config import REPO, load
from autodata.data.examples import EXAMPLES
from autodata.journal.replies import import_replies
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.evaluation import MADE, EvalRecipe
from autodata.recipes.generation import GenerateRecipe
from autodata.recipes.reading.kinds import SCHEMAS
from autodata.replay.pack import COMMANDS, DOCUMENTS, Pack, PackError, Step, is_inside
from autodata.run.records import digest, hash_path, name_file_in_errors
from autodata.serving.journal import lock

LOG = "replay.log"


@dataclass(frozen=True)
class Made:
    """What came out of a step."""

    step: Step
    replies: int
    seconds: float
    outputs: dict[str, str]  # file → hash

    @property
    def different(self) -> list[str]:
        """The files that are not what the pack says."""
        return find_different(self.step.outputs, self.outputs)


def find_different(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Name the files that have another hash than expected, or none."""
    return [name for name, value in expected.items() if found.get(name) != value]


def play(pack: Pack, folder: Path) -> Iterator[Made]:
    """Make every run and table of an unpacked pack inside its folder, and yield each. Raises PackError."""
    _require_documents(pack, folder)
    for weights in pack.weights:
        with name_file_in_errors(folder / weights):
            (folder / weights).mkdir(parents=True, exist_ok=True)  # an empty folder stands for what is not needed
    for step in pack.steps:
        start = time.monotonic()
        replies = _bring_replies(step, folder)
        _run(step, folder)
        outputs = {name: hash_output(folder / name) for name in list_outputs(step, folder)}
        yield Made(step, replies, time.monotonic() - start, outputs)


def _require_documents(pack: Pack, folder: Path) -> None:
    """Raise PackError if documents that the pack does not hold are missing or others."""
    for name, expected in pack.documents.items():
        path = folder / DOCUMENTS / name
        if not path.exists():
            raise PackError(f"{path}: the pack names these documents but does not hold them; put them there")
        if hash_path(path) != expected:
            advice = "put there the files that the runs have read, and leave all else as it is"
            raise PackError(f"{path}: these are not the documents of the pack (their hash is {expected}); {advice}")


def _bring_replies(step: Step, folder: Path) -> int:
    """Put the stored replies of a step into its journal; return how many there are."""
    source = folder / step.replies
    if not source.exists():
        return 0
    journal = folder / step.name / "journal.sqlite"
    with name_file_in_errors(journal):
        journal.parent.mkdir(parents=True, exist_ok=True)
        with lock(journal):
            return import_replies(journal, source)


def _run(step: Step, folder: Path) -> None:
    """Run the command of a step as its user would, in the folder of all runs. Raises PackError, RecipeError."""
    log, safe = folder / LOG, _restrict(step)
    with chdir(folder):  # where its paths begin
        recipe = load(SCHEMAS[step.kind], [step.recipe, *safe])
    for path in filter(None, _list_read(recipe)):
        if not is_inside(path):
            raise PackError(f"{step.recipe}: it reads {path!r}, which is no path inside the pack")
    command = [sys.executable, "-m", COMMANDS[step.kind], step.recipe, *safe]
    with log.open("ab") as output:
        start = output.tell()
        code = subprocess.run(command, cwd=folder, stdout=output, stderr=output, env=_isolate()).returncode
    if code:
        end = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()[-8:]
        shown = "\n".join("".join(filter(str.isprintable, line)) for line in end)
        raise PackError(f"{step.name}: {COMMANDS[step.kind]} ended with exit code {code} ({log}):\n{shown}")


def _restrict(step: Step) -> list[str]:
    """List settings for a recipe from elsewhere: whatever it says, it writes into the folder and asks nobody."""
    if step.kind == "table":
        return [f"output={step.name}.md", "runs=."]
    settings = [f"run={step.name}"]
    if step.kind in ("generate", "eval"):
        settings += ["models.replay=true", "domain.path=null"]  # a folder would bring code
    settings += {
        "generate": ["journal=null", "fork=null", "processes=1"],
        "dataset": ["decontaminate=[]"],
        "eval": ["prbench=null", "principia=null"],
    }[step.kind]
    return settings


def _list_read(recipe: Any) -> list[str | None]:
    """List the files and folders that a recipe names to read."""
    match recipe:
        case GenerateRecipe():
            return [recipe.documents.path, recipe.domain.prompts, recipe.budget_from]
        case DatasetRecipe():
            return [*recipe.arms.values()]
        case EvalRecipe():
            return [recipe.dataset, recipe.domain.prompts]
    return [row.run for row in recipe.rows]


def _isolate() -> dict[str, str]:
    """Return an environment in which Python finds this project's code, and none in the folder where it starts."""
    paths = [REPO, *(Path(path).absolute() for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONSAFEPATH": "1"}


def hash_output(path: Path) -> str:
    """Hash a file that must come out equal; of a data set's rows, all but the hashes of recipe and prompts.

    Later code computes those two over more keys and more templates, although the rows are the same.
    """
    if path.name != EXAMPLES:
        return hash_path(path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["provenance"] |= {"recipe_hash": "", "prompts_hash": ""}
    return digest(json.dumps(rows, sort_keys=True).encode())


def hash_records(kept: Collection[str], made: Collection[str], folder: Path) -> dict[str, str]:
    """Hash the records of the runs that are kept as they are, but not the runs inside them that are made."""
    paths = [path for name in kept for path in (folder / name).rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in paths}
    return {
        name: hash_path(path)
        for name, path in sorted(names.items())
        if not name.startswith(tuple(f"{step}/" for step in made))
    }


def list_outputs(step: Step, folder: Path) -> list[str]:
    """List the files that a finished step has made and that must be equal every time."""
    if step.kind == "table":
        # table2.md, its other forms, and the tables that stand below it; but not table21.md
        paths = [path for form in (".*", "_*") for path in folder.glob(f"{step.name}{form}")]
        return sorted(str(p.relative_to(folder)) for p in paths if p.is_file() and not p.name.endswith(MADE))
    names = OUTPUTS[step.kind]
    return [f"{step.name}/{name}" for name in names if (folder / step.name / name).is_file()]


# Not listed: manifests, logs, cards and notes of tables, which tell when, where and by which version of the code a
# run was made.
OUTPUTS = {
    "generate": ("trajectories.jsonl",),
    "dataset": ("examples.jsonl", "statistics.json"),
    "eval": ("results.json", "prbench.json", "answers.jsonl"),
}
