"""Keeps the numbers of a study as three CSV files: every score, the curves of the trainings, and the costs."""

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TypeVar

from autodata.run.records import NoSuchRun, RunError, write_lines

SCORES, CURVES, COSTS = "scores", "curves", "costs"
UNTRAINED = "untrained"  # the arm without training, which has no seed
_LARGEST = 1_000_000  # bytes of a CSV file that is not compressed
_TOKENS = "tokens_"  # begins the name of a column that holds the tokens of one role
R = TypeVar("R")


@dataclass(frozen=True)
class Score:
    """The score of one question by the model of one arm and seed, averaged over its samples."""

    seed: int | None  # None for the untrained model
    arm: str
    document: str
    question: str
    skill: str
    difficulty: str
    samples: int  # how many answers have a score
    score: float | None  # None if none has


@dataclass(frozen=True)
class CurvePoint:
    """The accuracy on the watched questions after some steps of one training."""

    seed: int
    arm: str
    step: int
    accuracy: float
    n: int | None  # how many questions were watched; None in trainings that did not record it


@dataclass(frozen=True)
class Cost:
    """What one arm of one seed cost; None if its run is missing or did not record it."""

    seed: int
    arm: str
    examples: int | None  # how many it was trained on
    tokens: int | None  # tokens read and written to make the data, by all roles
    training_seconds: float | None  # steps only, without the evaluations between them
    equal_groups: float | None  # share of the groups whose completions all had the same reward: they teach nothing
    by_role: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyRows:
    """All numbers of a study."""

    scores: list[Score]
    curves: list[CurvePoint]
    costs: list[Cost]


def write_rows(rows: StudyRows, folder: Path) -> None:
    """Write the three CSV files, sorted, so that equal numbers give equal files."""
    _write_csv(folder / SCORES, [f.name for f in fields(Score)], [asdict(row) for row in rows.scores])
    _write_csv(folder / CURVES, [f.name for f in fields(CurvePoint)], [asdict(row) for row in rows.curves])
    roles = sorted({role for cost in rows.costs for role in cost.by_role})
    header = [
        "seed",
        "arm",
        "examples",
        *(_TOKENS + role for role in roles),
        "tokens",
        "training_seconds",
        "equal_groups",
    ]
    lines = [asdict(cost) | {_TOKENS + role: n for role, n in cost.by_role.items()} for cost in rows.costs]
    _write_csv(folder / COSTS, header, lines)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[dict[str, object]]) -> None:
    """Write <path>.csv, or <path>.csv.gz if it is large, and remove the other form. Raises RunError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, header, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(({k: _write_cell(row.get(k)) for k in header} for row in rows), key=_find_place))
    data = text.getvalue().encode()
    plain, packed = path.with_suffix(".csv"), path.with_suffix(".csv.gz")
    target, other = (packed, plain) if len(data) > _LARGEST else (plain, packed)
    write_lines(target, [gzip.compress(data, mtime=0) if target == packed else data])
    other.unlink(missing_ok=True)


def _write_cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _find_place(row: dict[str, str]) -> tuple[object, ...]:
    """Sort by seed, the untrained model first, then by arm, and then by step or by document and question."""
    rest = (row.get("document", ""), row.get("question", ""))
    return int(row["seed"] or -1), row["arm"], int(row.get("step") or 0), *rest


def read_rows(folder: Path) -> StudyRows:
    """Read the three CSV files. Raises NoSuchRun if there is no file of scores, RunError if a file is damaged."""
    if not _find_csv(folder / SCORES).exists():
        raise NoSuchRun(f"{folder}: no {SCORES}.csv; make it with python -m autodata.eval.study RECIPE")
    return StudyRows(
        _read_csv(folder / SCORES, _read_score),
        _read_csv(folder / CURVES, _read_point),
        _read_csv(folder / COSTS, _read_cost),
    )


def join_rows(folders: Iterable[str]) -> StudyRows:
    """Read the CSV files of several folders with different seeds. Raises RunError if a run is in two of them."""
    joined, found = StudyRows([], [], []), dict[tuple[int | None, str], str]()
    for folder in folders:
        rows = read_rows(Path(folder))
        runs = {(score.seed, score.arm) for score in rows.scores}
        for seed, arm in sorted(runs - {(None, UNTRAINED)}):
            if (first := found.setdefault((seed, arm), folder)) != folder:
                raise RunError(f"{folder}: has scores of {arm}, seed {seed}, like {first}; leave one of them out")
        _check_untrained(joined, rows, folder)
        known = {(score.seed, score.arm) for score in joined.scores}
        joined.scores.extend(score for score in rows.scores if (score.seed, score.arm) not in known)
        joined.curves.extend(rows.curves)
        joined.costs.extend(rows.costs)
    return joined


def _check_untrained(joined: StudyRows, rows: StudyRows, folder: str) -> None:
    """Raise RunError if two folders have other questions, or other answers of the untrained model to them."""
    first, second = ([s for s in part.scores if s.seed is None] for part in (joined, rows))
    if first and second and first != second:
        raise RunError(f"{folder}: the untrained model has other scores than in the folders before it")


def _read_score(row: dict[str, str]) -> Score:
    names = (row[name] for name in ("arm", "document", "question", "skill", "difficulty"))
    return Score(_whole(row["seed"]), *names, int(row["samples"]), _number(row["score"]))


def _read_point(row: dict[str, str]) -> CurvePoint:
    return CurvePoint(int(row["seed"]), row["arm"], int(row["step"]), float(row["accuracy"]), _whole(row["n"]))


def _read_cost(row: dict[str, str]) -> Cost:
    by_role = {name.removeprefix(_TOKENS): int(n) for name, n in row.items() if name.startswith(_TOKENS) and n}
    whole = (_whole(row["examples"]), _whole(row["tokens"]))
    return Cost(
        int(row["seed"]), row["arm"], *whole, _number(row["training_seconds"]), _number(row["equal_groups"]), by_role
    )


def _read_csv(path: Path, read: Callable[[dict[str, str]], R]) -> list[R]:
    """Read the rows of <path>.csv or <path>.csv.gz; none if there is neither. Raises RunError."""
    file = _find_csv(path)
    if not file.exists():
        return []
    try:
        data = file.read_bytes()
        text = (gzip.decompress(data) if file.suffix == ".gz" else data).decode()
        return [read(row) for row in csv.DictReader(io.StringIO(text))]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: damaged ({type(error).__name__}: {error}); restore it") from error


def _find_csv(path: Path) -> Path:
    """Return <path>.csv.gz if it exists, or else <path>.csv."""
    packed = path.with_suffix(".csv.gz")
    return packed if packed.exists() else path.with_suffix(".csv")


def _whole(cell: str) -> int | None:
    return int(cell) if cell else None


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
