"""Say which rows of a data set still separate the solvers, for another student or for the trained one.

python -m autodata.eval.run RECIPE dataset=DATASET 'sets=[agentic_train]' samples=5 …        # once for each model
python -m autodata.data.remeasure DATASET EVALUATION [EVALUATION …] [--group 8]

A row is in the band if its gate accepts it with the evaluated model in the place of the weak solver; the strong
solver's scores stay. An evaluation answers the training rows of one arm, each as often as the gate was made for. A row
has no verdict if an answer has no score, or if the strong solver was stopped early and its missing attempts could
change the verdict; the table says how many rows have one. What is measured goes to DATASET/remeasured.json, and the
data set's report draws it.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from autodata import command
from autodata.data.examples import EXAMPLES
from autodata.loop.acceptance import are_equal, decide_measured
from autodata.recipes.data import DatasetRecipe
from autodata.recipes.domain import Gate
from autodata.recipes.evaluation import EvalRecipe
from autodata.recipes.reading.kinds import COMMANDS
from autodata.run.folder import output_hash, require_finished
from autodata.run.records import RunError, iterate_records, read_json, read_records, write_file
from autodata.stats.intervals import SHARE, Estimate, estimate_mean
from autodata.stats.writing import make_table, write_estimate, write_number, write_percent
from autodata.types import EXAMPLE, Example, Outcome, WrongCall

REMEASURED = "remeasured.json"
_WIDTH = 160  # columns of the table in a file or a pipe
_GROUP = 8  # completions of GRPO for each prompt
_MAKE, _EVALUATE = COMMANDS[DatasetRecipe], COMMANDS[EvalRecipe]


@dataclass(frozen=True)
class Answer:
    """What is read of a line of an evaluation's answers.jsonl."""

    task: str
    example: str
    score: float | None
    outcome: Outcome
    tokens: int


_ANSWER = TypeAdapter(Answer)


@dataclass(frozen=True)
class Remeasured:
    """How many rows are still in the band for one model, and why the others are not."""

    label: str
    step: int | None  # step of the training that made the model; 0: untrained
    set: str  # the arm's training rows that were answered
    rows: int
    missing: int  # rows without a verdict
    in_band: Estimate | None  # share of the rows, with its interval over documents
    without_spread: float  # share of rows whose answers all score the same, so that GRPO learns nothing
    verdicts: dict[str, int]  # accepted or the failure → rows
    tokens: int  # for one pass over the rows in the band, with a group of completions each


_REMEASURED = TypeAdapter(list[Remeasured])
COLUMNS = ("model", "step", "rows", "in the band", "no spread", "others", "tokens of a pass")


def remeasure(examples: Sequence[Example], answers: Iterable[Answer], group: int = _GROUP) -> dict[str, Any]:
    """Judge the rows anew by a model's answers to them. Raises RunError if no row has a verdict."""
    by_row: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.score is not None:
            by_row[answer.example].append(answer)
    scored = [(e, by_row[e.id]) for e in examples if len(by_row[e.id]) == e.evidence.weak_planned]
    if not scored:
        raise RunError("no row has a score for each of its answers; repair what failed and evaluate again")
    verdicts = {e.id: verdict for e, given in scored if (verdict := judge(e, given))}
    rows = [(e, given) for e, given in scored if e.id in verdicts]
    if not rows:
        raise RunError("no row has a verdict: early_stop left out attempts of the strong solver that could change it")
    kept = [(e, given) for e, given in rows if verdicts[e.id] == "accepted"]
    return {
        "rows": len(rows),
        "missing": len(examples) - len(rows),
        "in_band": estimate_mean(((e.document_id, float(verdicts[e.id] == "accepted")) for e, _ in rows), SHARE),
        "without_spread": sum(are_equal(_exact(a.score for a in given)) for _, given in rows) / len(rows),
        "verdicts": dict(Counter(verdicts.values()).most_common()),
        "tokens": round(sum(group * fmean(answer.tokens for answer in given) for _, given in kept)),
    }


def judge(example: Example, answers: Sequence[Answer]) -> str | None:
    """Return `accepted`, or why the gate in force would reject a row with these answers as the weak attempts.

    None if attempts that the strong solver was spared, because of the earlier weak ones, could decide it now.
    """
    bounds = example.evidence.gates.get(example.evidence.preset)
    if bounds is None:
        raise RunError(f"{example.id}: the row does not say by which gate it was accepted; make the data set again")
    gate = Gate(**{"finished_at_least": None, **bounds})
    weak, strong = _exact(a.score for a in answers), _exact(example.strong_scores)
    planned = len(weak), example.evidence.strong_planned
    cut_off = [a.outcome for a in answers], example.evidence.strong_outcomes
    counts = tuple(outcomes.count(Outcome.CUT_OFF) for outcomes in cut_off)
    verdict = decide_measured(weak, strong, planned, gate, counts)
    return "accepted" if verdict.accepted else verdict.failure and str(verdict.failure)


def _exact(scores: Iterable[float | None]) -> list[Fraction]:
    """Undo the rounding of stored scores: they are fractions of small numbers of points."""
    return [Fraction(score).limit_denominator(10_000) for score in scores if score is not None]


def read_model(evaluation: Path, dataset: Path, examples: Sequence[Example], group: int) -> Remeasured:
    """Remeasure training rows for the model of one evaluation. Raises RunError if it answered anything else."""
    manifest = require_finished(str(evaluation), _EVALUATE)
    if manifest["inputs"].get("dataset") != output_hash(str(dataset), _MAKE):
        raise RunError(f"{evaluation}: made from another data set than {dataset} is now; evaluate again on this one")
    answers = list(iterate_records(evaluation / "answers.jsonl", _ANSWER))
    name, rows = _find_rows(evaluation, examples, {answer.task for answer in answers})
    planned, samples = max(e.evidence.weak_planned for e in rows), manifest["inputs"].get("samples")
    if samples != planned:
        reason = f"{samples} answers to each row, but its gate judges {planned}"
        raise RunError(f"{evaluation}: {reason}; evaluate with samples={planned}")
    try:
        measured = remeasure(rows, (a for a in answers if a.task == name), group)
    except RunError as error:
        raise RunError(f"{evaluation}: {error}") from error
    return Remeasured(str(manifest.get("label", evaluation.name)), _find_step(manifest), name, **measured)


def _find_rows(evaluation: Path, examples: Sequence[Example], answered: Set[str]) -> tuple[str, list[Example]]:
    """Find the one set of training rows that was answered. Raises RunError if there is none, or more than one."""
    sets = {f"{e.arm}_train" for e in examples if e.split == "train"}
    if len(found := sorted(sets & answered)) != 1:
        what = " and ".join(found) or f"no training rows, only {' and '.join(sorted(answered)) or 'nothing'}"
        raise RunError(f"{evaluation}: answers {what}; evaluate one set, as sets=[{min(sets, default='ARM_train')}]")
    return found[0], [e for e in examples if e.split == "train" and f"{e.arm}_train" == found[0]]


def _find_step(manifest: Mapping[str, Any]) -> int | None:
    """Return the step of the evaluated model; 0 if no training here made it."""
    return (manifest.get("evaluated") or {}).get("step") or 0


def write_cells(model: Remeasured) -> list[str]:
    """Write a model's row of the table, whose head is COLUMNS."""
    others = ", ".join(f"{name} {count:,}" for name, count in model.verdicts.items() if name != "accepted")
    rows = write_number(model.rows) + (f" of {model.rows + model.missing:,}" if model.missing else "")
    counts = [write_number(model.step), rows, write_estimate(model.in_band)]
    return [model.label, *counts, write_percent(model.without_spread), others, write_number(model.tokens)]


def read_remeasured(dataset: Path) -> list[Remeasured]:
    """Read what was measured for a data set; nothing if nothing was. Raises RunError if the file is damaged."""
    try:
        return _REMEASURED.validate_python(read_json(dataset / REMEASURED) or [])
    except ValidationError as error:
        raise RunError(f"{dataset / REMEASURED}: damaged; run python -m autodata.data.remeasure again") from error


@command.report_errors()
def main() -> None:
    options = _read_arguments()
    require_finished(str(options.dataset), _MAKE)
    examples = read_records(options.dataset / EXAMPLES, EXAMPLE)
    models = [read_model(run, options.dataset, examples, options.group) for run in options.evaluations]
    if len(sets := sorted({model.set for model in models})) > 1:
        raise WrongCall(f"evaluations of {' and of '.join(sets)}: name those of one set of rows at a time")
    write_file(options.dataset / REMEASURED, json.dumps([asdict(model) for model in models], indent=2) + "\n")
    table = make_table(*COLUMNS)
    for model in models:
        table.add_row(*write_cells(model))
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)
    for model in (model for model in models if model.missing):
        why = "not all their answers have a score, or early_stop left out strong attempts that could change it"
        print(f"{model.label}: {model.missing:,} rows have no verdict: {why}")
    print(f"{options.dataset / REMEASURED}; `python -m autodata.report {options.dataset}` draws it")


def _read_arguments() -> argparse.Namespace:
    parser = command.make_parser(__doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a finished run of autodata.dataset")
    runs_help = "finished runs of autodata.eval.run whose sets are rows of the data set, as sets=[agentic_train]"
    parser.add_argument("evaluations", type=Path, nargs="+", metavar="EVALUATION", help=runs_help)
    parser.add_argument("--group", type=int, default=_GROUP, help="completions for each prompt; default %(default)s")
    options = parser.parse_args()
    if options.group < 2:
        raise WrongCall(f"--group {options.group}: a group has at least two completions")
    return options


if __name__ == "__main__":
    main()
