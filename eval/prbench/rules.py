"""Computes PRBench's scores from graded criteria, as scaleapi/PRBench does (its evals.py; arXiv 2511.11562)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from autodata.eval.statistics import mean_of_known
from autodata.types import Message

CLASSES = ("critically important", "important", "slightly important", "slightly detrimental", "detrimental",
           "critically detrimental")  # fmt: skip


class BadRubric(ValueError):
    """A criterion or a task cannot be used, for example for lack of a weight; the message names it."""


@dataclass(frozen=True)
class PrbenchCriterion:
    """One criterion: the title that the grader sees, and its weight."""

    id: str
    title: str
    weight: float
    weight_class: str
    category: str


Graded = tuple[Sequence[PrbenchCriterion], Sequence[bool | None]]  # criteria and whether each is met


@dataclass(frozen=True)
class TaskScore:
    """The points of one answer. `low` and `high` bound `clipped` if grades are missing."""

    points: float  # sum of the weights of criteria that are met
    positive: float  # sum of the positive weights
    negative: float  # sum of the negative weights, at most 0
    low: float | None  # None without a positive weight: nothing to divide by
    high: float | None
    unresolved: int

    @property
    def clipped(self) -> float | None:
        """The points divided by the positive weights. It can be negative, although PRBench calls it clipped."""
        return self.points / self.positive if self.positive and not self.unresolved else None

    @property
    def normalized(self) -> float | None:
        """The points on a scale from 0 (only negative criteria are met) to 1 (only positive ones are met)."""
        span = self.positive - self.negative
        return (self.points - self.negative) / span if span and not self.unresolved else None


def read_criterion(row: Mapping[str, Any]) -> PrbenchCriterion:
    """Read a criterion of the data set. Raises BadRubric.

    The weight is in the field that `weight_class` names; the other five fields can hold left-over numbers.
    """
    notes = row.get("annotations") or {}
    name, title = str(notes.get("weight_class") or "").strip().lower(), row.get("title")
    if name not in CLASSES:
        raise BadRubric(f"criterion {row.get('id')}: weight_class {notes.get('weight_class')!r}")
    if not isinstance(title, str) or not title.strip():
        raise BadRubric(f"criterion {row.get('id')}: no title, which is what the grader is shown")
    try:
        weight = float(notes[f"{name.replace(' ', '_')}_weight"])
    except (KeyError, TypeError, ValueError):
        raise BadRubric(f"criterion {row.get('id')}: no weight for {name}") from None
    return PrbenchCriterion(str(row.get("id")), title, weight, name, str(notes.get("criteria_category") or "unknown"))


def score_task(criteria: Sequence[PrbenchCriterion], met: Sequence[bool | None]) -> TaskScore:
    """Add up the points of one answer. A grade of None is unresolved, neither met nor unmet."""
    pairs = list(zip(criteria, met, strict=True))
    points = sum(c.weight for c, is_met in pairs if is_met)
    positive, negative = (sum(c.weight for c in criteria if sign * c.weight > 0) for sign in (1, -1))
    open_weights = [c.weight for c, is_met in pairs if is_met is None]
    low, high = (points + sum(w for w in open_weights if sign * w > 0) for sign in (-1, 1))
    bounds = (low / positive, high / positive) if positive else (None, None)
    return TaskScore(points, positive, negative, *bounds, len(open_weights))


def summarize(scores: Sequence[TaskScore]) -> dict[str, float | None]:
    """Compute the numbers that PRBench reports. Tasks with unresolved grades count in the bounds low and high only."""
    clipped = [s.clipped for s in scores if s.clipped is not None]
    return {
        "tasks": len(scores),
        "scored": len(clipped),
        "mean_clipped": _floor(mean_of_known(clipped)),  # the headline: clipped at 0 after the mean
        "mean_normalized": mean_of_known([s.normalized for s in scores]),
        # Each task is floored at 0 before the mean: a sensitivity check, not what PRBench reports.
        "mean_floored": mean_of_known([max(0.0, value) for value in clipped]),
        "low": _floor(mean_of_known([s.low for s in scores])),  # if every unresolved grade hurt as much as it can
        "high": _floor(mean_of_known([s.high for s in scores])),
        "unresolved": sum(s.unresolved for s in scores),
    }


def rates_by(graded: Sequence[Graded], field: str) -> dict[str, tuple[float, int]]:
    """Compute the share of met criteria and how many were graded, by `category` or by `weight_class`."""
    pairs = ((getattr(c, field), is_met) for criteria, met in graded for c, is_met in zip(criteria, met, strict=True))
    grades = group_values((name, is_met) for name, is_met in pairs if is_met is not None)
    return {name: (sum(values) / len(values), len(values)) for name, values in grades.items()}


def group_values(pairs: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    """Group values by name, sorted by name."""
    first = itemgetter(0)
    return {name: [value for _, value in group] for name, group in groupby(sorted(pairs, key=first), key=first)}


def read_conversation(row: Mapping[str, Any]) -> list[Message]:
    """Read the turns up to the one to answer, each user turn after its own reference texts. Raises BadRubric."""
    turns = int(row["turns"])
    messages = []
    for turn in range(turns):
        prompt, texts = row.get(f"prompt_{turn}"), row.get(f"reference_texts_{turn}")
        if not isinstance(prompt, str):
            raise BadRubric(f"task {row.get('task')}: {turns} turns, and no prompt_{turn}")
        references = "".join(f"Reference Text {i}:\n{text}\n\n" for i, text in enumerate(texts or []))
        messages.append(Message("user", references + prompt))
        if turn < turns - 1:
            messages.append(Message("assistant", str(row.get(f"response_{turn}") or "")))
    return messages


def _floor(value: float | None) -> float | None:
    return None if value is None else max(0.0, value)
