"""Gathers the numbers of a study from its run folders. A run that is missing or not finished has no numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autodata.data.examples import read_set
from autodata.eval.sampled_answers import group_by, read_all
from autodata.eval.statistics import mean_of_known
from autodata.eval.study.rows import UNTRAINED, Cost, CurvePoint, Score, StudyRows
from autodata.recipes.evaluation import StudyArm, StudyRecipe
from autodata.report.curves import read_curves
from autodata.run.folder import read_manifest
from autodata.run.records import LINE, TRAJECTORIES, RunError, iterate_records
from autodata.types import Example


def gather(recipe: StudyRecipe) -> StudyRows:
    """Read all finished runs. Raises RunError if a run is damaged or answered other questions."""
    runs = Path(recipe.runs)
    questions = {example.id: example for example in read_set(str(runs / "heldout"), recipe.set)}
    rows = StudyRows(list(_read_scores(runs / "eval_untrained", None, UNTRAINED, questions, recipe.set)), [], [])
    for seed in recipe.seeds:
        folder = runs / f"seed_{seed}"
        for arm in recipe.arms:
            rows.scores.extend(_read_scores(folder / f"eval_{arm.name}", seed, arm.name, questions, recipe.set))
            rows.curves.extend(_read_curve(_find_trainings(folder, arm), seed, arm.name, recipe.set))
            rows.costs.append(_read_cost(folder, seed, arm))
    return rows


def _read_finished(run: Path) -> dict[str, Any]:
    """Read the manifest of a finished run; empty if the run is missing or unfinished."""
    manifest = read_manifest(run) or {}
    return manifest if manifest.get("finished") else {}


def _read_scores(
    run: Path, seed: int | None, arm: str, questions: Mapping[str, Example], name: str
) -> Iterator[Score]:
    """Yield the score of every question of a finished evaluation. Raises RunError for an unknown question."""
    answers = read_all(run).get(name, []) if _read_finished(run) else []
    for id, sampled in group_by(answers, "example").items():
        if id not in questions:
            raise RunError(f"{run}: answered {id}, which is not in {name} of the held-out data set; evaluate it again")
        labels = questions[id].candidate.labels
        skill, difficulty = (str(labels.get(key, "")) for key in ("skill", "difficulty"))
        scores = [answer.score for answer in sampled]
        known = len(scores) - scores.count(None)
        yield Score(seed, arm, sampled[0].document, id, skill, difficulty, known, mean_of_known(scores))


def _find_trainings(folder: Path, arm: StudyArm) -> list[Path]:
    """List the trainings of an arm's model, in their order."""
    return [folder / name for name in arm.trainings or [f"grpo_{arm.name}"]]


def _read_curve(trainings: Iterable[Path], seed: int, arm: str, name: str) -> list[CurvePoint]:
    """Read the accuracy on the watched set at every evaluation of finished trainings that continue each other."""
    curve: list[CurvePoint] = []
    before = 0  # steps of earlier trainings
    for run in trainings:
        if not (manifest := _read_finished(run)):
            break
        curves, n = read_curves(run), manifest.get("examples", {}).get(name)
        points = curves.watch("score").get(name, ())
        curve += [CurvePoint(seed, arm, before + step, accuracy, n) for step, accuracy in points if step or not before]
        before += curves.train[-1]["step"] if curves.train else 0
    return curve


def _read_cost(folder: Path, seed: int, arm: StudyArm) -> Cost:
    """Read the tokens of the roles that make the arm's data, and the examples and seconds of its trainings."""
    generations, trainings = [folder / name for name in arm.generations], _find_trainings(folder, arm)
    manifests = [_read_finished(run) for run in trainings]
    steps = [entry for run in trainings for entry in read_curves(run).train] if all(manifests) else []
    seconds = sum(entry.get("step_time", 0.0) for entry in steps)
    equal = mean_of_known([entry.get("frac_reward_zero_std") for entry in steps])
    examples = [manifest.get("examples", {}).get("train") for manifest in manifests]
    spent = _count_tokens(generations) if all(map(_read_finished, generations)) else {}
    by_role = {role: tokens for role, tokens in spent.items() if role in arm.roles}
    tokens = sum(by_role.values()) if by_role else None
    return Cost(seed, arm.name, None if None in examples else sum(examples), tokens, seconds or None, equal, by_role)


def _count_tokens(runs: Iterable[Path]) -> dict[str, int]:
    """Count the tokens of all trajectories by role. Unlike the ledger, they include replayed replies."""
    tokens: Counter[str] = Counter()
    for run in runs:
        for trajectory in iterate_records(run / TRAJECTORIES, LINE):
            tokens.update(trajectory["tokens"])
    return dict(tokens)
