"""Write a finished data set in the formats of other trainers: for SFT, for DPO, and for RL with its reward.

python -m autodata.export DATASET [--as messages pairs prompts environment] [--reasoning] [--margin 0.0] [--name NAME]

messages     the prompt and the strong solver's best answer, for supervised fine-tuning
pairs        the strong solver's best answer over the weak solver's worst, for preference training
prompts      the prompt with its rubric, reference answer and scores, for reinforcement learning
environment  a Python package with all tasks and their reward, for verifiers, OpenEnv and TRL; only if it is asked for

The files are DATASET/export/<arm>_<split>.<format>.jsonl; `datasets.load_dataset("json", …)` reads them.
The package is in DATASET/export/environment; it needs nothing of this project.
The answers come from the runs that the data set was made of, so these have to be where they were, or inside it.
"""

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from keyword import iskeyword
from pathlib import Path

from autodata import command
from autodata.data.environment import write_environment
from autodata.data.examples import EXAMPLES, open_arm
from autodata.data.formats import Row, Task, make_task, write_messages, write_pair, write_prompt
from autodata.loop.domain import load
from autodata.run.folder import fresh_folder, require_finished
from autodata.run.records import RunError, read_records, write_file
from autodata.stats.writing import write_count
from autodata.types import EXAMPLE, Example

FORMATS = ("messages", "pairs", "prompts")
ENVIRONMENT = "environment"
Write = Callable[[Task], Row | None]


def export(dataset: Path, writers: dict[str, Write], package: str = "", domain: Path | None = None) -> list[str]:
    """Write every format of every arm and split, and the package if it has a name; return a line about each.

    `domain` is a user's folder whose code may be run. Raises RunError, RecipeError.
    """
    require_finished(str(dataset), "python -m autodata.dataset")
    examples = sorted(read_records(dataset / EXAMPLES, EXAMPLE), key=lambda e: (e.arm, e.split, e.provenance.run))
    lines, everything = [], []
    with fresh_folder(dataset, "export") as folder:
        for (arm, split), group in groupby(examples, key=lambda e: (e.arm, e.split)):
            tasks = _open_tasks(dataset, list(group), domain)
            lines += [_write_rows(folder / f"{arm}_{split}.{n}.jsonl", tasks, write) for n, write in writers.items()]
            everything += tasks if package else []
        if package:
            tasks_written, attempts = write_environment(folder / ENVIRONMENT, package, everything)
            counts = f"{write_count(tasks_written, 'task')}, {write_count(attempts, 'stored attempt')}"
            lines.append(f"{folder / ENVIRONMENT}: {counts}")
    return lines


def _write_rows(path: Path, tasks: Sequence[Task], write: Write) -> str:
    rows = [row for task in tasks if (row := write(task)) is not None]
    write_file(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    left_out = write_count(len(tasks) - len(rows), "example")
    return f"{path}: {write_count(len(rows), 'row')}; {left_out} without a fitting answer"


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
    parser.add_argument("--margin", type=float, default=0.0, help="scores of a pair differ by more; default 0")
    parser.add_argument(
        "--name", type=_read_name, default="autodata_tasks", help="of the package; default %(default)s"
    )
    parser.add_argument("--domain", type=Path, metavar="FOLDER", help="your own domain, whose code is run")
    return parser.parse_args()


def _read_name(text: str) -> str:
    """Read the name of a package. Raises ValueError for one that Python cannot import."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text) or iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a package: use small letters, digits and _")
    return text


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
