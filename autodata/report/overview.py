"""Counts what became of the documents and candidates of a generation run while they are read, and draws the counts."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

from autodata.loop.directing.recap import average
from autodata.loop.harness import FINAL_CHECK
from autodata.recipes.domain import Gate
from autodata.report.charts import Columns, Frame, Point, Scatter, Series, Step
from autodata.report.storyboard import style_of
from autodata.stats.writing import write_count
from autodata.types import End, Round, Trajectory

# In the order in which a round can meet them; also the order of colours.
VERDICTS = ("malformed", "low_quality", "too_easy", "no_signal", "too_hard", "small_gap", "cut_off", "improve",
            "unmeasured", "accepted")  # fmt: skip
_MAX_POINTS = 1_500  # maximum in one scatter plot; scores are rounded until there are no more
_ROUNDING = (0.001, 0.01, 0.02, 0.04)
Candidates = Counter[tuple[float, float, str]]  # by weak mean, strong mean and verdict
# The steps from proposal to acceptance, and whether a round reached them.
_STEPS: dict[str, Callable[[Round], bool]] = {
    "readable candidate": lambda round: round.candidate is not None,
    "passed the quality check": lambda round: round.quality is not None and round.quality.passed,
    "tried by the weak solver": lambda round: bool(round.weak),
    "tried by the strong solver": lambda round: bool(round.strong),
    "accepted by their scores": lambda round: (
        round.verdict.accepted is True or round.verdict.reason.startswith(FINAL_CHECK)
    ),
    "accepted": lambda round: round.verdict.accepted is True,  # by the final check too
}


@dataclass
class Overview:
    """The counts of a run."""

    documents: int = 0
    accepted: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    reached: Counter[str] = field(default_factory=Counter)  # documents with a round that reached a step
    steps: Counter[str] = field(default_factory=Counter)  # rounds that reached it
    verdicts: Counter[tuple[int, str]] = field(default_factory=Counter)  # by number and verdict of the round
    # Documents by their number of rounds; True for accepted ones.
    lengths: Counter[tuple[int, bool]] = field(default_factory=Counter)
    means: dict[str, Candidates] = field(default_factory=dict)  # by preset
    tokens: Counter[str] = field(default_factory=Counter)
    weak_only: int = 0  # measured rounds in which the strong solver did not run

    def add(self, trajectory: Trajectory) -> None:
        self.documents += 1
        self.accepted += trajectory.accepted is not None
        self.ends[trajectory.end] += 1
        self.tokens.update(trajectory.tokens)
        if trajectory.end is not End.SKIPPED or trajectory.rounds:
            self.lengths[len(trajectory.rounds), trajectory.accepted is not None] += 1
        steps = [self._add_round(round) for round in trajectory.rounds]
        self.reached.update({*chain.from_iterable(steps)})

    def _add_round(self, round: Round) -> list[str]:
        """Count a round and return the steps that it reached."""
        self.rounds += 1
        self.verdicts[round.number, style_of(round.verdict)] += 1
        reached = [name for name, is_reached in _STEPS.items() if is_reached(round)]
        self.steps.update(reached)
        weak, strong = average(round.weak), average(round.strong)
        self.weak_only += weak is not None and strong is None
        if weak is not None and strong is not None:
            for preset, verdict in round.presets.items():
                self.means.setdefault(preset, Candidates())[weak, strong, style_of(verdict)] += 1
        return reached

    # ── drawn ────────────────────────────────────────────────────────────────────────────────

    @property
    def funnels(self) -> dict[str, list[Step]]:
        """How many documents came how far from proposal to acceptance, and how many of their rounds."""
        counts = {"documents": (self.documents, self.reached), "rounds": (self.rounds, self.steps)}
        return {
            what: [
                Step(what, total, "muted"),
                *(Step(name, steps[name], "accepted" if name == "accepted" else "accent") for name in _STEPS),
            ]
            for what, (total, steps) in counts.items()
        }

    @property
    def by_round(self) -> Columns:
        """A chart of how the candidates of the first, second, … round ended."""
        numbers = list(range(1, max((number for number, _ in self.verdicts), default=0) + 1))
        seen = {verdict for _, verdict in self.verdicts}
        series = [Series(words(v), v, [self.verdicts[n, v] for n in numbers]) for v in VERDICTS if v in seen]
        desc = "Rounds by number and verdict: " + ", ".join(f"{s.name} {sum(s.values):,}" for s in series) + "."
        return Columns(Frame("Verdicts by round", desc, "round number", "rounds"), numbers, series)

    @property
    def by_length(self) -> Columns:
        """A chart of how many rounds documents took."""
        lengths = [rounds for rounds, _ in self.lengths]
        shortest, longest = min(lengths, default=0), max(lengths, default=0)
        labels = list(range(min(shortest, 1), longest + 1))
        sides = (("accepted", "accepted", True), ("not accepted", "muted", False))
        series = [Series(name, look, [self.lengths[n, side] for n in labels]) for name, look, side in sides]
        desc = f"Documents by the number of their rounds, from {shortest} to {longest}."
        return Columns(Frame("Rounds per document", desc, "rounds", "documents"), labels, series)

    def scatter(self, preset: str, gate: Gate) -> Scatter:
        """Draw every candidate that both solvers tried, with the verdict that `preset` gives it."""
        candidates = self.means.get(preset, Candidates())
        step, points = _thin(candidates)
        totals = {v: sum(count for (_, _, verdict), count in candidates.items() if verdict == v) for v in VERDICTS}
        legend = [(v, f"{words(v)} {total:,}") for v, total in totals.items() if total]
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


def words(name: str) -> str:
    """Return the name of a verdict, an end or a role as readers see it."""
    return {"unmeasured": "not measured", "cut_off": "cut off by the budget"}.get(name, name.replace("_", " "))


def find_region(gate: Gate) -> list[tuple[float, float]]:
    """Return the corners of the region that a gate accepts in the plane of both means; none if it bounds neither."""
    bounds = {name: bound for name, bound in vars(gate).items() if bound is not None}
    left = max(bounds.get("weak_mean_at_least", 0), bounds.get("weak_mean_above", 0))
    bottom, top = bounds.get("strong_mean_at_least", 0), bounds.get("strong_mean_below", 1)
    gap = bounds.get("gap_at_least", -1)
    right = min(bounds.get("weak_mean_at_most", 1), bounds.get("weak_mean_below", 1), top - gap)
    if left > right or (left, right, bottom, top) == (0, 1, 0, 1):
        return []
    bend = [(bottom - gap, bottom)] if left < bottom - gap < right else []
    corners = [(left, max(bottom, left + gap)), *bend, (right, max(bottom, right + gap)), (right, top), (left, top)]
    return [(round(x, 6), round(y, 6)) for x, y in corners]


def list_attempt_bounds(gate: Gate) -> dict[str, float]:
    """List the bounds of a gate that hold for every single attempt, which the plane of both means cannot show."""
    names = ("weak_max_at_most", "weak_min_above", "strong_min_above")
    return {name: value for name in names if (value := getattr(gate, name)) is not None}


def _thin(candidates: Candidates) -> tuple[float, Candidates]:
    """Round the scores until a page can draw all points. Return the rounding step and the points."""
    for step in _ROUNDING:
        points = Candidates()
        for (weak, strong, verdict), count in candidates.items():
            x, y = (round(round(score / step) * step, 6) for score in (weak, strong))
            points[x, y, verdict] += count
        if len(points) <= _MAX_POINTS:
            break
    return step, points
