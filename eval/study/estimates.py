"""Estimates the accuracy of every arm of a study, by skill too, and the paired differences between arms."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from autodata.eval.study.rows import UNTRAINED, Score
from autodata.stats.crossed import CrossedEstimate, estimate_crossed
from autodata.stats.intervals import DIFFERENCE, SHARE

Values = list[tuple[str, str, float]]  # (seed, document, value)


@dataclass(frozen=True)
class Study:
    """The scores of a study. An arm of `arms` may lack seeds; the untrained model is not among them."""

    scores: Sequence[Score]
    arms: Sequence[str]
    planned: Sequence[int]  # the recipe's seeds

    @cached_property
    def by_run(self) -> dict[tuple[str, int | None], dict[str, Score]]:
        """The scored questions of every arm and seed, by their ids."""
        runs: dict[tuple[str, int | None], dict[str, Score]] = defaultdict(dict)
        for score in self.scores:
            if score.score is not None:
                runs[score.arm, score.seed][score.question] = score
        return runs

    @property
    def measured(self) -> list[str]:
        """The arms that have at least one run."""
        return [arm for arm in self.arms if any((arm, seed) in self.by_run for seed in self.planned)]

    @property
    def seeds(self) -> list[int]:
        """The seeds that every measured arm has; only these count, so that all arms are compared on equal terms."""
        return [s for s in self.planned if self.measured and all((arm, s) in self.by_run for arm in self.measured)]

    def list_missing(self, arm: str) -> list[int]:
        """List the seeds that an arm lacks."""
        return [seed for seed in self.planned if (arm, seed) not in self.by_run]

    def find_run(self, arm: str, seed: int | None) -> dict[str, Score]:
        """Return the questions of one run, empty if it is missing. The untrained model is the same for all seeds."""
        return self.by_run.get((arm, None if arm == UNTRAINED else seed), {})

    def list_values(self, arm: str) -> Values:
        """List the scores of an arm."""
        seeds = [None] if arm == UNTRAINED else self.seeds
        return [(str(seed), s.document, s.score) for seed in seeds for s in self.find_run(arm, seed).values()]

    def list_changes(self, before: str, after: str) -> Values:
        """List the differences of two arms, paired by seed and question."""
        changes = []
        for seed in self.seeds:
            first, second = self.find_run(before, seed), self.find_run(after, seed)
            common = sorted(first.keys() & second.keys())
            changes += [(str(seed), first[q].document, second[q].score - first[q].score) for q in common]
        return changes


def estimate_accuracy(study: Study, arm: str) -> CrossedEstimate | None:
    """Estimate the mean accuracy of an arm; None if it has no run with a seed that counts."""
    values = study.list_values(arm)
    return estimate_crossed(values, SHARE) if values else None


def compare(study: Study, before: str, after: str) -> CrossedEstimate | None:
    """Estimate accuracy of `after` minus accuracy of `before`; None if they share no question."""
    changes = study.list_changes(before, after)
    return estimate_crossed(changes, DIFFERENCE) if changes else None


@dataclass(frozen=True)
class Skill:
    """The accuracy on the questions of one skill, by arm; an arm without a run has none."""

    name: str
    questions: int
    accuracy: dict[str, float]


def measure_skills(study: Study) -> list[Skill]:
    """Measure the accuracy by skill, averaged over seeds and questions; the easiest for the untrained model first."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    questions: dict[str, set[str]] = defaultdict(set)
    for arm in (UNTRAINED, *study.measured):
        for seed in [None] if arm == UNTRAINED else study.seeds:
            for score in study.find_run(arm, seed).values():
                if score.skill:
                    scores[score.skill][arm].append(score.score)
                    questions[score.skill].add(score.question)
    skills = [
        Skill(name, len(questions[name]), {arm: fmean(v) for arm, v in by_arm.items()})
        for name, by_arm in scores.items()
    ]
    return sorted(skills, key=lambda skill: (-skill.accuracy.get(UNTRAINED, 0.0), skill.name))
