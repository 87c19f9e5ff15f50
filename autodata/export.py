"""Write a finished data set in the formats of other trainers: for SFT, for DPO, and for RL with its reward.

python -m autodata.export DATASET [--as messages pairs prompts environment] [--reasoning] [--margin 0.0] [--name NAME]

messages     the prompt and the strong solver's best answer, for supervised fine-tuning
pairs        the strong solver's best answer over the weak solver's worst, for preference training
prompts      the prompt with its rubric, reference answer and scores, for reinforcement learning
environment  a Python package with all tasks and their reward, for verifiers, OpenEnv and TRL; only if it is asked for

The files are DATASET/export/rows/<arm>_<split>.<format>.jsonl; `datasets.load_dataset("json", …)` reads them.
The package is in DATASET/export/environment; it needs nothing of this project.
Each of the two folders is replaced when all of it is written, and stays if only the other one is asked for.
The answers come from the runs that the data set was made of, so these have to be where they were, or inside it.
"""

import argparse
import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import groupby
from keyword import iskeyword
from pathlib import Path

from autodata import command
from autodata.data.environment import write_environment
from autodata.data.examples import EXAMPLES, open_arm
from autodata.data.formats import Row, Task, make_task, write_messages, write_pair, write_prompt
from autodata.loop.domain import load
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import require_finished
from autodata.run.locks import fresh_folder
from autodata.run.records import RunError, read_records, write_file
from autodata.stats.writing import write_count
from autodata.types import EXAMPLE, Example

# Packages that use the exported one or that it uses, which it would hide; they need not be installed here.
NEEDED = {"datasets", "fastapi", "openenv", "pydantic", "torch", "transformers", "trl", "uvicorn", "verifiers"}
FORMATS = ("messages", "pairs", "prompts")
ROWS, ENVIRONMENT = "rows", "environment"  # the folders below DATASET/export
Write = Callable[[Task], Row | None]


def export(dataset: Path, writers: dict[str, Write], package: str = "", domain: Path | None = None) -> list[str]:
    """Write every format of every arm and split, and the package if it has a name; return a line about each.

    `domain` is a user's folder whose code may be run. Raises RunError, RecipeError.
    """
    require_finished(str(dataset), COMMANDS[DatasetRecipe])
    examples = sorted(read_records(dataset / EXAMPLES, EXAMPLE), key=lambda e: (e.arm, e.split, e.provenance.run))
    if not examples:
        raise RunError(f"{dataset}: the data set has no example, so there is nothing to export")
    lines, everything = [], []
    with fresh_folder(dataset, "export.new") as folder:
        for (arm, split), group in groupby(examples, key=lambda e: (e.arm, e.split)):
            tasks = _open_tasks(dataset, list(group), domain)
            lines += [_write_rows(folder, f"{arm}_{split}.{name}.jsonl", tasks, w) for name, w in writers.items()]
            everything += tasks if package else []
        if package:
            tasks_written, attempts = write_environment(folder / ENVIRONMENT, package, everything)
            counts = f"{write_count(tasks_written, 'task')}, {write_count(attempts, 'stored attempt')}"
            lines.append(f"{ENVIRONMENT}: {counts}")
        _replace_folders(folder, dataset / "export")
    return [f"{dataset}/export/{line}" for line in lines]


def _write_rows(folder: Path, name: str, tasks: Sequence[Task], write: Write) -> str:
    rows = [row for task in tasks if (row := write(task)) is not None]
    (folder / ROWS).mkdir(exist_ok=True)
    write_file(folder / ROWS / name, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    left_out = write_count(len(tasks) - len(rows), "example")
    return f"{ROWS}/{name}: {write_count(len(rows), 'row')}; {left_out} without a fitting answer"


def _replace_folders(new: Path, target: Path) -> None:
    """Put each new folder in the place of the old one of its name. Raises RunError for a link."""
    target.mkdir(exist_ok=True)
    for folder in sorted(new.iterdir()):
        old = target / folder.name
        if target.is_symlink() or old.is_symlink():
            raise RunError(f"{old}: this is a link, not a folder; remove it")
        if old.exists():
            old.rename(new / f"{old.name}.old")
        folder.rename(old)
    shutil.rmtree(new)


def _open_tasks(dataset: Path, examples: Sequence[Example], own: Path | None) -> list[Task]:
    """Read the rounds of one arm's examples. Raises RunError if one is missing."""
    tasks: list[Task] = []
    for run, group in groupby(examples, key=lambda e: e.provenance.run):
        arm = open_arm(dataset, examples[0].arm, run)
        domain = load(replace(arm.domain, path=str(own), run_code=True) if own else arm.domain, None)
        rounds = {(t.document_id, r.number): r for t in arm.trajectories for r in t.rounds}
        for example in group:
            if (round := rounds.get((example.document_id, example.round))) is None:
                raise RunError(f"{run}: no round {example.round} of {example.document_id}; was the run made again?")
            tasks.append(make_task(example, round, domain))
    return tasks


def _read_arguments() -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a finished run of autodata.dataset")
    parser.add_argument(
        "--as",
        dest="formats",
        nargs="+",
        choices=(*FORMATS, ENVIRONMENT),
        default=FORMATS,
        help="the files if not given",
    )
    parser.add_argument("--reasoning", action="store_true", help="add the solvers' reasoning, as reasoning_content")
    parser.add_argument("--margin", type=_read_margin, default=0.0, help="scores of a pair differ by more; default 0")
    parser.add_argument(
        "--name", type=_read_name, default="autodata_tasks", help="of the package; default %(default)s"
    )
    parser.add_argument("--domain", type=Path, metavar="FOLDER", help="your own domain, whose code is run")
    return parser.parse_args()


def _read_margin(text: str) -> float:
    """Read a difference of scores. Raises ArgumentTypeError for one that lets a worse answer be chosen."""
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if not (math.isfinite(margin) and margin >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no difference of scores: use a number from 0")
    return margin


def _read_name(text: str) -> str:
    """Read the name of a package. Raises ArgumentTypeError for one that Python cannot import, or imports already."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a package: use small letters, digits and _")
    if text in NEEDED or text in sys.stdlib_module_names or _is_installed(text):
        raise argparse.ArgumentTypeError(f"{text!r} is the name of another package of Python: use one of your own")
    return text


def _is_installed(name: str) -> bool:
    """Find a package of this name that no export has made; a mere folder hides no package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return False
    return not any((Path(place) / "attempts.jsonl").exists() for place in spec.submodule_search_locations or [])


@command.report_errors()
def main() -> None:
    options = _read_arguments()
    writers: dict[str, Write] = {
        "messages": partial(write_messages, with_reasoning=options.reasoning),
        "pairs": partial(write_pair, with_reasoning=options.reasoning, margin=options.margin),
        "prompts": write_prompt,
    }
    chosen = {name: write for name, write in writers.items() if name in options.formats}
    package = options.name if ENVIRONMENT in options.formats else ""
    for line in export(options.dataset, chosen, package, options.domain):
        print(line)


if __name__ == "__main__":
    main()
