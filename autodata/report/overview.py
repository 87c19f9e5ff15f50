"""Counts what became of the documents and candidates of a generation run while they are read, and draws the counts."""

from collections import Counter
from dataclasses import dataclass, field

from autodata.loop.recap import average
from autodata.recipes.domain import Gate
from autodata.report.charts import Columns, Frame, Point, Scatter, Series, Step
from autodata.report.storyboard import style, style_of
from autodata.stats.writing import write_count
from autodata.types import End, Round, Trajectory

# In the order in which a round can meet them; also the order of colours.
VERDICTS = ("malformed", "low_quality", "too_easy", "no_signal", "too_hard", "small_gap", "cut_off", "improve",
            "unmeasured", "accepted")  # fmt: skip
_MAX_POINTS = 1_500  # maximum in one scatter plot; scores are rounded until there are no more
_ROUNDING = (0.001, 0.01, 0.02, 0.04)


@dataclass
class Overview:
    """The counts of a run."""

    documents: int = 0
    accepted: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[int, str]] = field(default_factory=Counter)  # by number and verdict of the round
    # Documents by their number of rounds; True for accepted ones.
    lengths: Counter[tuple[int, bool]] = field(default_factory=Counter)
    # For each preset, candidates by weak mean, strong mean and verdict.
    means: dict[str, Counter[tuple[float, float, str]]] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    weak_only: int = 0  # measured rounds in which the strong solver did not run

    def add(self, trajectory: Trajectory) -> None:
        self.documents += 1
        self.accepted += trajectory.accepted is not None
        self.ends[trajectory.end] += 1
        self.tokens.update(trajectory.tokens)
        if trajectory.end is not End.SKIPPED or trajectory.rounds:
            self.lengths[len(trajectory.rounds), trajectory.accepted is not None] += 1
        for round in trajectory.rounds:
            self._add_round(round)

    def _add_round(self, round: Round) -> None:
        self.verdicts[round.number, style(round)] += 1
        reached = {
            "rounds": True,
            "candidates": round.candidate is not None,
            "sound": round.quality is not None and round.quality.passed,
            "weak": bool(round.weak),
            "strong": bool(round.strong),
            "accepted": round.verdict.accepted is True,
        }
        self.steps.update(name for name, is_reached in reached.items() if is_reached)
        weak, strong = average(round.weak), average(round.strong)
        self.weak_only += weak is not None and strong is None
        if weak is not None and strong is not None:
            for preset, verdict in round.presets.items():
                self.means.setdefault(preset, Counter())[weak, strong, style_of(verdict)] += 1

    # ── drawn ────────────────────────────────────────────────────────────────────────────────

    @property
    def funnel(self) -> list[Step]:
        """The number of candidates at each step from proposal to acceptance."""
        names = {"rounds": "rounds", "candidates": "readable candidates", "sound": "passed the quality check",
                 "weak": "tried by the weak solver", "strong": "tried by the strong solver",
                 "accepted": "accepted"}  # fmt: skip
        steps = [
            Step(text, self.steps[name], "accepted" if name == "accepted" else "accent")
            for name, text in names.items()
        ]
        return [Step("documents", self.documents, "muted"), *steps]

    @property
    def by_round(self) -> Columns:
        """A chart of how the candidates of the first, second, … round ended."""
        numbers = list(range(1, max((number for number, _ in self.verdicts), default=0) + 1))
        series = [Series(words(v), v, [self.verdicts[number, v] for number in numbers]) for v in self._seen]
        desc = "Rounds by number and verdict: " + ", ".join(f"{s.name} {sum(s.values):,}" for s in series) + "."
        return Columns(Frame("Verdicts by round", desc, "round number", "rounds"), numbers, series)

    @property
    def by_length(self) -> Columns:
        """A chart of how many rounds documents took."""
        longest = max((rounds for rounds, _ in self.lengths), default=0)
        shortest = min((rounds for rounds, _ in self.lengths), default=0)
        labels = list(range(min(shortest, 1), longest + 1))
        sides = (("accepted", "accepted", True), ("not accepted", "muted", False))
        series = [Series(name, look, [self.lengths[n, side] for n in labels]) for name, look, side in sides]
        frame = Frame(
            "Rounds per document",
            f"Documents by the number of their rounds, from {shortest} to {longest}.",
            "rounds",
            "documents",
        )
        return Columns(frame, labels, series)

    def scatter(self, preset: str, gate: Gate) -> Scatter:
        """Draw every candidate that both solvers tried, with the verdict that `preset` gives it."""
        candidates = self.means.get(preset, Counter())
        step, points = _thin(candidates)
        totals = Counter[str]()
        for (_, _, verdict), count in candidates.items():
            totals[verdict] += count
        legend = [(v, f"{words(v)} {totals[v]:,}") for v in VERDICTS if totals[v]]
        desc = (
            f"{write_count(candidates.total(), 'candidate')} by the mean score of the weak and of the strong solver, "
            f"verdict under {preset}. Scores are rounded to {step:g}; a point's area shows its number of candidates."
        )
        frame = Frame(f"Weak and strong solver, verdict under {preset}", desc, "weak mean", "strong mean")
        by_count = sorted(points.items(), key=lambda point: -point[1])
        rows = [[weak, strong, words(verdict), count] for (weak, strong, verdict), count in by_count]
        drawn = [
            Point(weak, strong, verdict, f"weak {weak:g}, strong {strong:g}: {words(verdict)}, {count:,}", count)
            for (weak, strong, verdict), count in points.items()
        ]
        head = ["weak mean", "strong mean", "verdict", "candidates"]
        return Scatter(frame, drawn, find_region(gate), legend, (head, rows[:_MAX_POINTS]))

    @property
    def _seen(self) -> list[str]:
        return [v for v in VERDICTS if any(verdict == v for _, verdict in self.verdicts)]


def words(name: str) -> str:
    """Return the name of a verdict, an end or a role as readers see it."""
    return {"unmeasured": "not measured", "cut_off": "cut off by the budget"}.get(name, name.replace("_", " "))


def find_region(gate: Gate) -> list[tuple[float, float]]:
    """Return the corners of the region that a gate accepts in the plane of both means; none if it bounds neither.

    Bounds on single attempts cannot be drawn in that plane: `list_attempt_bounds` names them.
    """
    left = max(gate.weak_mean_at_least or 0, gate.weak_mean_above or 0)
    right = min(_default(gate.weak_mean_at_most, 1), _default(gate.weak_mean_below, 1))
    bottom, top = gate.strong_mean_at_least or 0, _default(gate.strong_mean_below, 1)
    gap = _default(gate.gap_at_least, -1)
    right = min(right, top - gap)
    if left > right or (left, right, bottom, top) == (0, 1, 0, 1):
        return []
    bend = [(bottom - gap, bottom)] if left < bottom - gap < right else []
    corners = [(left, max(bottom, left + gap)), *bend, (right, max(bottom, right + gap)), (right, top), (left, top)]
    return [(round(x, 6), round(y, 6)) for x, y in corners]


def list_attempt_bounds(gate: Gate) -> dict[str, float]:
    """List the bounds of a gate that hold for every single attempt."""
    names = ("weak_max_at_most", "weak_min_above", "strong_min_above")
    return {name: value for name in names if (value := getattr(gate, name)) is not None}


def _default(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _thin(candidates: Counter[tuple[float, float, str]]) -> tuple[float, Counter[tuple[float, float, str]]]:
    """Round the scores until a page can draw all points. Return the rounding step and the points."""
    for step in _ROUNDING:
        points = Counter[tuple[float, float, str]]()
        for (weak, strong, verdict), count in candidates.items():
            points[_snap(weak, step), _snap(strong, step), verdict] += count
        if len(points) <= _MAX_POINTS:
            break
    return step, points


def _snap(score: float, step: float) -> float:
    return round(round(score / step) * step, 6)
